//! Two runs compared: classes, what makes a comparison doubtful, conditions, formats and exit codes.

mod support;

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use assert_cmd::Command;
use record::histogram::{self, Quantiles};
use record::{Measured, Outcome, Span, Transport, Trial};
use reports::compare::cell::{Cell, Class};
use reports::compare::{
    Condition, Judgement, Outcome as Judged, Request, RunComparison, judge, markdown, text,
};
use serde_json::Value;
use support::{Model, Random, model, run, trial, unmeasured};
use tempfile::TempDir;

const CONNECTIONS: [usize; 1] = [10];

fn servers() -> Vec<Model> {
    vec![
        model("epoll", "readiness", 158_000.0, 5.1),
        model("poll", "readiness", 148_000.0, 5.6),
        model("tokio", "async", 158_500.0, 5.9),
    ]
}

/// A run whose blocks are its own: blocks of other numbers have other noise.
fn measured(models: &[Model], connections: &[usize], blocks: Range<u32>) -> Measured {
    let mut random = Random(u64::from(blocks.start) + 1);
    let mut trials = Vec::new();
    for block in blocks.clone() {
        for &count in connections {
            trials.extend(models.iter().map(|model| trial(&mut random, model, count, block)));
        }
    }
    let mut run = run(models, connections, blocks.len() as u32);
    run.started_at = format!("2026-03-01T{:02}:00:00Z", blocks.start / 100);
    Measured { run, trials }
}

fn base() -> Measured {
    measured(&servers(), &CONNECTIONS, 0..40)
}

/// A later run in which these servers do these shares of their work.
fn new(changes: &[(&str, f64)]) -> Measured {
    let mut models = servers();
    for (name, share) in changes {
        let model = models.iter_mut().find(|model| model.name == *name).unwrap();
        model.rate *= share;
        model.cpu_us /= share;
    }
    measured(&models, &CONNECTIONS, 100..140)
}

fn compared(base: &Measured, new: &Measured, request: &Request) -> RunComparison {
    RunComparison::of(base, new, request).unwrap()
}

fn plain(base: &Measured, new: &Measured) -> RunComparison {
    compared(base, new, &Request::default())
}

fn to_reference(base: &Measured, new: &Measured, reference: &[&str]) -> RunComparison {
    let reference = reference.iter().map(|name| (*name).to_owned()).collect();
    let request = Request {
        reference,
        ..Request::default()
    };
    compared(base, new, &request)
}

fn cell<'a>(comparison: &'a RunComparison, server: &str, metric: &str) -> &'a Cell {
    let mut cells = comparison.cells();
    let is_it = |(_, own, cell): &(_, &reports::compare::runs::ServerComparison, &Cell)| {
        own.server == server && cell.compared().name == metric
    };
    cells.find(is_it).unwrap().2
}

fn judged(comparison: &RunComparison, condition: &str) -> Judgement {
    judge(comparison, &condition.parse::<Condition>().unwrap())
}

#[test]
fn a_change_of_a_tenth_is_found_and_the_other_servers_are_not_blamed() {
    for reference in [&[][..], &["epoll"], &["epoll", "tokio"]] {
        let comparison = to_reference(&base(), &new(&[("poll", 0.9)]), reference);
        for metric in ["throughput", "cpu"] {
            assert_eq!(
                cell(&comparison, "poll", metric).class,
                Class::Regressed,
                "{reference:?} {metric}"
            );
        }
        let ratio = cell(&comparison, "poll", "throughput").ratio.unwrap();
        assert!((ratio.value - 0.9).abs() < 0.02, "{ratio:?}");
        assert!(ratio.interval.unwrap().contains(0.9), "{ratio:?}");
        assert_eq!(ratio.samples, 80);
        let blamed = comparison.cells().filter(|(_, server, cell)| {
            server.server != "poll" && [Class::Regressed, Class::Improved].contains(&cell.class)
        });
        assert_eq!(blamed.count(), 0, "{reference:?}");
        // The same runs the other way round.
        let back = to_reference(&new(&[("poll", 0.9)]), &base(), reference);
        let other = cell(&back, "poll", "throughput");
        assert_eq!(other.class, Class::Improved);
        let product = other.ratio.unwrap().interval.unwrap().low * ratio.interval.unwrap().high;
        assert!((product - 1.0).abs() < 1e-9, "{product}");
    }
}

