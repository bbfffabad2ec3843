//! One load of `loadgen` by itself, as `loadgen --format json` writes it.

mod support;

use std::fs;

use assert_cmd::Command;
use record::finding::Rates;
use record::histogram::{self, Encoded, Quantiles};
use record::{Finding, Load, LoopKind, Outcome, Span};
use support::{models, plan_of, trials};
use tempfile::TempDir;

/// A load of a kind; where messages are due, each is sent a quarter of a second late.
fn load(kind: LoopKind) -> Load {
    let Outcome::Measured { mut load, .. } = trials(&models(), &[10], 1).remove(0).outcome else {
        panic!("it was measured")
    };
    load.plan = plan_of(kind, 10);
    if kind != LoopKind::Closed {
        let service = load.histograms[Span::Service].as_ref().unwrap().decode().unwrap();
        let mut response = histogram::empty();
        for value in service.iter_recorded() {
            response.saturating_record_n(value.value_iterated_to() + 250_000_000, value.count_at_value());
        }
        load.histograms[Span::Response] = Some(Encoded::new(&response));
        load.summary.latencies[Span::Response] = Some(Quantiles::of(&response));
    }
    load.generator.cpus = vec![3];
    load
}

/// What `report` writes of a load: as HTML, text and JSON.
fn report(load: &Load) -> [String; 3] {
    let folder = TempDir::new().unwrap();
    let (records, page) = (folder.path().join("load.json"), folder.path().join("load.html"));
    fs::write(&records, serde_json::to_vec_pretty(load).unwrap()).unwrap();
    let run = |action: &str| {
        let mut report = Command::new(env!("CARGO_BIN_EXE_report"));
        report.arg(action);
        if action == "check" {
            report.arg(&page);
        }
        report.arg(&records);
        if action == "html" {
            report.arg("--output").arg(&page);
        }
        let output = report.assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    };
    run("html");
    run("check");
    [fs::read_to_string(&page).unwrap(), run("text"), run("json")]
}

#[test]
fn an_open_loop_has_response_and_service_times_and_is_never_called_closed() {
    for (kind, id) in [
        (LoopKind::Open, "open-loop"),
        (LoopKind::PartlyOpen, "partly-open-loop"),
    ] {
        let load = load(kind);
        let [page, text, json] = report(&load);
        assert!(page.contains(&format!("<p id=\"{id}\">")), "{id}");
        for all in [&page, &text, &json] {
            assert!(!all.to_lowercase().contains("in a closed loop"), "{all}");
        }
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let numbers = &json["scenarios"][0]["rows"][0]["numbers"];
        for (key, span) in [("p99_us", Span::Response), ("service_p99_us", Span::Service)] {
            let expected = load.summary.latencies[span].as_ref().unwrap().p99.unwrap();
            let found = numbers[key]["value"].as_f64().unwrap();
            assert!((found / expected - 1.0).abs() < 1e-9, "{key}: {numbers}");
            assert!(page.contains(&format!("data-measure=\"{key}\" data-value=\"{found}\"")));
        }
        assert!(text.contains("service p99"), "{text}");
    }
    let [page, text, _] = report(&load(LoopKind::Closed));
    assert!(page.contains("id=\"closed-loop\"") && !page.contains("service_p99_us"));
    assert!(!text.contains("service p99"), "{text}");
}

#[test]
fn its_findings_and_what_is_not_known_are_shown() {
    let mut load = load(LoopKind::Open);
    let finding = Finding::GeneratorFellBehind(Rates {
        offered_per_s: 50e3,
        achieved_per_s: 31e3,
    });
    load.summary.findings = [finding.clone()].into();
    let [page, text, json] = report(&load);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for all in [&page, &text, &json] {
        assert!(words(all).contains(&finding.to_string()), "{all}");
        assert!(!all.contains("so it was not the limit"), "{all}");
    }
    for unknown in ["the seed of this run", "0 online", "<pre></pre>", "results.jsonl"] {
        assert!(!page.contains(unknown), "{unknown}");
    }
    assert!(page.contains("This is one load of <code>loadgen</code>") && page.contains("processor 3"));
}
