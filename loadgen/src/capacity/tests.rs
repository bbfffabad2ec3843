use super::*;
use record::finding::Lag;
use record::histogram::Quantiles;
use record::sample;
use record::{Finding, Findings, Span};

pub(crate) fn terms(objectives: &[&str]) -> Terms {
    Terms {
        objectives: objectives.iter().map(|text| objective(text).unwrap()).collect(),
        first: 1e3,
        highest: 1e6,
        longest: Duration::from_secs(8),
        runs: 3,
    }
}

/// The load of an open loop whose response times are all equal.
pub(crate) fn response(micros: u64) -> Load {
    let mut load = sample::load(None);
    load.summary.latencies[Span::Response] = Some(sample::equal(micros, 1000));
    load
}

/// A survey of a server whose responses take 1 us for each message per second, by a generator
/// with faults.
pub(crate) fn survey(terms: Terms, fault: impl Fn(f64) -> Option<Finding>) -> Survey {
    let mut survey = Survey::new("127.0.0.1:7007".into(), terms).unwrap();
    while let Some(Next { rate, .. }) = survey.next() {
        let mut load = response(rate as u64);
        load.summary.findings = fault(rate).into_iter().collect();
        survey.record(&load);
    }
    survey
}

/// A generator that is saturated above a rate.
pub(crate) fn saturated_above(highest: f64) -> impl Fn(f64) -> Option<Finding> {
    move |rate| (rate > highest).then_some(Finding::Saturated { utilisation: 0.97 })
}

fn no_fault(_: f64) -> Option<Finding> {
    None
}

#[test]
fn the_rate_that_meets_all_objectives_is_found() {
    let found = survey(terms(&["p99<50ms", "p50<20ms", "mean<90ms"]), no_fault).capacity();
    let (low, high) = (found.low_per_s.unwrap(), found.high_per_s.unwrap());
    assert!(low <= 20_001.0 && 19_999.0 < high, "{low} to {high}");
    assert_eq!(
        (found.limit, found.verified, found.of, found.complete),
        (Limit::Server, 3, 3, true)
    );
    assert_eq!(found.objectives, ["p99<50ms", "p50<20ms", "mean<90ms"]);
    for trial in &found.trials {
        let limit = (trial.rate_per_s >= 20e3).then_some(Limit::Server);
        assert_eq!(trial.limit, limit, "{trial:?}");
        assert_eq!(trial.held, limit.is_none());
    }
}

#[test]
fn a_fault_of_the_generator_is_not_held_against_the_server() {
    let found = survey(terms(&["p99<5ms"]), saturated_above(3e3)).capacity();
    assert_eq!(found.limit, Limit::Generator);
    assert!(found.low_per_s.unwrap() <= 3e3);
}

#[test]
fn a_valid_load_that_meets_its_objectives_holds_whatever_the_generator_was_like() {
    let lag = Lag {
        send_lag_us: 9.0,
        response_us: 10.0,
    };
    let late = |rate| (rate < 5e3).then_some(Finding::MostlySendLag { lag, spins: false });
    let found = survey(terms(&["p99<5ms"]), late).capacity();
    assert_eq!(found.limit, Limit::Server);
    let has_reason = |trial: &CapacityTrial| trial.reason.is_some();
    assert!(found.trials.iter().all(|trial| trial.held != has_reason(trial)));
}

#[test]
fn a_load_that_is_not_valid_does_not_hold() {
    let terms = terms(&["p99<1s"]);
    let mut load = response(10);
    load.summary.findings = [Finding::NoEchoes, Finding::Overrun { outstanding: 3 }].into();
    let reasons = format!("{}; {}", Finding::NoEchoes, Finding::Overrun { outstanding: 3 });
    assert_eq!(terms.check(&load), TrialResult::Missed(reasons));
    let saturated = Finding::Saturated { utilisation: 0.97 };
    load.summary.findings = Findings::from([Finding::NoEchoes, saturated.clone()]);
    assert_eq!(
        terms.check(&load),
        TrialResult::GeneratorLimited(saturated.to_string())
    );
}

#[test]
fn an_objective_without_a_value_is_not_met() {
    let terms = terms(&["p99.9<1s"]);
    let reason = terms.objectives[0].describe_value(&response(10));
    assert_eq!(terms.check(&response(10)), TrialResult::Missed(reason));
}

#[test]
fn an_objective_that_a_lower_bound_leaves_open_or_breaks_is_not_met() {
    let mut load = response(10);
    let ended = sample::histogram(vec![10_000; 985]);
    let unfinished = sample::histogram(vec![4_000_000_000; 15]);
    let times = Quantiles::with_unfinished(&ended, Some(&unfinished));
    load.summary.latencies[Span::Response] = Some(times);
    for (objective, reason) in [
        ("p99<1s", "p99 is at least 4.00s"),
        ("p99<1h", "p99 is at least 4.00s"),
        ("max<1h", "max is at least 4.00s"),
    ] {
        let expected = TrialResult::Missed(reason.into());
        assert_eq!(terms(&[objective]).check(&load), expected, "{objective}");
    }
    assert_eq!(terms(&["p50<1s"]).check(&load), TrialResult::Held);
}

#[test]
fn a_trial_is_long_enough_for_the_objectives_if_the_longest_is() {
    for (objective, messages) in [
        ("p50<1s", 20.0),
        ("p99<1s", 1e3),
        ("p99.9<1s", 1e4),
        ("errors<1", 1.0),
    ] {
        let mut survey = Survey::new("a server".into(), terms(&[objective])).unwrap();
        while let Some(Next { rate, duration }) = survey.next() {
            assert!(rate * duration.as_secs_f64() > messages, "{objective} at {rate}");
            assert!((SHORTEST..=Duration::from_secs(8)).contains(&duration));
            survey.record(&response(2_000_000));
        }
        assert_eq!(survey.capacity().low_per_s, None);
    }
}

#[test]
fn a_search_without_rates_or_samples_is_refused() {
    let error = |terms| Survey::new("a server".into(), terms).unwrap_err();
    let upside_down = Terms {
        first: 2e6,
        ..terms(&["p99<1s"])
    };
    assert!(matches!(error(upside_down), SurveyError::Range { .. }));
    let too_short = Terms {
        longest: Duration::from_millis(1),
        ..terms(&["p99<1s"])
    };
    assert!(matches!(
        error(too_short),
        SurveyError::Samples { samples: 1000, .. }
    ));
}

#[test]
fn only_an_upper_bound_is_an_objective() {
    assert!(matches!(objective("p99>1ms"), Err(ObjectiveError::Bound(_))));
    assert!(matches!(objective("p98<1ms"), Err(ObjectiveError::Condition(_))));
}

#[test]
fn a_capacity_is_read_back() {
    let found = survey(terms(&["p99<5ms"]), no_fault).capacity();
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Capacity>(&json).unwrap(), found);
}
