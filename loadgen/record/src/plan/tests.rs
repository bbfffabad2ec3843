#![allow(
    clippy::needless_update,
    reason = "a new field of the plan compiles without a change here"
)]

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::units::{Bytes, Rate, Time};

fn time() -> impl Strategy<Value = Time> {
    (0..100_000_u64, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Time(Duration::new(seconds, nanos)))
}

fn rate() -> impl Strategy<Value = Rate> {
    (1e-6..1e9).prop_map(|rate| Rate::new(rate).unwrap())
}

fn stages() -> impl Strategy<Value = Stages> {
    let duration = (1..u32::MAX).prop_map(|ms| Time(Duration::from_millis(ms.into())));
    let stage = (duration, rate(), rate()).prop_map(|(duration, from, to)| Stage { duration, from, to });
    vec(stage, 1..5).prop_map(|stages| Stages::new(stages).unwrap())
}

fn size() -> impl Strategy<Value = MessageSize> {
    let ends = (any::<u64>(), any::<u64>()).prop_map(|(a, b)| (Bytes(a.min(b)), Bytes(a.max(b))));
    prop_oneof![
        any::<u64>().prop_map(|size| MessageSize::Fixed(Bytes(size))),
        ends.prop_map(|(first, last)| MessageSize::Uniform(first, last)),
        "[ -~]{1,20}".prop_map(|name| MessageSize::Listed(name.into())),
    ]
}

fn sources() -> impl Strategy<Value = Vec<SourceRange>> {
    let v4 = (any::<u32>(), 0..1000_u32).prop_map(|(first, more)| {
        let last = first.saturating_add(more);
        format!(
            "{}-{}",
            std::net::Ipv4Addr::from(first),
            std::net::Ipv4Addr::from(last)
        )
    });
    let v6 = any::<u128>().prop_map(|address| std::net::Ipv6Addr::from(address).to_string());
    vec(prop_oneof![v4, v6].prop_map(|text| text.parse().unwrap()), 0..3)
}

prop_compose! {
    fn plan()(
        (connections, idle, size, duration) in (option::of(any::<usize>()), any::<usize>(), size(), option::of(time())),
        (warmup, depth, think, messages_per_connection) in (time(), any::<u32>(), time(), option::of(any::<u64>())),
        (rate, stages, connect_rate) in (option::of(rate()), option::of(stages()), option::of(rate())),
        arrivals in option::of(prop_oneof![Just(Arrivals::Constant), Just(Arrivals::Poisson)]),
        (udp, seed, sources, spin) in (any::<bool>(), any::<u64>(), sources(), any::<bool>()),
        (lines, reconnect) in (any::<bool>(), any::<bool>()),
        (connect_timeout, answer_timeout, threads) in (option::of(time()), option::of(time()), option::of(any::<usize>())),
        cpus in vec(any::<usize>(), 0..3),
        engine in prop_oneof![Just(Engine::Epoll), Just(Engine::Uring), Just(Engine::Mixed)],
    ) -> Plan {
        Plan {
            connections, idle, size, duration, warmup, depth, think, messages_per_connection, rate, stages,
            connect_rate, arrivals, udp, seed, sources, connect_timeout, answer_timeout, threads, cpus, engine, spin,
            lines, reconnect,
            ..Plan::default()
        }
    }
}

proptest! {
    #[test]
    fn a_plan_reads_back_exactly_as_it_is_written(plan in plan()) {
        let json = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    }

    #[test]
    fn a_complete_plan_means_the_same(plan in plan()) {
        let complete = plan.complete();
        prop_assert_eq!(complete.complete(), complete.clone());
        prop_assert_eq!(complete.loop_kind(), plan.loop_kind());
        prop_assert_eq!(complete.schedule(), plan.schedule());
        prop_assert_eq!((complete.connections(), complete.threads()), (plan.connections(), plan.threads()));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC*") {
        let _ = (text.parse::<MessageSize>(), text.parse::<Stages>(), text.parse::<SourceRange>());
    }
}

