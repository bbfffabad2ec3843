//! Whatever the generator says of a load reaches the report.

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use record::finding::{AffectedConnections, AffectedMessages, Lag, Rates};
use record::{
    Effect, ErrorKind, Fault, Finding, Load, LoopKind, Outcome, Reconnects, Run, Throttling, Trial,
};
use reports::diagnostics::{Diagnostic, Weight};
use reports::summary::Summary;
use reports::{check, html, text};
use support::{models, plan_of, records, run, trials};

const CONNECTIONS: usize = 10;
const BLOCKS: u32 = 2;

/// An example of each kind of finding, from the first to the last. A new kind does not compile here
/// until it has a place.
fn after(finding: Option<&Finding>) -> Option<Finding> {
    let connections = AffectedConnections {
        connections: 3,
        of: Some(10),
    };
    let messages = AffectedMessages {
        messages: 11,
        echoes: 900,
    };
    let rates = Rates {
        offered_per_s: 50e3,
        achieved_per_s: 31e3,
    };
    let lag = Lag {
        send_lag_us: 900.0,
        response_us: 1000.0,
    };
    let text = "in the words of <an old> record".to_owned();
    Some(match finding {
        None => Finding::Interrupted {
            measured_s: 1.0,
            planned_s: 2.0,
        },
        Some(Finding::Interrupted { .. }) => Finding::EndedInWarmUp {
            connections: 10,
            answers: 4,
            errors: [(ErrorKind::Reset, 10)].into(),
        },
        Some(Finding::EndedInWarmUp { .. }) => Finding::NoEchoes,
        Some(Finding::NoEchoes) => Finding::WrongBytes(connections),
        Some(Finding::WrongBytes(_)) => Finding::Lost(messages),
        Some(Finding::Lost(_)) => Finding::Stale(messages),
        Some(Finding::Stale(_)) => Finding::NoLocalPort(connections),
        Some(Finding::NoLocalPort(_)) => Finding::TooManyOpenFiles {
            connections,
            scheduled: true,
        },
        Some(Finding::TooManyOpenFiles { .. }) => Finding::ConnectionsFailed(connections),
        Some(Finding::ConnectionsFailed(_)) => Finding::StillLost {
            connections,
            longest_s: 1.5,
        },
        Some(Finding::StillLost { .. }) => Finding::Overrun { outstanding: 7 },
        Some(Finding::Overrun { .. }) => Finding::WarmUpBacklog(rates),
        Some(Finding::WarmUpBacklog(_)) => Finding::GeneratorFellBehind(rates),
        Some(Finding::GeneratorFellBehind(_)) => Finding::ServerFellBehind(rates),
        Some(Finding::ServerFellBehind(_)) => Finding::Unanswered {
            unanswered: 12,
            due: 1000,
        },
        Some(Finding::Unanswered { .. }) => Finding::WentSilent {
            connections,
            oldest_s: 1.9,
        },
        Some(Finding::WentSilent { .. }) => Finding::SentLate(lag),
        Some(Finding::SentLate(_)) => Finding::Saturated { utilisation: 0.97 },
        Some(Finding::Saturated { .. }) => Finding::KeptWaiting {
            share: 0.65,
            involuntary_switches: 3,
        },
        Some(Finding::KeptWaiting { .. }) => Finding::Stolen { share: 0.25 },
        Some(Finding::Stolen { .. }) => Finding::Throttled {
            throttling: Throttling {
                quota: 0.5,
                periods: 20,
                throttled_periods: 19,
                throttled_s: 0.1,
                share: 0.05,
            },
            late: false,
        },
        Some(Finding::Throttled { .. }) => Finding::UnevenArrivals {
            at_s: 0.5,
            seen: 2.0,
            expected: 1,
        },
        Some(Finding::UnevenArrivals { .. }) => Finding::WrongArrivalRate {
            gaps: 99,
            expected: 50.2,
        },
        Some(Finding::WrongArrivalRate { .. }) => Finding::WrongGaps {
            gaps: 99,
            distance: 0.5,
            allowed: 0.2,
        },
        Some(Finding::WrongGaps { .. }) => Finding::Unaccounted { share: 0.95 },
        Some(Finding::Unaccounted { .. }) => Finding::RateNotSteady {
            before_per_s: 500.0,
            after_per_s: 300.0,
        },
        Some(Finding::RateNotSteady { .. }) => Finding::LatencyNotSteady {
            before_us: 100.0,
            after_us: 2000.0,
        },
        Some(Finding::LatencyNotSteady { .. }) => Finding::MostlySendLag { lag, spins: false },
        Some(Finding::MostlySendLag { .. }) => Finding::Reason { text },
        Some(Finding::Reason { .. }) => Finding::Withheld { text },
        Some(Finding::Withheld { .. }) => Finding::OfPart {
            part: "a.json".into(),
            found: Box::new(Finding::NoEchoes),
        },
        Some(Finding::OfPart { .. }) => return None,
    })
}