#[test]
fn servers_that_did_not_change_have_no_change_within_the_margin() {
    let comparison = to_reference(&base(), &new(&[]), &["epoll"]);
    for server in ["poll", "tokio"] {
        for metric in ["throughput", "p50", "p99", "cpu"] {
            assert_eq!(
                cell(&comparison, server, metric).class,
                Class::NoChange,
                "{server} {metric}"
            );
        }
    }
    assert_eq!(cell(&comparison, "epoll", "cpu").class, Class::Reference);
    assert_eq!((comparison.cells, comparison.count(Class::NoChange)), (12, 8));
}

#[test]
fn the_numbers_are_those_of_the_reports() {
    let (base, new) = (base(), new(&[]));
    let comparison = plain(&base, &new);
    let summary = reports::summary::Summary::of(&base.run, &base.trials);
    let row = &summary.scenarios[0].rows[1];
    assert_eq!(row.server, "poll");
    let own = cell(&comparison, "poll", "p99");
    assert_eq!(own.base.as_ref(), row.numbers.get("p99_us"));
    assert!(own.base.is_some() && own.base != own.new);
}

#[test]
fn few_noisy_blocks_are_inconclusive_and_one_has_no_interval() {
    let base = measured(&servers(), &CONNECTIONS, 0..3);
    let new = measured(&servers(), &CONNECTIONS, 100..103);
    let comparison = plain(&base, &new);
    assert_eq!(cell(&comparison, "poll", "throughput").class, Class::Inconclusive);
    assert_eq!(
        judged(&comparison, "throughput<-1%").outcome,
        Judged::CannotBeTold
    );
    let one = measured(&servers(), &CONNECTIONS, 200..201);
    let comparison = plain(&base, &one);
    let alone = cell(&comparison, "poll", "throughput");
    assert_eq!(alone.class, Class::Inconclusive);
    assert_eq!(
        alone.reason.as_deref(),
        Some("one block of NEW gives no interval")
    );
    let told = judged(&comparison, "throughput<-90%");
    assert_eq!(told.outcome, Judged::CannotBeTold);
    assert!(told.evidence[0].contains("one block of NEW"), "{told:?}");
}

#[test]
fn a_slower_machine_looks_like_slower_servers_unless_there_is_a_reference() {
    let slower = new(&[("epoll", 0.8), ("poll", 0.8), ("tokio", 0.8)]);
    let comparison = plain(&base(), &slower);
    assert_eq!(cell(&comparison, "tokio", "throughput").class, Class::Regressed);
    let shown = text(&comparison, &[]);
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        shown.contains("All servers are worse by echoes/s in 10-connections (on average 0.8"),
        "{shown}"
    );
    assert!(shown.contains("if the machine had become slower"), "{shown}");
    assert!(
        shown.contains("a change of the machine between the runs cannot be told"),
        "{shown}"
    );

    let relative = to_reference(&base(), &slower, &["epoll"]);
    assert_eq!(cell(&relative, "tokio", "throughput").class, Class::NoChange);
    let shown = text(&relative, &[]);
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!shown.contains("All servers are worse"), "{shown}");
    assert!(
        shown.contains("The reference is not what it was: echoes/s of epoll"),
        "{shown}"
    );
}

#[test]
fn what_only_one_run_has_is_named() {
    let base = measured(&servers(), &[10, 100], 0..5);
    let mut models = servers();
    models[1] = model("mine", "external", 100_000.0, 9.0);
    let new = measured(&models, &[10, 1], 100..105);
    let comparison = plain(&base, &new);
    let shown = text(&comparison, &[]);
    assert!(
        shown.contains("only in BASE: the scenario 100-connections and the server poll\n"),
        "{shown}"
    );
    assert!(
        shown.contains("only in NEW: the scenario 1-connections and the server mine\n"),
        "{shown}"
    );
    assert_eq!(comparison.servers, ["epoll", "tokio"]);
    assert_eq!(comparison.scenarios.len(), 1);
    // Named: it fails. Covered, and in BASE: it cannot be told. New: there is nothing to compare it with.
    for missing in [
        "poll.cpu>+500%",
        "mine.cpu>+500%",
        "nobody.cpu>+500%",
        "@100-connections.cpu>+500%",
        "@1-connections.cpu>+500%",
        "@nowhere.cpu>+500%",
    ] {
        let told = judged(&comparison, missing);
        assert_eq!(told.outcome, Judged::Missing, "{told:?}");
    }
    let all = judged(&comparison, "cpu>+500%");
    assert_eq!(all.outcome, Judged::CannotBeTold);
    assert_eq!(
        all.evidence,
        ["NEW has no scenario 100-connections", "NEW has no server poll"]
    );
    let found = judged(&comparison, "epoll@10-connections.cpu>+500%");
    assert_eq!((found.outcome, found.evidence.len()), (Judged::DoesNotHold, 0));
}