#[test]
fn a_plan_of_nothing_is_the_default_and_an_unknown_field_is_named() {
    assert_eq!(
        serde_json::from_value::<Plan>(json!({})).unwrap(),
        Plan::default()
    );
    let error = |plan: Value| serde_json::from_value::<Plan>(plan).unwrap_err().to_string();
    assert!(error(json!({ "dept": 2 })).contains("unknown field `dept`"));
    assert!(error(json!({ "size": 64 })).contains("expected a size such as 64B"));
    assert!(error(json!({ "think": "1" })).contains("is not a time"));
}

/// The first records of schema 4 have `sources`.
#[test]
fn the_older_name_of_source_is_read() {
    let read = |plan: Value| serde_json::from_value::<Plan>(plan).unwrap();
    let [older, newer] = ["sources", "source"].map(|name| read(json!({ name: ["127.0.0.2"] })));
    assert_eq!(older, newer);
    assert_eq!(older.sources.len(), 1);
}

/// A plan in the form of schema 1 to 3.
fn older(plan: Value) -> Result<Plan, String> {
    read_plan(plan).map_err(|error| error.to_string())
}

#[test]
fn plans_of_older_schemas_are_converted() {
    let closed = json!({
        "discipline": "closed", "connections": 4, "threads": 2, "message_bytes": 100, "warmup_s": 0.5,
        "duration_s": 2.0, "depth": 3, "think_s": 0.25, "messages_per_connection": 7, "idle": 9, "seed": 5,
        "sources": ["127.0.0.2", "127.0.0.3"], "transport": "tcp",
    });
    let expected = json!({
        "connections": 4, "threads": 2, "size": "100B", "warmup": "500ms", "duration": "2s", "depth": 3,
        "think": "250ms", "messages_per_connection": 7, "idle": 9, "seed": 5,
        "source": ["127.0.0.2", "127.0.0.3"],
    });
    assert_eq!(older(closed), Ok(serde_json::from_value(expected).unwrap()));

    let open = |stages: Value, sizes: Value| {
        older(json!({
            "discipline": "open", "connections": 4, "threads": 2, "message_bytes": 100, "sizes": sizes,
            "warmup_s": 1.0, "duration_s": 2.0, "stages": stages, "arrivals": "poisson", "transport": "udp",
        }))
    };
    let stage = |from: f64, to: f64| json!({ "duration_s": 2.0, "from_per_s": from, "to_per_s": to });
    let steady = open(
        json!([stage(5e4, 5e4)]),
        json!("16 B to 4.0 KiB, each size as likely"),
    )
    .unwrap();
    assert_eq!(steady.rate, Rate::new(5e4));
    assert_eq!((steady.stages.as_ref(), steady.duration().seconds()), (None, 2.0));
    assert_eq!((steady.arrivals, steady.udp), (Some(Arrivals::Poisson), true));
    assert_eq!(steady.size.to_string(), "uniform:16B..4KiB");
    let listed = json!("the 3 sizes in a trace, in turn");
    let changing = open(json!([stage(1e3, 5e4), stage(5e4, 5e4)]), listed).unwrap();
    assert_eq!(changing.stages.unwrap().to_string(), "2s@1k/s..50k/s,2s@50k/s");
    assert_eq!((changing.duration, changing.rate), (None, None));
    assert_eq!(changing.size.to_string(), "file:a trace");

    let sessions = older(json!({
        "discipline": "partly_open", "connections": 0, "threads": 1, "message_bytes": 64, "warmup_s": 1.0,
        "duration_s": 2.0, "messages_per_connection": 3, "arrivals": "poisson", "stages": [stage(500.0, 500.0)],
    }))
    .unwrap();
    assert_eq!(
        (sessions.loop_kind(), sessions.connect_rate),
        (LoopKind::PartlyOpen, Rate::new(500.0))
    );
    assert_eq!(
        (sessions.connections, sessions.messages_per_connection),
        (None, Some(3))
    );
}