fn kinds() -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    while let Some(next) = after(all.last()) {
        all.push(next);
    }
    all
}

/// The name of the kind, as in the schema.
fn name(finding: &Finding) -> String {
    let json = serde_json::to_value(finding).unwrap();
    json["finding"].as_str().unwrap().into()
}

/// The schema has no finding that is missing above.
#[test]
fn there_is_an_example_of_each_finding_of_the_schema() {
    let schema = record::json_schema();
    let schema = serde_json::to_value(schema).unwrap();
    let variants = schema["$defs"]["Finding"]["oneOf"].as_array().unwrap();
    let name_of = |variant: &serde_json::Value| {
        variant["properties"]["finding"]["const"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let expected: BTreeSet<String> = variants.iter().map(name_of).collect();
    let examples: BTreeSet<String> = kinds().iter().map(name).collect();
    assert_eq!(examples, expected);
}

/// A run whose loads were changed: of each trial, with its number.
fn changed(change: impl Fn(usize, &mut Load)) -> (Run, Vec<Trial>) {
    let models = models();
    let mut all = trials(&models, &[CONNECTIONS], BLOCKS);
    for (number, trial) in all.iter_mut().enumerate() {
        if let Outcome::Measured { load, .. } = &mut trial.outcome {
            change(number, load);
        }
    }
    (run(&models, &[CONNECTIONS], BLOCKS), all)
}

/// The view “Can I believe this?” of the page, and the text, without line breaks.
fn shown(run: &Run, trials: &[Trial]) -> (String, String) {
    let records = records(run, trials);
    let page = html::render(&records).unwrap();
    assert_eq!(check(&page, &records), Vec::<String>::new());
    let from = page.find("id=\"believe\"").unwrap();
    let to = from + page[from..].find("</ul>").unwrap();
    let view = page[from..to]
        .replace("&#39;", "'")
        .replace("&#60;", "<")
        .replace("&#62;", ">");
    let text = text::table(&Summary::of(run, trials));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    (words(&view), words(&text))
}

#[test]
fn a_finding_of_any_kind_is_in_the_report_with_its_sentence_and_its_trials() {
    for finding in kinds() {
        for (count, head) in [
            (1, "In 1 of 14 trials (10-connections (iterative)): "),
            (
                3,
                "In 3 of 14 trials (10-connections (iterative, fork and thread)), at worst: ",
            ),
        ] {
            let (run, trials) = changed(|number, load| {
                if number < count {
                    load.summary.findings = [finding.clone()].into();
                }
            });
            let innermost = match &finding {
                Finding::OfPart { found, .. } => found,
                other => other,
            };
            let expected = format!("{head}{innermost}.");
            let (view, text) = shown(&run, &trials);
            assert!(view.contains(&expected), "{expected}\nis missing in\n{view}");
            // The terminal shows warnings.
            assert_eq!(
                text.contains(&expected),
                finding.effect() != Effect::Noted,
                "{expected}\n{text}"
            );
        }
    }
}

#[test]
fn the_largest_of_its_kind_is_shown() {
    let shares = [0.2, 0.65, 0.38];
    let (run, trials) = changed(|number, load| {
        if let Some(&share) = shares.get(number) {
            load.summary.findings = [Finding::KeptWaiting {
                share,
                involuntary_switches: 1,
            }]
            .into();
        }
    });
    let (view, _) = shown(&run, &trials);
    assert!(
        view.contains("at worst: the generator was kept from running for 65%"),
        "{view}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_kind_is_lost_among_others(chosen in prop::collection::vec(prop::collection::vec(0..kinds().len(), 0..4), 14)) {
        let kinds = kinds();
        let (run, trials) = changed(|number, load| {
            load.summary.findings = chosen[number].iter().map(|&kind| kinds[kind].clone()).collect();
        });
        let (view, _) = shown(&run, &trials);
        for &kind in chosen.iter().flatten() {
            let innermost = match &kinds[kind] {
                Finding::OfPart { found, .. } => found,
                other => other,
            };
            prop_assert!(view.contains(&innermost.to_string()), "{innermost} is missing in {view}");
        }
    }
}

/// Beside busy loops a closed loop is valid, and shows servers as much slower than they are.
#[test]
fn a_closed_loop_that_was_kept_waiting_is_a_warning() {
    let shares = [0.38, 0.65, 0.5, 0.1];
    let (mut run, trials) = changed(|number, load| {
        load.generator.utilisation = 0.1;
        load.generator.kept_waiting = shares.get(number).copied().unwrap_or(0.005);
    });
    let expected = "In 3 of 14 trials (10-connections (iterative, fork and thread)) it was ready to run and had no \
                    processor for more than 10% of the window, up to 65%";
    let (view, text) = shown(&run, &trials);
    assert!(view.contains(expected) && text.contains(expected), "{view}");
    assert!(!view.contains("it was not the limit"), "{view}");
    let weight = |run: &Run, trials: &[Trial]| {
        let diagnostics = Summary::of(run, trials).diagnostics;
        let is_it = |diagnostic: &&Diagnostic| matches!(diagnostic, Diagnostic::KeptWaiting { .. });
        diagnostics.iter().find(is_it).map(Diagnostic::weight)
    };
    assert_eq!(weight(&run, &trials), Some(Weight::Warning));
    // There the server takes its share, of which a warning tells.
    run.placement.generator_cpus = run.placement.server_cpus.clone();
    assert_eq!(weight(&run, &trials), Some(Weight::Note));
    let (run, trials) = changed(|_, load| load.generator.kept_waiting = 0.08);
    assert!(
        shown(&run, &trials)
            .0
            .contains("no processor for at most 8% of a window")
    );
    assert_eq!(weight(&run, &trials), Some(Weight::Note));
    let (run, trials) = changed(|_, load| {
        (load.generator.utilisation, load.generator.kept_waiting) = (0.2, 0.009);
    });
    assert_eq!(weight(&run, &trials), None);
    assert!(shown(&run, &trials).0.contains("it was not the limit"));
}

/// Whether the line about the limit of the generator is in favour of the numbers.
fn generator_is_good(run: &Run, trials: &[Trial]) -> bool {
    let is_it = |diagnostic: &Diagnostic| matches!(diagnostic, Diagnostic::Generator { .. });
    let diagnostics = Summary::of(run, trials).diagnostics;
    let generator = diagnostics.into_iter().find(is_it).unwrap();
    assert_eq!(
        generator.to_string().contains("so it was not the limit"),
        generator.weight() == Weight::Good
    );
    generator.weight() == Weight::Good
}

#[test]
fn a_generator_with_a_finding_against_it_is_not_good() {
    for finding in kinds() {
        let (run, trials) = changed(|number, load| {
            load.generator.utilisation = 0.2;
            if number == 0 {
                load.summary.findings = [finding.clone()].into();
            }
        });
        let is_against_it = finding.fault() == Fault::Generator && finding.effect() != Effect::Noted;
        assert_eq!(generator_is_good(&run, &trials), !is_against_it, "{finding}");
    }
}

/// The records of an older program have sentences instead of findings.
#[test]
fn sentences_of_older_records_are_of_a_kind_if_they_differ_in_numbers_only() {
    let sentences = [
        "the server answered 31.2k/s of 50k/s",
        "2 connections failed",
        "the server answered 900/s of 50k/s",
    ];
    let (run, trials) = changed(|number, load| {
        if let Some(&text) = sentences.get(number) {
            load.summary.findings = [Finding::Reason { text: text.into() }].into();
        }
    });
    let (view, _) = shown(&run, &trials);
    let expected = "In 2 of 14 trials (10-connections (iterative and thread)), at worst: the server answered 31.2k/s of 50k/s.";
    assert!(view.contains(expected), "{view}");
    assert!(
        view.contains("In 1 of 14 trials (10-connections (fork)): 2 connections failed."),
        "{view}"
    );
}

#[test]
fn what_is_too_little_for_a_gate_is_shown_too() {
    let (run, trials) = changed(|number, load| {
        load.generator.steal = Some(0.05);
        load.summary.unanswered = if number < 2 { 3 } else { 0 };
    });
    let (view, _) = shown(&run, &trials);
    assert!(view.contains("The hypervisor took up to 5%"), "{view}");
    assert!(
        view.contains("6 messages that were due had no answer when the run ended, in 2 trials"),
        "{view}"
    );
    let (run, trials) = changed(|number, load| {
        let lost = if number < 2 { 3 } else { 0 };
        load.summary.reconnects = Some(Reconnects {
            lost,
            reopened: lost,
            longest_s: 0.2 + number as f64,
            ..Reconnects::default()
        });
    });
    let (view, _) = shown(&run, &trials);
    let expected = "In 2 trials (10-connections (iterative and fork)) 6 connections were lost and 6 opened again, with \
                    up to 1.20s from a loss to the next answer.";
    assert!(view.contains(expected), "{view}");
    let (run, trials) = changed(|number, load| {
        load.plan.messages_per_connection = Some(1);
        load.summary.connections.never_served = if number == 1 { 4 } else { 0 };
    });
    let (view, text) = shown(&run, &trials);
    let expected = "In 1 trial (10-connections (fork)) some connections, and those that replaced them, were never \
                    answered: up to 4.";
    assert!(view.contains(expected) && text.contains(expected), "{view}");
}

#[test]
fn a_quota_and_what_it_throttled_are_shown_for_both_sides() {
    let throttling = |throttled_periods, share| Throttling {
        quota: 1.5,
        periods: 40,
        throttled_periods,
        throttled_s: 4.0 * share,
        share,
    };
    // Throttled periods, and the share of the time, of one trial.
    let view = |generator: (u64, f64), server: Option<(u64, f64)>| {
        let (run, mut trials) = changed(|number, load| {
            let (periods, share) = if number == 3 { generator } else { (0, 0.0) };
            load.generator.throttling = Some(throttling(periods, share));
        });
        if let Outcome::Measured { cost: Some(cost), .. } = &mut trials[0].outcome {
            cost.throttling = server.map(|(periods, share)| throttling(periods, share));
        }
        let summary = Summary::of(&run, &trials);
        let is_it = |diagnostic: &&Diagnostic| matches!(diagnostic, Diagnostic::Quota { .. });
        let weight = summary.diagnostics.iter().find(is_it).unwrap().weight();
        (shown(&run, &trials).0, weight)
    };
    let generator = "The generator had a quota of 1.5 processors, which ";
    let (text, weight) = view((0, 0.0), None);
    assert!(
        text.contains(&format!("{generator}did not throttle it.")),
        "{text}"
    );
    assert!(
        !text.contains("The servers had"),
        "that of targets is not known: {text}"
    );
    assert_eq!(weight, Weight::Good);
    let (text, weight) = view((8, 0.05), Some((0, 0.0)));
    let expected = "throttled it in 1 of 14 trials, at worst in 8 of 40 periods, for 0.20 s in total. The servers had \
                    a quota of 1.5 processors, which did not throttle them. Both share";
    assert!(text.contains(&format!("{generator}{expected}")), "{text}");
    assert_eq!(weight, Weight::Note);
    let (text, weight) = view((8, 0.05), Some((7, 0.2)));
    assert!(
        text.contains("which throttled them in 1 of 1 trial, at worst in 7 of 40 periods"),
        "{text}"
    );
    assert_eq!(weight, Weight::Warning);
    assert_eq!(view((21, 0.05), None).1, Weight::Warning, "most periods");
    assert_eq!(
        view((0, 0.0), Some((21, 0.02))).1,
        Weight::Warning,
        "most periods"
    );
    let (run, trials) = changed(|_, load| {
        (load.generator.utilisation, load.generator.kept_waiting) = (0.2, 0.75);
        load.generator.throttling = Some(throttling(38, 0.7));
    });
    let (text, _) = shown(&run, &trials);
    assert!(
        text.contains("a processor quota throttled it in 10-connections (iterative, "),
        "{text}"
    );
    assert!(!text.contains("other programs on its processors"), "{text}");
}

/// Response times of an open loop are not service times: a stall is only in the former.
#[test]
fn an_open_loop_is_drawn_by_its_response_times_and_described_as_one() {
    use record::Span;
    use record::histogram::{Encoded, Quantiles};

    let models = models();
    for (kind, id) in [
        (LoopKind::Open, "open-loop"),
        (LoopKind::PartlyOpen, "partly-open-loop"),
    ] {
        let (mut run, all) = changed(|_, load| {
            load.plan = plan_of(kind, CONNECTIONS);
            let service = load.histograms[Span::Service].as_ref().unwrap().decode().unwrap();
            let mut response = record::histogram::empty();
            for value in service.iter_recorded() {
                response.saturating_record_n(value.value_iterated_to() + 250_000_000, value.count_at_value());
            }
            load.histograms[Span::Response] = Some(Encoded::new(&response));
            load.summary.latencies[Span::Response] = Some(Quantiles::of(&response));
        });
        run.scenarios[0].plan = plan_of(kind, CONNECTIONS);
        let records = records(&run, &all);
        let page = html::render(&records).unwrap();
        assert!(page.contains(&format!("<p id=\"{id}\">")), "{id}");
        assert!(!page.contains("id=\"closed-loop\""), "{id}");
        let summary = Summary::of(&run, &all);
        for row in &summary.scenarios[0].rows {
            assert!(row.numbers["p99_us"].value > 250_000.0, "{}", row.server);
            let service = row.numbers["service_p99_us"].value;
            assert!(service > 0.0 && service < 250_000.0, "{}", row.server);
            assert!(page.contains(&format!(
                "data-measure=\"service_p99_us\" data-value=\"{service}\""
            )));
        }
        assert!(text::table(&summary).contains("service p99"));
        assert_eq!(check(&page, &records), Vec::<String>::new());
        let from = page.find("data-figure=\"percentiles\"").unwrap();
        let figure = &page[from..from + page[from..].find("</section>").unwrap()];
        assert!(figure.contains("response time (log scale)"), "{figure}");
        assert!(!figure.contains("service time"), "{figure}");
        assert_eq!(summary.scenarios[0].rows.len(), models.len());
    }
    let (run, all) = changed(|_, _| ());
    let page = html::render(&records(&run, &all)).unwrap();
    assert!(page.contains("service time (log scale)") && page.contains("id=\"closed-loop\""));
    let summary = Summary::of(&run, &all);
    assert!(!page.contains("service_p99_us") && !text::table(&summary).contains("service p99"));
    assert!(
        !summary.scenarios[0].rows[0]
            .numbers
            .contains_key("service_p99_us")
    );
}
