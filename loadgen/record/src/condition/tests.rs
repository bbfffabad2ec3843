use super::*;
use crate::sample::{histogram, load};
use proptest::prelude::*;

fn condition(text: &str) -> Condition {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_condition_holds_or_not() {
    let table = [
        ("p50<1ms", Some(true)),
        ("p50<400us", Some(false)),
        ("p90 <= 1s", Some(true)),
        ("p99>2ms", Some(false)),
        ("max >= 1ms", Some(true)),
        ("mean<1us", Some(false)),
        ("errors<=5", Some(true)),
        ("errors<5", Some(false)),
        ("errors.reset>2", Some(false)),
        ("errors.reset>=2", Some(true)),
        ("errors.refused<=0", Some(true)),
        ("errors.lost<=2", Some(false)),
        ("unanswered<4", Some(false)),
        ("unanswered <= 4", Some(true)),
        ("starved<=1", Some(false)),
        ("starved<3", Some(true)),
        ("reconnects>0", Some(false)),
        ("reconnects <= 0", Some(true)),
        ("rate>1k/s", Some(true)),
        ("rate >= 1.6k/s", Some(false)),
        ("p99.9<1s", None),
        ("connect.p50<1s", None),
        ("response.p50<1s", None),
    ];
    for (text, expected) in table {
        assert_eq!(condition(text).holds(&load(None)), expected, "{text}");
    }
}

/// A load whose largest latency is not known, and of which a tenth has no answer after 4 s.
fn censored() -> Load {
    let mut load = load(None);
    let unfinished = histogram(vec![4_000_000_000; 111]);
    let ended = load.histograms[Span::Service].as_ref().unwrap().decode().unwrap();
    let numbers = Quantiles::with_unfinished(&ended, Some(&unfinished));
    load.summary.latencies[Span::Service] = Some(numbers);
    load
}

#[test]
fn a_lower_bound_decides_only_what_no_larger_value_would_change() {
    let table = [
        // Below the tenth, everything is known.
        ("p50<1ms", Some(true)),
        ("p50>1ms", Some(false)),
        // p99 and the maximum are 4 s or more.
        ("p99<5ms", Some(false)),
        ("p99<=3.9s", Some(false)),
        ("p99<1h", None),
        ("p99>5ms", Some(true)),
        ("p99>=3.9s", Some(true)),
        ("p99>1h", None),
        ("max>100ms", Some(true)),
        ("max<100ms", Some(false)),
        ("mean<10ms", Some(false)),
        // Nor is p99.9, and it is not less than p99.
        ("p99.9>1s", Some(true)),
        ("p99.9>1h", None),
    ];
    for (text, expected) in table {
        assert_eq!(condition(text).holds(&censored()), expected, "{text}");
    }
    let described = |text| condition(text).describe_value(&censored());
    assert_eq!(described("p99<5ms"), "p99 is at least 4.00s");
    assert_eq!(
        described("p99.9<5ms"),
        "p99.9 is not known from 1000 samples, but p99 is at least 4.00s"
    );
}

#[test]
fn connections_that_were_opened_again_are_counted() {
    let mut load = load(None);
    load.summary.reconnects = Some(crate::Reconnects {
        lost: 9,
        reopened: 8,
        ..crate::Reconnects::default()
    });
    assert_eq!(condition("reconnects>7").holds(&load), Some(true));
    assert_eq!(condition("reconnects>8").holds(&load), Some(false));
    assert_eq!(condition("reconnects>8").describe_value(&load), "reconnects is 8");
}

#[test]
fn a_time_without_a_span_is_the_response_time_if_there_is_one() {
    let open = load(Some(100));
    assert_eq!(condition("p50<5ms").holds(&open), Some(false));
    assert_eq!(condition("response.p50<5ms").holds(&open), Some(false));
    assert_eq!(condition("service.p50<5ms").holds(&open), Some(true));
    assert_eq!(condition("p99<1s").holds(&open), None, "a hundred are too few");
}

#[test]
fn a_quantile_without_enough_samples_is_at_least_a_lower_one() {
    let mut load = load(None);
    let service = Quantiles::of(&histogram((1..=500).map(|micros| micros * 1000)));
    load.summary.latencies[Span::Service] = Some(service);
    let holds = |text: &str| condition(text).holds(&load);
    assert_eq!(condition("p99<1s").value(&load), None);
    // Half of them took 250 us, and a tenth 450 us.
    assert_eq!(holds("p99<400us"), Some(false));
    assert_eq!(holds("p99>400us"), Some(true));
    assert_eq!(holds("p99.9<=449us"), Some(false));
    // From here on only those would tell that are too few.
    assert_eq!(holds("p99<1s"), None);
    assert_eq!(holds("p99>500us"), None);
    let described = |text: &str| condition(text).describe_value(&load);
    assert_eq!(
        described("p99<400us"),
        "p99 is not known from 500 samples, but p90 is 450us"
    );
    assert_eq!(described("p99<1s"), "p99 is not known from 500 samples");
}

#[test]
fn the_samples_needed_suffice_and_one_less_does_not() {
    for text in ["p50<1s", "p90<1s", "p99<1s", "p99.9<1s", "max<1s", "mean<1s"] {
        let needed = condition(text).samples_needed();
        assert!(condition(text).holds(&load(Some(needed))).is_some(), "{text}");
        assert!(condition(text).holds(&load(Some(needed - 1))).is_none(), "{text}");
    }
}

#[test]
fn an_objective_is_an_upper_bound_of_a_metric_that_grows_with_the_load() {
    for text in [
        "p99<1ms",
        "send_lag.max<=1ms",
        "errors<=0",
        "unanswered<1",
        "starved<=0",
        "reconnects<=0",
    ] {
        assert!(condition(text).is_objective(), "{text}");
    }
    for text in [
        "p99>1ms",
        "errors>=0",
        "rate<1k/s",
        "rate>1k/s",
        "connect.p99<1ms",
        "close.p50<1ms",
    ] {
        assert!(!condition(text).is_objective(), "{text}");
    }
}

#[test]
fn values_are_shown_in_units() {
    let table = [
        ("p50 < 1ms", "p50 is 10.0ms"),
        ("service.max<1ms", "service.max is 1.00ms"),
        ("p99<1ms", "p99 is not known from 100 samples, but p90 is 10.0ms"),
        ("p99<1s", "p99 is not known from 100 samples"),
        ("close.p99<1ms", "close.p99 was not measured"),
        ("errors<1", "errors is 5"),
        ("rate>1/s", "rate is 1.50k/s"),
    ];
    for (text, expected) in table {
        assert_eq!(condition(text).describe_value(&load(Some(100))), expected);
    }
}

#[test]
fn each_mistake_has_its_error() {
    use ConditionError::{Count, ErrorKind, Form, Metric, Unit};
    let error = |text: &str| text.parse::<Condition>().unwrap_err();
    for text in ["p99", "", "p99=1ms"] {
        assert!(matches!(error(text), Form(_)), "{text}");
    }
    for name in ["p98", "p99.99", "idle.p99"] {
        assert_eq!(error(&format!("{name}<1ms")), Metric(name.into()));
    }
    for text in ["p99<1", "p99<<1ms", "rate>50"] {
        assert!(matches!(error(text), Unit(_)), "{text}");
    }
    for text in ["errors<0.5", "starved<-1"] {
        assert!(matches!(error(text), Count(_)), "{text}");
    }
    assert!(matches!(error("errors.none<1"), ErrorKind(..)));
}

#[test]
fn an_unknown_name_is_answered_with_all_names() {
    let error = |text: &str| text.parse::<Condition>().unwrap_err().to_string();
    let metrics = error("idle.p99<1ms");
    for span in Span::ALL {
        assert!(metrics.contains(span.name()), "{span} is missing: {metrics}");
    }
    let kinds = error("errors.none<1");
    assert!(kinds.contains(ErrorKind::Refused.name()), "{kinds}");
}

proptest! {
    #[test]
    fn the_parser_does_not_panic(text in "\\PC*") {
        let _ = text.parse::<Condition>();
    }

    #[test]
    fn a_condition_displayed_parses_to_itself(
        metric in prop::sample::select(vec!["p50", "p99.9", "send_lag.p99.9", "first_byte.mean", "close.max"]),
        sign in prop::sample::select(vec!["<", "<=", ">", ">="]),
        micros in 0..u32::MAX,
        space in " {0,3}",
    ) {
        let text = format!("{metric}{space}{sign}{space}{micros}us");
        let read = condition(&text);
        prop_assert_eq!(read.to_string(), &text[..]);
        prop_assert_eq!(condition(&read.to_string()), read);
    }

    #[test]
    fn opposite_comparisons_never_agree(bound in 0..20u32) {
        for (one, other) in [("<", ">="), ("<=", ">")] {
            let holds = |sign| condition(&format!("errors{sign}{bound}")).holds(&load(None)).unwrap();
            prop_assert_ne!(holds(one), holds(other));
        }
    }
}