#[test]
fn an_older_plan_that_no_program_wrote_is_refused() {
    let plan = |stages: Value| {
        older(json!({
            "discipline": "open", "connections": 4, "threads": 2, "message_bytes": 64, "warmup_s": 1.0,
            "duration_s": 2.0, "stages": stages,
        }))
        .unwrap_err()
    };
    assert!(plan(json!([])).contains("without `stages`"));
    let stage = json!({ "duration_s": 2.0, "from_per_s": -1.0, "to_per_s": 1.0 });
    assert!(plan(json!([stage])).contains("a rate of -1"));
}

mod combining {
    use super::*;

    fn combined(plans: [Value; 2]) -> Result<Plan, Difference> {
        let plans = plans.map(|plan| serde_json::from_value::<Plan>(plan).unwrap());
        combine(&[&plans[0], &plans[1]])
    }

    #[test]
    fn shares_add_and_lists_follow_each_other() {
        let sum = combined([
            json!({
                "connections": 3, "idle": 1, "threads": 2, "rate": "1k/s", "cpus": [1], "seed": 5,
                "source": ["127.0.0.2"], "warmup": "1s", "duration": "2s",
            }),
            json!({
                "connections": 4, "idle": 5, "threads": 1, "rate": "500/s", "cpus": [1, 2], "seed": 6,
                "source": ["127.0.0.3"], "warmup": "3s", "duration": "1s", "engine": "uring",
            }),
        ]);
        let expected = json!({
            "connections": 7, "idle": 6, "threads": 3, "rate": "1.5k/s", "cpus": [1, 1, 2], "seed": 5,
            "source": ["127.0.0.2", "127.0.0.3"], "warmup": "3s", "duration": "2s", "engine": "mixed",
        });
        assert_eq!(sum, Ok(serde_json::from_value(expected).unwrap()));
    }

    /// A new field needs no rule: it must be equal.
    #[test]
    fn every_field_without_a_rule_must_be_equal() {
        for (field, value) in [
            ("size", json!("65B")),
            ("depth", json!(2)),
            ("think", json!("1s")),
            ("messages_per_connection", json!(3)),
            ("arrivals", json!("poisson")),
            ("udp", json!(true)),
            ("answer_timeout", json!("1s")),
            ("reconnect", json!(true)),
        ] {
            let difference = combined([json!({}), json!({ field: value.clone() })]).unwrap_err();
            assert_eq!((&difference.field[..], difference.index), (field, 1));
            assert_eq!(difference.other, value.to_string());
        }
    }

    #[test]
    fn different_loops_are_not_added() {
        let rate = json!({ "rate": "1/s" });
        let difference = combined([json!({}), rate.clone()]).unwrap_err();
        assert_eq!(difference.field, "rate");
        let stages = |text| json!({ "stages": text });
        for other in [stages("3s@1/s"), stages("2s@1/s,2s@1/s"), rate] {
            let difference = combined([stages("2s@1/s"), other]).unwrap_err();
            assert!(
                ["rate", "stages"].contains(&&difference.field[..]),
                "{difference:?}"
            );
        }
    }

    #[test]
    fn huge_numbers_do_not_overflow() {
        let huge = json!({ "connections": usize::MAX, "rate": Rate::new(f64::MAX).unwrap() });
        let sum = combined([huge.clone(), huge]).unwrap();
        assert_eq!(
            (sum.connections, sum.rate),
            (Some(usize::MAX), Rate::new(f64::MAX))
        );
    }

    proptest! {
        #[test]
        fn no_plans_make_it_panic(plans in vec(plan(), 2..4)) {
            let _ = combine(&plans.iter().collect::<Vec<_>>());
        }
    }
}