#[test]
fn another_load_is_not_compared_and_another_generator_is_named() {
    let base = base();
    let mut new = new(&[]);
    let plan = &mut new.run.scenarios[0].plan;
    plan.depth = 4;
    plan.duration = Some("5s".parse().unwrap());
    let comparison = plain(&base, &new);
    let refused = comparison.scenarios[0].refused.clone().unwrap();
    assert_eq!(refused, "the loads differ: depth is 1 in BASE and 4 in NEW");
    assert_eq!((comparison.cells, comparison.cells().count()), (0, 0));
    assert!(text(&comparison, &[]).contains("not compared: the loads differ"));
    assert!(markdown(&comparison, &[]).contains("10-connections is not compared: the loads differ"));
    let told = judged(&comparison, "throughput<-50%");
    assert_eq!(told.outcome, Judged::CannotBeTold);
    assert!(told.evidence[0].contains("depth"), "{told:?}");

    new.run.scenarios[0].plan.depth = 1;
    let comparison = plain(&base, &new);
    assert_eq!(comparison.scenarios[0].refused, None);
    let named = &comparison.differences[0];
    assert_eq!(
        (named.what.as_str(), named.base.as_str(), named.new.as_str()),
        ("duration of 10-connections", "2s", "5s")
    );
    new.run.scenarios[0].slice = Some("20ms".parse().unwrap());
    let refused = plain(&base, &new).scenarios[0].refused.clone().unwrap();
    assert!(
        refused.contains("in whole windows in BASE and in slices in NEW"),
        "{refused}"
    );
}

#[test]
fn a_default_that_is_written_out_is_no_difference() {
    let base = base();
    let mut new = new(&[]);
    new.run.scenarios[0].plan = new.run.scenarios[0].plan.complete();
    assert_ne!(new.run.scenarios[0].plan, base.run.scenarios[0].plan);
    let comparison = plain(&base, &new);
    assert_eq!(
        (
            comparison.scenarios[0].refused.as_ref(),
            comparison.differences.len()
        ),
        (None, 0)
    );
}

