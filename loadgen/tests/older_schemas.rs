//! Records of older schema versions are read.

use std::collections::BTreeMap;

use loadgen::export::{hgrm, hlog};
use loadgen::merge::{Part, merge};
use record::histogram::Quantiles;
use record::{Finding, Load, Measured, Outcome, Plan, Span, Transport};

/// A run of version 1 with two of its trials, as written then.
const VERSION_1: &str = include_str!("data/version_1.jsonl");

/// The loads of its trials, by the server that was loaded.
fn loads() -> BTreeMap<String, Load> {
    let Measured { run, trials } = record::read(VERSION_1.as_bytes()).unwrap().measured.unwrap();
    assert_eq!(run.schema_version, 1);
    let measured = |outcome| match outcome {
        Outcome::Measured { load, .. } => load,
        other => panic!("{other:?}"),
    };
    { trials.into_iter() }
        .map(|trial| (trial.server, measured(trial.outcome)))
        .collect()
}

#[test]
fn a_run_of_version_1_is_read_whole() {
    let Measured { run, trials } = record::read(VERSION_1.as_bytes()).unwrap().measured.unwrap();
    assert_eq!((run.scenarios.len(), run.servers.len(), trials.len()), (4, 6, 2));
    assert!(
        run.servers
            .iter()
            .all(|server| server.transport == Transport::Tcp)
    );
    for (server, load) in loads() {
        let service = load.histograms[Span::Service].as_ref().unwrap().decode().unwrap();
        let stored = load.summary.latencies[Span::Service].as_ref();
        assert_eq!(stored, Some(&Quantiles::of(&service)), "{server}");
        assert_eq!(load.summary.echoes, service.len(), "{server}");
    }
}

#[test]
fn fields_newer_than_version_1_have_their_defaults() {
    let load = &loads()["epoll"];
    let plan = &load.plan;
    let expected = Plan {
        connections: Some(1000),
        threads: Some(1),
        warmup: "200ms".parse().unwrap(),
        duration: Some("1s".parse().unwrap()),
        seed: 0,
        ..Plan::default()
    };
    assert_eq!(plan, &expected);
    assert!(load.intervals.is_empty());
    assert!(load.histograms[Span::Response].is_none() && load.summary.connections_per_s.is_none());
    assert_eq!(load.summary.unanswered, 0);
}

#[test]
fn a_load_of_version_1_is_exported_and_merged() {
    let load = loads().remove("epoll").unwrap();
    assert_eq!(hlog(&load).unwrap().matches(",HIST").count(), 1);
    assert!(hgrm(&load).unwrap().contains("258187]"));
    let mut twin = load.clone();
    twin.generator.cpus = vec![2];
    let part = |name: &str, load| {
        let text = serde_json::to_vec(load).unwrap();
        Part::read(name, text.as_slice()).unwrap()
    };
    let sum = merge(&[part("one.json", &load), part("other.json", &twin)]).unwrap();
    assert_eq!(sum.load.schema_version, record::SCHEMA_VERSION);
    assert_eq!(sum.load.summary.echoes, 2 * 258_187);
    let p50 = |load: &Load| load.summary.latencies.main().and_then(|times| times.p50);
    assert!(p50(&load).is_some());
    assert_eq!(p50(&sum.load), p50(&load));
}

#[test]
fn a_load_without_findings_has_its_sentences_as_findings() {
    let load = loads().remove("epoll").unwrap();
    assert!(load.summary.is_valid());
    let mut json = serde_json::to_value(&load).unwrap();
    let summary = json["summary"].as_object_mut().unwrap();
    summary.remove("findings");
    summary["valid"] = false.into();
    summary["reasons"] = serde_json::json!(["the host was busy"]);
    let older: Load = serde_json::from_value(json).unwrap();
    let text = "the host was busy".into();
    assert_eq!(older.summary.findings, [Finding::Reason { text }].into());
    assert_eq!(older.summary.latencies, load.summary.latencies);
}

/// Loads of version 3, as written then: closed, open, in stages, partly open, with churn, and one
/// that is not valid. Version 2 has the same loads.
const VERSION_3: &str = include_str!("data/version_3.jsonl");

#[test]
fn loads_of_version_3_keep_their_plans_latencies_and_reasons() {
    let plans = [
        r#"connections = 4
           depth = 2
           size = "uniform:16B..4KiB""#,
        r#"connections = 4
           rate = "2k/s"
           arrivals = "poisson""#,
        r#"connections = 4
           stages = "200ms@1k/s..2k/s,100ms@2k/s"
           engine = "uring"
           spin = true"#,
        r#"connect_rate = "200/s"
           messages_per_connection = 2
           think = "5ms"
           idle = 3"#,
        r#"connections = 2
           messages_per_connection = 3
           source = ["127.0.0.2-127.0.0.3"]"#,
        r#"connections = 4
           rate = "900k/s""#,
    ];
    assert_eq!(VERSION_3.lines().count(), plans.len());
    for (line, plan) in VERSION_3.lines().zip(plans) {
        let load: Load = serde_json::from_str(line).unwrap();
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(load.schema_version, 3);

        let mut expected: Plan = toml::from_str(plan).unwrap();
        expected.warmup = "50ms".parse().unwrap();
        if expected.stages.is_none() {
            expected.duration = Some("300ms".parse().unwrap());
        }
        let expected = expected.complete();
        assert_eq!(load.plan.schedule(), expected.schedule(), "{plan}");
        assert_eq!(load.plan.loop_kind(), expected.loop_kind(), "{plan}");
        assert_eq!(load.plan.arrivals(), expected.arrivals(), "{plan}");
        assert_eq!(load.plan.size, expected.size, "{plan}");
        assert_eq!(
            (
                load.plan.connections(),
                load.plan.depth,
                load.plan.think,
                load.plan.idle
            ),
            (
                expected.connections(),
                expected.depth,
                expected.think,
                expected.idle
            ),
            "{plan}"
        );
        assert_eq!(
            load.plan.messages_per_connection(),
            expected.messages_per_connection(),
            "{plan}"
        );
        let addresses =
            |plan: &Plan| -> Vec<_> { plan.sources.iter().flat_map(|range| range.addresses()).collect() };
        assert_eq!(addresses(&load.plan), addresses(&expected), "{plan}");

        let summary = &json["summary"];
        assert_eq!(
            load.summary.is_valid(),
            summary["valid"].as_bool().unwrap(),
            "{plan}"
        );
        let written: serde_json::Value = serde_json::to_value(&load).unwrap();
        for kept in [
            "valid",
            "reasons",
            "service_us",
            "response_us",
            "send_lag_us",
            "connect_us",
            "echoes",
        ] {
            assert_eq!(written["summary"][kept], summary[kept], "{plan}: {kept}");
        }
        assert_eq!(written["histograms"], json["histograms"], "{plan}");
    }
}

#[test]
fn a_load_of_version_3_keeps_the_mean_of_listed_sizes() {
    let read = |sizes: &str| {
        let line = VERSION_3.lines().next().unwrap();
        let mut json: serde_json::Value = serde_json::from_str(line).unwrap();
        json["plan"]["message_bytes"] = 100.into();
        json["plan"]["sizes"] = sizes.into();
        serde_json::from_value::<Load>(json).unwrap()
    };
    let listed = read("the 3 sizes in a trace, in turn");
    assert_eq!(listed.listed_mean_bytes, Some(100.0));
    let again: Load = serde_json::from_value(serde_json::to_value(&listed).unwrap()).unwrap();
    assert_eq!(again, listed);
    assert_eq!(read("16 B to 184 B, each size as likely").listed_mean_bytes, None);
}