#[test]
fn another_machine_kernel_build_and_way_of_measuring_come_first() {
    let base = base();
    let mut new = new(&[]);
    let host = &mut new.run.host;
    host.kernel = "6.13.1".into();
    host.cpu_model = None;
    host.cpus_online = 4;
    host.memory_bytes = host.memory_bytes.map(|bytes| bytes - (1 << 20));
    host.sysctls.insert("net.core.somaxconn".into(), "128".into());
    host.sysctls.insert("net.ipv4.tcp_mem".into(), "1 2 3".into());
    host.commit = Some("fedcba9876543210".into());
    host.compiler = "rustc 1.90.0".into();
    host.profile = Some("debug".into());
    new.run.placement.server_cpus = vec![2, 3];
    new.run.version = "0.2.0".into();
    let comparison = plain(&base, &new);
    let found: Vec<(&str, &str, &str, &str)> = { comparison.differences.iter() }
        .map(|found| {
            (
                found.group.word(),
                found.what.as_str(),
                found.base.as_str(),
                found.new.as_str(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("machine", "cpu model", "Example CPU @ 2.80GHz", "unknown"),
            ("machine", "cpus online", "2", "4"),
            ("kernel", "kernel", "6.12.0", "6.13.1"),
            ("kernel", "net.core.somaxconn", "4096", "128"),
            ("kernel", "net.ipv4.tcp_mem", "unknown", "1 2 3"),
            ("build", "commit", "0123456789abcdef", "fedcba9876543210"),
            ("build", "compiler", "rustc 1.88.0", "rustc 1.90.0"),
            ("build", "echobench", "0.1.0", "0.2.0"),
            ("build", "profile", "unknown", "debug"),
            ("measurement", "server cpus", "0", "2,3"),
        ]
    );
    let shown = text(&comparison, &[]);
    let place = |part: &str| shown.find(part).unwrap_or_else(|| panic!("{part}: {shown}"));
    let order = [
        place("cpu model"),
        place("The machine or its limits differ"),
        place("The kernel or its settings differ"),
        place("The builds differ"),
        place("The runs were measured in different ways"),
        place("10-connections: "),
    ];
    assert!(order.is_sorted(), "{shown}");
    let same = text(&plain(&base, &self::new(&[])), &[]);
    assert!(
        same.contains("No difference of machine, kernel, build or measurement is recorded"),
        "{same}"
    );
}

#[test]
fn two_builds_with_uncommitted_changes_may_be_different_programs() {
    let (mut base, mut new) = (base(), new(&[]));
    for run in [&mut base.run, &mut new.run] {
        run.host.commit = Some("0123-dirty".into());
    }
    assert!(text(&plain(&base, &new), &[]).contains("they can be different programs"));
}

#[test]
fn a_server_that_fails_in_one_run_is_not_compared_and_does_not_pass() {
    let base = base();
    let mut new = new(&[]);
    let outcome = || Outcome::Failed {
        error: "exit status 101".into(),
        stderr: String::new(),
    };
    for trial in new.trials.iter_mut().filter(|trial| trial.server == "poll") {
        *trial = unmeasured(&servers()[1], 10, trial.block, outcome());
    }
    let comparison = plain(&base, &new);
    let poll = &comparison.scenarios[0].servers[1];
    assert_eq!(
        poll.refused.as_deref(),
        Some("in NEW poll failed in 40 of 40 trials: exit status 101")
    );
    assert!(poll.cells.is_empty());
    for condition in ["throughput<-50%", "poll.throughput<-50%"] {
        let told = judged(&comparison, condition);
        assert_eq!(told.outcome, Judged::CannotBeTold, "{told:?}");
        assert!(told.evidence[0].contains("exit status 101"), "{told:?}");
    }
    let shown = text(&comparison, &[]);
    assert!(
        shown.contains("poll is not compared: in NEW poll failed"),
        "{shown}"
    );
    assert!(shown.contains("\n  NEW: trials: "), "{shown}");
    // As a reference it takes the others with it.
    let comparison = to_reference(&base, &new, &["poll"]);
    let epoll = comparison.scenarios[0].servers[0].refused.clone().unwrap();
    assert!(
        epoll.starts_with("the reference poll cannot be used: in NEW"),
        "{epoll}"
    );
    assert_eq!(comparison.cells, 0);
}

#[test]
fn a_server_that_serves_as_many_connections_in_both_runs_is_compared() {
    let serving = |serves: [u64; 2]| {
        let run = |serves, blocks| {
            let mut models = servers();
            models[1].serves = serves;
            measured(&models, &CONNECTIONS, blocks)
        };
        let comparison = plain(&run(serves[0], 0..5), &run(serves[1], 100..105));
        comparison.scenarios[0].servers[1].refused.clone()
    };
    assert_eq!(serving([4, 4]), None);
    let refused = serving([10, 4]).unwrap();
    assert_eq!(refused, "in NEW poll answered 4 of 10 connections");
}

#[test]
fn servers_of_another_transport_are_not_compared() {
    let (base, mut new) = (base(), new(&[]));
    new.run.servers[1].transport = Transport::Udp;
    let refused = plain(&base, &new).scenarios[0].servers[1].refused.clone();
    assert_eq!(refused.as_deref(), Some("it has another transport in NEW"));
}

#[test]
fn what_a_run_does_not_know_is_not_compared_and_says_so() {
    let base = base();
    let mut new = new(&[]);
    for Trial { server, outcome, .. } in &mut new.trials {
        if let (true, Outcome::Measured { cost, .. }) = (server == "poll", outcome) {
            *cost = None;
        }
    }
    let comparison = plain(&base, &new);
    let unknown = cell(&comparison, "poll", "cpu");
    assert_eq!((unknown.class, unknown.ratio), (Class::NotCompared, None));
    assert_eq!(
        unknown.reason.as_deref(),
        Some("NEW does not have it in every trial of poll")
    );
    assert_eq!(judged(&comparison, "poll.cpu>+50%").outcome, Judged::CannotBeTold);
    assert_eq!(
        judged(&comparison, "poll.throughput<-50%").outcome,
        Judged::DoesNotHold
    );
    assert_eq!(comparison.cells, 11);
}

#[test]
fn a_latency_that_is_a_lower_bound_is_not_compared() {
    let base = base();
    let mut new = new(&[]);
    let trial = new
        .trials
        .iter_mut()
        .find(|trial| trial.server == "poll")
        .unwrap();
    let Outcome::Measured { load, .. } = &mut trial.outcome else {
        panic!("{trial:?}")
    };
    let ended = load.histograms[Span::Service].as_ref().unwrap().decode().unwrap();
    let mut unfinished = histogram::empty();
    unfinished.saturating_record_n(4_000_000_000, ended.len() / 50);
    let quantiles = Quantiles::with_unfinished(&ended, Some(&unfinished));
    load.summary.latencies[Span::Service] = Some(quantiles);
    let comparison = plain(&base, &new);
    let bounded = cell(&comparison, "poll", "p99");
    assert_eq!(bounded.class, Class::NotCompared);
    let reason = bounded.reason.as_deref().unwrap();
    assert!(reason.contains("poll is a lower bound in NEW"), "{reason}");
    assert!(text(&comparison, &[]).contains("≥\u{a0}"));
    assert_ne!(cell(&comparison, "poll", "p50").class, Class::NotCompared);
}

#[test]
fn fewer_ratios_have_narrower_intervals() {
    let (base, new) = (base(), new(&[]));
    let request = Request {
        servers: vec!["poll".into()],
        ..Request::default()
    };
    let (all, one) = (plain(&base, &new), compared(&base, &new, &request));
    let width = |comparison: &RunComparison| {
        cell(comparison, "poll", "throughput")
            .ratio
            .unwrap()
            .half_width()
            .unwrap()
    };
    assert_eq!((all.cells, one.cells), (12, 4));
    assert!(width(&one) < width(&all));
    // The reference is shown even where it is not asked for.
    let request = Request {
        reference: vec!["epoll".into()],
        ..request
    };
    let relative = compared(&base, &new, &request);
    assert_eq!(relative.scenarios[0].servers.len(), 2);
    assert!(width(&relative) < width(&one));
}

/// A folder with two runs; the second has the changes.
fn folder(changes: &[(&str, f64)]) -> (TempDir, PathBuf, PathBuf) {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, measured: &Measured| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(
            path.join("results.jsonl"),
            support::lines(&measured.run, &measured.trials),
        )
        .unwrap();
        path
    };
    let paths = (write("base", &base()), write("new", &new(changes)));
    (folder, paths.0, paths.1)
}

fn shown(command: &mut Command, code: i32) -> (String, String) {
    let output = command.assert().code(code).get_output().clone();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn the_exit_code_is_that_of_the_most_serious_condition() {
    let (_folder, base, new) = folder(&[("poll", 0.9)]);
    let compare = |arguments: &[&str], code: i32| {
        let mut report = Command::new(env!("CARGO_BIN_EXE_report"));
        let report = report.arg("compare").arg(&base).arg(&new);
        shown(report.args(["--reference", "epoll"]).args(arguments), code).0
    };
    compare(&[], 0);
    let fine = compare(&["--fail-on", "throughput<-50%"], 0);
    assert!(
        fine.contains("--fail-on throughput<-50%: does not hold"),
        "{fine}"
    );
    let untold = compare(&["--fail-on", "poll.throughput<-10%", "--fail-on", "cpu>+50%"], 3);
    assert!(
        untold.contains("poll.throughput<-10%: cannot be told"),
        "{untold}"
    );
    let holds = compare(
        &["--fail-on", "poll.throughput<-10%", "--fail-on", "throughput<-5%"],
        99,
    );
    assert!(
        holds.contains("--fail-on throughput<-5%: holds\n  poll in 10-connections: -"),
        "{holds}"
    );
    let missing = compare(&["--fail-on", "nobody.p99>+10%"], 99);
    assert!(missing.contains("neither run has a server nobody"), "{missing}");
}

#[test]
fn wrong_arguments_say_what_to_write() {
    let (folder, base, new) = folder(&[]);
    let error = |arguments: &[&str], code: i32, hint: &str| {
        let mut report = Command::new(env!("CARGO_BIN_EXE_report"));
        let (_, message) = shown(
            report.arg("compare").args(arguments).current_dir(folder.path()),
            code,
        );
        assert!(message.contains(hint), "{arguments:?}: {message}");
    };
    error(&["base"], 2, "<NEW>");
    error(&["base", "new", "--fail-on", "throughput"], 2, "throughput<-5%");
    error(&["base", "new", "--fail-on", "p99>10%"], 2, "with its sign");
    error(&["base", "new", "--margin", "3"], 2, "is not a percentage");
    error(&["base", "absent"], 1, "absent: No such file");
    error(&["base", "base"], 1, "are the same run");
    error(
        &["base", "new", "--reference", "epol"],
        1,
        "there are: epoll, poll, tokio",
    );
    error(&["base", "new", "--server", "epol"], 1, "--server epol");
    error(
        &["base", "new", "--scenario", "x"],
        1,
        "there are: 10-connections",
    );
    let of_reference = [
        "base",
        "new",
        "--reference",
        "epoll",
        "--fail-on",
        "epoll.cpu>+1%",
    ];
    error(&of_reference, 1, "counts as unchanged");
    // Files are as good as folders.
    let mut report = Command::new(env!("CARGO_BIN_EXE_report"));
    let report = report.arg("compare");
    report
        .arg(base.join("results.jsonl"))
        .arg(new.join("results.jsonl"))
        .assert()
        .success();
}

#[test]
fn every_format_has_the_differences_the_changes_and_the_conditions() {
    let (_folder, base, new) = folder(&[("poll", 0.9)]);
    let compare = |format: &str| {
        let mut report = Command::new(env!("CARGO_BIN_EXE_report"));
        let report = report.arg("compare").arg(&base).arg(&new);
        let arguments = [
            "--reference",
            "epoll",
            "--fail-on",
            "throughput<-5%",
            "--format",
            format,
        ];
        shown(report.args(arguments), 99).0
    };
    let text = compare("text");
    assert!(text.contains("result: 4 regressed, 4 no change\n"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 110), "{text}");

    let markdown = compare("markdown");
    assert!(
        markdown.starts_with("### echobench: 4 regressed, 4 no change\n\n"),
        "{markdown}"
    );
    assert!(
        markdown.contains("- `--fail-on 'throughput<-5%'` **holds**\n  - poll in 10-connections: "),
        "{markdown}"
    );
    let (changes, all) = markdown.split_once("<details>").unwrap();
    let rows = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with("| 10-connections | "))
            .count()
    };
    assert_eq!((rows(changes), rows(all)), (4, 12), "{markdown}");
    assert!(changes.contains("| **regressed** |"), "{changes}");
    // GitHub needs an empty line before a table and after the summary.
    for (before, line) in markdown.lines().zip(markdown.lines().skip(1)) {
        let begins = line.starts_with('|') && !before.starts_with('|');
        assert!(!begins || before.is_empty(), "{markdown}");
    }

    let json: Value = serde_json::from_str(&compare("json")).unwrap();
    assert_eq!(
        json["scenarios"][0]["servers"][1]["cells"][0]["class"],
        "regressed"
    );
    assert_eq!(json["conditions"][0]["outcome"], "holds");
    assert_eq!(json["reference"], serde_json::json!(["epoll"]));
    assert_eq!(json["cells"], 12);
}

#[test]
fn text_from_a_record_cannot_break_a_table_or_a_terminal() {
    let base = base();
    let mut new = new(&[]);
    new.run.host.compiler = "rustc | <b>\u{1b}[2J".into();
    let comparison = plain(&base, &new);
    let (text, markdown) = (text(&comparison, &[]), markdown(&comparison, &[]));
    assert!(!text.contains('\u{1b}') && !markdown.contains('\u{1b}'));
    assert!(markdown.contains("rustc \\| \\<b\\>"), "{markdown}");
}
