//! Whole reports of runs that succeeded, failed, or did not happen.

mod support;

use proptest::prelude::*;
use record::finding::Lag;
use record::histogram::{self, Encoded, Quantiles};
use record::{ErrorKind, Finding, Findings, Load, LoopKind, Outcome, Record, Run, Span, Trial, Wait};
use reports::chart::{self, Caption, Missing};
use reports::diagnostics::{Diagnostic, Place, Weight};
use reports::row::{Basis, Cause, Reach, Row, Unmetered};
use reports::summary::Summary;
use reports::validate::Invalid;
use reports::verdict::Decision;
use reports::{check, html, text, validate};
use support::{Model, lines, model, models, records, run, trials, unmeasured};

const CONNECTIONS: [usize; 4] = [1, 10, 100, 1000];

fn page(run: &Run, trials: &[Trial]) -> String {
    let records = records(run, trials);
    let page = html::render(&records).unwrap();
    assert_eq!(check(&page, &records), Vec::<String>::new());
    page
}

fn row<'a>(summary: &'a Summary, scenario: usize, server: &str) -> &'a Row {
    summary.scenarios[scenario]
        .rows
        .iter()
        .find(|row| row.server == server)
        .unwrap()
}

/// The causes for which the verdicts of the first scenario leave a server or its trials out.
fn causes<'a>(summary: &'a Summary, server: &str) -> Vec<&'a Cause> {
    summary.scenarios[0]
        .caveats
        .iter()
        .filter(|caveat| caveat.server == server)
        .map(|caveat| &caveat.cause)
        .collect()
}

/// Every caveat and diagnostic of the summary is in the page and, as far as it has them, in the text.
fn assert_all_are_shown(summary: &Summary, page: &str) {
    let unescaped = page.replace("&#39;", "'");
    // The text breaks lines.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = words(&text::table(summary));
    for caveat in summary.scenarios.iter().flat_map(|scenario| &scenario.caveats) {
        let caveat = caveat.to_string();
        assert!(unescaped.contains(&caveat), "{caveat}");
        assert!(text.contains(&words(&caveat)), "{caveat}");
    }
    for diagnostic in &summary.diagnostics {
        assert!(unescaped.contains(&diagnostic.to_string()), "{diagnostic}");
    }
}

#[test]
fn the_fastest_servers_are_tied_and_slower_ones_are_not() {
    let (models, all) = (models(), trials(&models(), &CONNECTIONS, 5));
    let summary = Summary::of(&run(&models, &CONNECTIONS, 5), &all);
    let verdict = &summary.scenarios[2].verdicts[0];
    assert_eq!(verdict.decision, Decision::Tied, "{}", verdict.evidence);
    assert!(verdict.leaders.contains(&"epoll".into()) && verdict.leaders.contains(&"tokio".into()));
    let fork = &row(&summary, 2, "fork").to_best["echoes_per_s"];
    let ends = fork.ratio.interval.unwrap();
    assert!(ends.high < 1.0, "{ends:?}");
}

#[test]
fn a_server_that_did_not_answer_every_connection_is_left_out_with_the_numbers() {
    let mut models = models();
    models[0].rate = 900_000.0;
    let (run, all) = (run(&models, &[100], 5), trials(&models, &[100], 5));
    let summary = Summary::of(&run, &all);
    let scenario = &summary.scenarios[0];
    assert!(
        !scenario
            .verdicts
            .iter()
            .any(|verdict| verdict.leaders.contains(&"iterative".into()))
    );
    for (server, answered) in [("iterative", 1), ("pool", 64)] {
        let reach = Reach {
            asked: 100,
            open: 100,
            answered,
            answered_at_most: answered,
        };
        assert_eq!(causes(&summary, server), [&Cause::Unanswered(reach)]);
    }
    assert!(
        row(&summary, 0, "iterative").to_best["echoes_per_s"].ratio.value > 1.0,
        "its numbers are still shown"
    );
    assert_all_are_shown(&summary, &page(&run, &all));
}

#[test]
fn a_udp_server_is_compared_only_with_udp_servers() {
    let models = [
        model("udp", "datagram", 300_000.0, 2.0),
        model("epoll", "readiness", 158_000.0, 5.1),
        model("poll", "readiness", 148_000.0, 5.6),
    ];
    let (run, trials) = (run(&models, &[10], 5), trials(&models, &[10], 5));
    let summary = Summary::of(&run, &trials);
    assert_eq!(causes(&summary, "udp"), [&Cause::OtherTransport]);
    for verdict in &summary.scenarios[0].verdicts {
        assert!(!verdict.leaders.contains(&"udp".into()), "{verdict:?}");
    }
    assert_all_are_shown(&summary, &page(&run, &trials));

    let alone = [
        model("udp", "datagram", 300_000.0, 2.0),
        model("udp2", "datagram", 200_000.0, 2.0),
    ];
    let (run, trials) = (support::run(&alone, &[10], 5), support::trials(&alone, &[10], 5));
    let summary = Summary::of(&run, &trials);
    assert_eq!(summary.scenarios[0].verdicts[0].leaders, ["udp"]);
}

#[test]
fn hostile_names_and_output_are_shown_as_text() {
    let hostile = r#"<script>alert(1)</script> & "it's""#;
    let models = vec![
        model(hostile, "\"><img src=x onerror=alert(2)>", 1e5, 5.0),
        model("epoll", "readiness", 9e4, 5.0),
    ];
    let mut run = run(&models, &[10], 2);
    run.command.push("--server=<b>'&\"".into());
    run.scenarios[0].title = "</title><script>alert(3)</script>".into();
    run.host.cpu_model = Some("<iframe src=https://example.org>".into());
    let mut all = trials(&models, &[10], 2);
    all[2].outcome = Outcome::Failed {
        error: "<a href='https://example.org'>x</a>".into(),
        stderr: "\x1b[31m</pre><script>alert(4)</script>\u{202e}".into(),
    };
    let page = page(&run, &all);
    assert_eq!(page.matches("<script>").count(), 1, "only the report's own");
    assert!(!page.contains("<img") && !page.contains("<iframe") && !page.contains("<a href='"));
    assert!(!page.contains('\x1b') && !page.contains('\u{202e}'));
    let summary = Summary::of(&run, &all);
    assert!(!text::table(&summary).contains('\x1b'));
    let failed = &summary.scenarios[0].caveats[0].cause;
    assert!(
        matches!(
            failed,
            Cause::Failed {
                failed: 1,
                trials: 2,
                ..
            }
        ),
        "{failed:?}"
    );
}

#[test]
fn a_server_that_failed_or_was_skipped_is_listed_with_the_reason() {
    let models = models();
    let run = run(&models, &[10], 5);
    let mut all = trials(&models, &[10], 5);
    for trial in &mut all {
        if trial.server == "tokio" {
            trial.outcome = Outcome::Skipped {
                reason: "no io_uring here".into(),
            };
        }
        if trial.server == "epoll" && trial.block == 3 {
            trial.outcome = Outcome::Failed {
                error: "exit status 101".into(),
                stderr: "thread panicked".into(),
            };
        }
    }
    let summary = Summary::of(&run, &all);
    assert_eq!(row(&summary, 0, "tokio").basis, Basis::Nothing);
    assert_eq!(row(&summary, 0, "epoll").basis, Basis::Valid);
    let reason = "no io_uring here".into();
    assert_eq!(causes(&summary, "tokio"), [&Cause::Skipped { reason }]);
    let failed = Cause::Failed {
        failed: 1,
        trials: 5,
        error: "exit status 101".into(),
    };
    assert_eq!(causes(&summary, "epoll"), [&failed]);
    let page = page(&run, &all);
    assert_all_are_shown(&summary, &page);
    assert!(page.contains("thread panicked") && page.contains("no io_uring here"));
    assert_eq!(
        summary.scenarios[0].blocks_complete, 5,
        "a block with a failure is complete"
    );
    all.retain(|trial| trial.server != "tokio" || trial.block == 0);
    let summary = Summary::of(&run, &all);
    assert_eq!(
        summary.scenarios[0].blocks_complete, 5,
        "a skip may be recorded once"
    );
}

#[test]
fn invalid_trials_are_left_out_with_the_reason() {
    let models = models();
    let run = run(&models, &[10], 5);
    let mut all = trials(&models, &[10], 5);
    let full = Summary::of(&run, &all);
    for trial in &mut all {
        let Outcome::Measured { load, .. } = &mut trial.outcome else {
            continue;
        };
        if trial.server == "thread" || (trial.server == "epoll" && trial.block == 0) {
            load.summary.findings = [Finding::NoEchoes].into();
            load.summary.echoes_per_s *= 100.0;
        }
    }
    let summary = Summary::of(&run, &all);
    let echoes = |summary: &Summary, name| row(summary, 0, name).numbers["echoes_per_s"].value;
    assert!(
        echoes(&summary, "epoll") < 1.1 * echoes(&full, "epoll"),
        "the invalid trial does not count"
    );
    assert_eq!(row(&summary, 0, "thread").basis, Basis::Invalid);
    assert!(
        !summary.scenarios[0].verdicts[0]
            .leaders
            .contains(&"thread".into())
    );
    let findings = || Findings::from([Finding::NoEchoes]);
    let invalid = Cause::Invalid { findings: findings() };
    assert_eq!(causes(&summary, "thread"), [&invalid]);
    let partly = Cause::PartlyInvalid {
        invalid: 1,
        trials: 5,
        findings: findings(),
    };
    assert_eq!(causes(&summary, "epoll"), [&partly]);
    assert_all_are_shown(&summary, &page(&run, &all));
}

/// Changes the load of every measured trial of a server.
fn change_loads(trials: &mut [Trial], server: &str, change: impl Fn(&mut Load)) {
    for trial in trials.iter_mut().filter(|trial| trial.server == server) {
        if let Outcome::Measured { load, .. } = &mut trial.outcome {
            change(load);
        }
    }
}

#[test]
fn withheld_latencies_are_shown_and_not_compared() {
    let models = models();
    let run = run(&models, &[10], 5);
    let mut all = trials(&models, &[10], 5);
    let lag = Lag {
        send_lag_us: 90.0,
        response_us: 100.0,
    };
    let finding = Finding::MostlySendLag { lag, spins: false };
    for server in ["epoll", "tokio", "poll"] {
        change_loads(&mut all, server, |load| {
            load.summary.findings = [finding.clone()].into();
        });
    }
    let summary = Summary::of(&run, &all);
    let [echoes, p99, _] = summary.scenarios[0].verdicts.as_slice() else {
        panic!("{:?}", summary.scenarios[0].verdicts);
    };
    assert!(echoes.leaders.contains(&"epoll".into()));
    for server in ["epoll", "tokio", "poll"] {
        assert!(!p99.leaders.contains(&server.into()), "{p99:?}");
        let withheld = Cause::LatencyWithheld {
            finding: finding.clone(),
        };
        assert_eq!(causes(&summary, server), [&withheld]);
        assert!(row(&summary, 0, server).numbers.contains_key("p99_us"));
    }
    assert_all_are_shown(&summary, &page(&run, &all));
}

/// Adds messages to a load that had no answer after four seconds: this share of all.
fn leave_unanswered(load: &mut Load, share: f64) {
    let ended = load.histograms[Span::Service].as_ref().unwrap().decode().unwrap();
    let mut unfinished = histogram::empty();
    unfinished.saturating_record_n(4_000_000_000, (ended.len() as f64 * share) as u64);
    load.summary.latencies[Span::Service] = Some(Quantiles::with_unfinished(&ended, Some(&unfinished)));
    load.summary.unanswered = unfinished.len();
    load.unfinished = Some([(Span::Service, Encoded::new(&unfinished))].into());
}

#[test]
fn a_latency_that_messages_without_an_answer_could_raise_is_a_bound_and_not_compared() {
    let models = models();
    let run = run(&models, &[10], 5);
    let mut all = trials(&models, &[10], 5);
    let before = Summary::of(&run, &all);
    let leaders = &before.scenarios[0].verdicts[1].leaders;
    assert!(leaders.contains(&"epoll".into()), "{leaders:?}");
    // In one of its trials a leading server forgets two of a hundred messages.
    let trial = all.iter_mut().find(|trial| trial.server == "epoll").unwrap();
    let Outcome::Measured { load, .. } = &mut trial.outcome else {
        panic!("{trial:?}");
    };
    leave_unanswered(load, 0.02);
    let summary = Summary::of(&run, &all);
    let [echoes, p99, _] = summary.scenarios[0].verdicts.as_slice() else {
        panic!("{:?}", summary.scenarios[0].verdicts);
    };
    assert!(echoes.leaders.contains(&"epoll".into()), "{echoes:?}");
    assert!(!p99.leaders.contains(&"epoll".into()), "{p99:?}");
    assert!(!p99.evidence.to_string().contains("epoll"), "{p99:?}");
    let epoll = row(&summary, 0, "epoll");
    let number = |key: &str| epoll.numbers[key];
    assert!(!number("p50_us").at_least && number("p50_us").interval.is_some());
    for key in ["p99_us", "p99_9_us", "max_us"] {
        let p99_before = row(&before, 0, "epoll").numbers[key].value;
        assert!(number(key).at_least && number(key).interval.is_none(), "{key}");
        assert!(number(key).value > p99_before, "{key}");
    }
    let [Cause::LatencyBounded { p99_us }] = causes(&summary, "epoll")[..] else {
        panic!("{:?}", causes(&summary, "epoll"));
    };
    assert_eq!(*p99_us, number("p99_us").value);
    let page = page(&run, &all);
    assert_all_are_shown(&summary, &page);
    assert!(page.contains("data-bound=\"lower\""));
    let shown = format!("≥\u{a0}{}", record::numbers::number(*p99_us));
    assert!(
        page.contains(&shown) && text::table(&summary).contains(&shown),
        "{shown}"
    );
    // The page of a bound that is passed off as a number is refused.
    let forged = page.replace(" data-bound=\"lower\"", "");
    assert!(!check(&forged, &records(&run, &all)).is_empty());
    let json = serde_json::to_value(&summary).unwrap();
    let rows = json["scenarios"][0]["rows"].as_array().unwrap();
    let numbers = &rows.iter().find(|row| row["server"] == "epoll").unwrap()["numbers"];
    assert_eq!(numbers["p99_us"]["at_least"], true);
    assert!(numbers["p50_us"].get("at_least").is_none());
    // A curve ends before what is not known.
    let figures = chart::draw(&summary, &all).unwrap();
    let percentiles = figures.iter().find(|figure| figure.id == "percentiles").unwrap();
    let columns = &percentiles
        .table
        .rows
        .iter()
        .find(|row| row[1] == "epoll")
        .unwrap()[2..];
    assert!(columns[0] != "–" && columns[3] == "–", "{columns:?}");
}

#[test]
fn a_bound_that_is_not_that_of_the_histograms_is_refused() {
    let models = models();
    let run = run(&models, &[10], 2);
    let mut all = trials(&models, &[10], 2);
    change_loads(&mut all, "epoll", |load| leave_unanswered(load, 0.02));
    assert!(validate::check(&records(&run, &all)).is_ok());
    change_loads(&mut all, "epoll", |load| {
        let times = load.summary.latencies[Span::Service].as_mut().unwrap();
        times.at_least.as_mut().unwrap().p99 = Some(1.0);
    });
    let error = validate::check(&records(&run, &all)).unwrap_err();
    assert!(matches!(error, Invalid::Percentiles(_)), "{error}");
}

#[test]
fn a_generator_that_was_the_limit_is_a_warning() {
    let models = models();
    let run = run(&models, &[10], 5);
    let mut all = trials(&models, &[10], 5);
    for model in &models {
        change_loads(&mut all, &model.name, |load| {
            load.generator.utilisation = 0.5;
        });
    }
    let generator = |all: &[Trial]| {
        let diagnostics = Summary::of(&run, all).diagnostics;
        let is_generator =
            |other: &Diagnostic| matches!(other, Diagnostic::Generator { .. } | Diagnostic::BusyPolls);
        diagnostics.into_iter().find(is_generator).unwrap()
    };
    let places = |server: &str| {
        vec![Place {
            scenario: "10-connections".into(),
            servers: vec![server.into()],
        }]
    };
    let idle = generator(&all);
    assert_eq!(idle.weight(), Weight::Good);
    assert!(matches!(idle, Diagnostic::Generator { saturated, held_up, .. }
        if saturated.is_empty() && held_up.is_empty()));

    change_loads(&mut all, "epoll", |load| load.generator.utilisation = 0.95);
    change_loads(&mut all, "tokio", |load| load.generator.kept_waiting = 0.45);
    let limit = generator(&all);
    assert_eq!(limit.weight(), Weight::Warning);
    assert!(matches!(limit, Diagnostic::Generator { saturated, held_up, .. }
        if saturated == places("epoll") && held_up == places("tokio")));
    page(&run, &all);

    change_loads(&mut all, "epoll", |load| load.generator.wait = Wait::Spin);
    let unknown = generator(&all);
    assert_eq!(unknown.weight(), Weight::Note);
    assert_eq!(unknown, Diagnostic::BusyPolls);
}

#[test]
fn one_block_has_no_interval_and_decides_nothing() {
    let models = models();
    let (run, all) = (run(&models, &CONNECTIONS, 1), trials(&models, &CONNECTIONS, 1));
    let summary = Summary::of(&run, &all);
    for verdict in summary.scenarios.iter().flat_map(|scenario| &scenario.verdicts) {
        assert_eq!(verdict.decision, Decision::NoInterval);
    }
    assert!(
        row(&summary, 1, "epoll")
            .numbers
            .values()
            .all(|estimate| estimate.interval.is_none())
    );
    let one = Diagnostic::Blocks {
        complete: 1,
        planned: 1,
    };
    assert!(summary.diagnostics.contains(&one), "{:?}", summary.diagnostics);
    let spread = Diagnostic::Spread {
        known: false,
        unsteady: Vec::new(),
    };
    assert!(summary.diagnostics.contains(&spread));
    let warning = text::table(&summary).contains("\nwarning: blocks: ");
    assert!(warning, "the text shows warnings");
    assert_all_are_shown(&summary, &page(&run, &all));
}

#[test]
fn an_interrupted_run_is_compared_over_common_blocks() {
    let models = models();
    let run = run(&models, &[10], 5);
    let mut all = trials(&models, &[10], 5);
    all.truncate(2 * models.len() + 3);
    let summary = Summary::of(&run, &all);
    assert_eq!(summary.scenarios[0].blocks_complete, 2);
    assert_eq!(
        row(&summary, 0, "thread").to_best["echoes_per_s"].ratio.samples,
        2
    );
    assert!(page(&run, &all).contains("2 of 5 blocks"));
}

#[test]
fn a_run_without_measurements_has_a_report() {
    let models = models();
    let run = run(&models, &CONNECTIONS, 5);
    let summary = Summary::of(&run, &[]);
    assert!(!summary.measured_anything());
    let nothing = Diagnostic::Trials {
        measured: 0,
        invalid: 0,
        failed: 0,
        skipped: 0,
    };
    assert!(summary.diagnostics.contains(&nothing));
    assert_all_are_shown(&summary, &page(&run, &[]));
    let verdicts = summary.scenarios.iter().flat_map(|scenario| &scenario.verdicts);
    for verdict in verdicts {
        assert_eq!(verdict.decision, Decision::Nothing);
    }
    assert!(text::table(&summary).starts_with("Nothing was measured."));
    let failed = Outcome::Failed {
        error: "no ready line".into(),
        stderr: String::new(),
    };
    page(&run, &[unmeasured(&models[0], 10, 0, failed)]);
    let empty = Run {
        scenarios: Vec::new(),
        servers: Vec::new(),
        ..run
    };
    page(&empty, &[]);
}

#[test]
fn one_server_in_one_scenario_is_alone() {
    let models = [model("epoll", "readiness", 1e5, 5.0)];
    let (run, all) = (run(&models, &[10], 5), trials(&models, &[10], 5));
    let summary = Summary::of(&run, &all);
    assert_eq!(summary.scenarios[0].verdicts[0].decision, Decision::Alone);
    page(&run, &all);
}

#[test]
fn a_server_that_a_figure_cannot_draw_is_listed_there() {
    let models = models();
    let run = run(&models, &[10], 2);
    let mut all = trials(&models, &[10], 2);
    for trial in &mut all {
        let Outcome::Measured { load, cost, .. } = &mut trial.outcome else {
            continue;
        };
        if trial.server == "fork" {
            *load = support::load(&histogram::empty(), 10, 0.0, 0, 0);
            cost.as_mut().unwrap().cpu_us_per_echo = None;
        }
    }
    let page = page(&run, &all);
    let figures = chart::draw(&Summary::of(&run, &all), &all).unwrap();
    let absent = |id| {
        let figure = figures.iter().find(|figure| figure.id == id).unwrap();
        let absent = figure.absent.iter();
        let all: Vec<_> = absent
            .map(|absent| (absent.server.as_str(), absent.cause))
            .collect();
        all
    };
    assert_eq!(absent("percentiles"), [("fork", Missing::Answers)]);
    assert_eq!(absent("cpu"), [("fork", Missing::Echoes)]);
    for cause in [Missing::Answers, Missing::Echoes] {
        assert!(
            page.contains(&format!("fork {cause} in 10-connections.")),
            "{cause}"
        );
    }
}

#[test]
fn a_server_whose_cost_is_not_known_has_no_cost_and_the_report_says_why() {
    let models = [
        model("epoll", "readiness", 1e5, 5.0),
        model("tokio", "async", 1e5, 5.0),
        model("mine", "target", 1e5, 5.0),
    ];
    let run = run(&models, &[10], 5);
    let mut all = trials(&models, &[10], 5);
    for trial in &mut all {
        if let Outcome::Measured { cost, .. } = &mut trial.outcome {
            // The host showed the cost of `tokio` in some trials only.
            if trial.server == "mine" || (trial.server == "tokio" && trial.block > 2) {
                *cost = None;
            }
        }
    }
    let summary = Summary::of(&run, &all);
    let reasons = [("tokio", Unmetered::Unreadable), ("mine", Unmetered::RanAlready)];
    assert!(summary.scenarios[0].unmetered().eq(reasons));
    let (text, page) = (text::table(&summary), page(&run, &all));
    let json = serde_json::to_value(&summary).unwrap();
    for (server, reason) in reasons {
        assert!(text.contains(&format!("{server} {reason}.")), "{text}");
        assert!(page.contains(&format!("{server} {reason}.")));
        assert!(page.contains(&format!("{server} {reason} in 10-connections.")));
        let rows = json["scenarios"][0]["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["server"] == server).unwrap();
        assert_eq!(row["unmetered"], reason.to_string());
        for key in [
            "cpu_us_per_echo",
            "switches_per_echo",
            "pss_bytes",
            "pss_bytes_per_connection",
        ] {
            assert!(row["numbers"].get(key).is_none(), "{server} {key}");
        }
        assert!(row["numbers"]["echoes_per_s"].is_object());
    }
    assert!(json["scenarios"][0]["rows"][0]["unmetered"].is_null());
}

#[test]
fn servers_on_other_hosts_beside_local_ones_are_a_warning() {
    let models = [
        model("epoll", "readiness", 1e5, 5.0),
        model("mine", "target", 1e5, 5.0),
    ];
    let (mut run, mut all) = (run(&models, &[10], 5), trials(&models, &[10], 5));
    for trial in &mut all {
        if let (Outcome::Measured { load, .. }, "mine") = (&mut trial.outcome, trial.server.as_str()) {
            load.target = "192.0.2.7:7007".into();
        }
    }
    let warning = "mine was measured over a network and the others over loopback";
    assert!(page(&run, &all).contains(warning));
    run.servers.remove(0);
    run.placement.server_cpus.clear();
    all.retain(|trial| trial.server == "mine");
    let page = page(&run, &all);
    assert!(!page.contains(warning) && page.contains("includes the network in between"));
    assert!(page.contains("The generator ran on processor 1; the processors of servers that were running"));
}

#[test]
fn a_unix_socket_is_on_this_host_and_another_path_than_loopback() {
    let models = [
        model("epoll", "readiness", 1e5, 5.0),
        model("mine", "target", 1e5, 5.0),
        model("far", "target", 1e5, 5.0),
    ];
    let (run, mut all) = (run(&models, &[10], 5), trials(&models, &[10], 5));
    let mut over = |server: &str, target: &str| {
        for trial in &mut all {
            if let (Outcome::Measured { load, .. }, true) = (&mut trial.outcome, trial.server == server) {
                load.target = target.into();
            }
        }
        page(&run, &all)
    };
    let beside = over("mine", "unix:/tmp/echo.sock");
    assert!(beside.contains("mine was measured over a Unix socket and the others over loopback"));
    let far = over("far", "192.0.2.7:7007");
    assert!(far.contains("far was measured over a network and the others on the same host"));
    over("far", "unix:/tmp/far.sock");
    let alone = over("epoll", "unix:/tmp/epoll.sock");
    assert!(alone.contains("ran on the same host over a Unix socket"));
    assert!(!alone.contains("their ratios compare the paths"));
}

#[test]
fn captions_have_the_numbers_of_their_figures() {
    let models = models();
    let (run, all) = (run(&models, &[10, 100], 5), trials(&models, &[10, 100], 5));
    let summary = Summary::of(&run, &all);
    let figures = chart::draw(&summary, &all).unwrap();
    let captions: Vec<&Caption> = figures.iter().map(|figure| &figure.caption).collect();
    let [
        Caption::Throughput {
            connections: 100,
            decision: Decision::Tied,
            leaders,
            echoes_per_s,
            starving,
        },
        Caption::Percentiles { lowest, highest, .. },
        Caption::Cpu {
            connections: Some(100),
            ends: Some((cheapest, dearest)),
            ..
        },
    ] = captions.as_slice()
    else {
        panic!("{captions:?}");
    };
    assert_eq!(*leaders, summary.scenarios[1].verdicts[0].leaders);
    let best = row(&summary, 1, &leaders[0]);
    assert_eq!(*echoes_per_s, best.numbers["echoes_per_s"].value);
    assert_eq!(starving, &["iterative", "pool"]);
    assert!(lowest.micros < highest.micros);
    assert_eq!(
        (cheapest.server.as_str(), dearest.server.as_str()),
        ("epoll", "fork")
    );
}

#[test]
fn the_latency_of_an_open_loop_is_its_response_time() {
    let models = models();
    let run = run(&models, &[10], 2);
    let mut all = trials(&models, &[10], 2);
    let response = support::latencies(&mut support::Random(7), 5e6, 100_000);
    for trial in &mut all {
        let Outcome::Measured { load, .. } = &mut trial.outcome else {
            continue;
        };
        load.summary.latencies[Span::Response] = Some(Quantiles::of(&response));
        load.histograms[Span::Response] = Some(Encoded::new(&response));
    }
    let summary = Summary::of(&run, &all);
    let expected = Quantiles::of(&response);
    for (key, value) in [("p50_us", expected.p50), ("max_us", expected.max)] {
        assert_eq!(row(&summary, 0, "epoll").numbers[key].value, value.unwrap());
    }
    page(&run, &all);
    let figures = chart::draw(&summary, &all).unwrap();
    let percentiles = figures.iter().find(|figure| figure.id == "percentiles").unwrap();
    let p50 = record::numbers::micros(expected.p50.unwrap());
    assert_eq!(percentiles.table.rows[0][2], p50);
}

#[test]
fn loads_of_any_loop_have_a_report() {
    let models = models();
    let mut run = run(&models, &[1, 10, 100], 3);
    let mut all = trials(&models, &[1, 10, 100], 3);
    let loops = [LoopKind::Closed, LoopKind::Open, LoopKind::PartlyOpen];
    for (scenario, kind) in run.scenarios.iter_mut().zip(loops) {
        let plan = support::plan_of(kind, scenario.plan.connections());
        for trial in all.iter_mut().filter(|trial| trial.scenario == scenario.name) {
            if let Outcome::Measured { load, .. } = &mut trial.outcome {
                load.plan = plan.clone();
            }
        }
        scenario.plan = plan;
    }
    let summary = Summary::of(&run, &all);
    let arriving = &summary.scenarios[2];
    assert!(arriving.rows.iter().all(|row| row.connections.is_none()));
    assert!(
        arriving.caveats.is_empty(),
        "an unanswered connection is no evidence where connections close"
    );
    let figures = chart::draw(&summary, &all).unwrap();
    let throughput = &figures[0];
    let panels: Vec<&[String]> = throughput
        .panels
        .iter()
        .filter(|panel| panel.class == "wide")
        .map(|panel| panel.scenarios.as_slice())
        .collect();
    assert_eq!(panels, [["1-connections"], ["10-connections"]]);
    assert_eq!(throughput.absent.len(), models.len());
    assert!(
        throughput
            .absent
            .iter()
            .all(|absent| absent.cause == Missing::Connections)
    );
    let page = page(&run, &all);
    for paragraph in ["closed-loop", "open-loop", "partly-open-loop"] {
        assert!(page.contains(&format!("id=\"{paragraph}\"")), "{paragraph}");
    }
}

#[test]
fn errors_are_counted_by_kind() {
    let models = models();
    let run = run(&models, &[10], 2);
    let mut all = trials(&models, &[10], 2);
    for trial in &mut all {
        let Outcome::Measured { load, .. } = &mut trial.outcome else {
            continue;
        };
        if trial.server == "epoll" {
            load.summary.errors.insert(ErrorKind::WrongBytes, 3);
            load.error_examples
                .insert(ErrorKind::WrongBytes, "byte 7 is 0x00".into());
        }
    }
    let summary = Summary::of(&run, &all);
    assert_eq!(row(&summary, 0, "epoll").errors["wrong_bytes"], 6);
    assert!(
        !summary.scenarios[0].verdicts[0].leaders.contains(&"epoll".into()),
        "a server with wrong answers never wins"
    );
    assert_eq!(causes(&summary, "epoll"), [&Cause::WrongBytes]);
    let errors = Diagnostic::Errors {
        count: 6,
        examples: vec!["wrong_bytes (byte 7 is 0x00)".into()],
    };
    assert!(summary.diagnostics.contains(&errors));
    let page = page(&run, &all);
    assert!(page.contains(&row(&summary, 0, "epoll").errors_by_kind()));
    assert_all_are_shown(&summary, &page);
}

/// Servers of six families, each slightly faster than the one before.
fn many(count: usize) -> Vec<Model> {
    let families = ["process", "thread", "readiness", "signal", "completion", "async"];
    let server = |index: usize| {
        let rate = 60_000.0 + 4_000.0 * index as f64;
        model(
            &format!("model-{index}"),
            families[index % families.len()],
            rate,
            4.0 + index as f64,
        )
    };
    (0..count).map(server).collect()
}

#[test]
fn every_measured_server_is_in_every_figure_and_pages_stay_small() {
    for (count, most) in [(15, 1 << 20), (30, html::LARGEST)] {
        let models = many(count);
        let (run, all) = (run(&models, &CONNECTIONS, 5), trials(&models, &CONNECTIONS, 5));
        let page = page(&run, &all);
        assert!(page.len() <= most, "{count} servers: {} bytes", page.len());
        for model in &models {
            let groups = page
                .matches(&format!("<g class=\"series\" data-server=\"{}\">", model.name))
                .count();
            // Throughput has two drawings, each of the others one for each scenario.
            assert_eq!(groups, 2 + 2 * CONNECTIONS.len(), "{}", model.name);
        }
    }
}

#[test]
fn a_report_that_was_tampered_with_fails_the_check() {
    let models = models();
    let (run, all) = (run(&models, &[10, 100], 5), trials(&models, &[10, 100], 5));
    let page = page(&run, &all);
    let summary = Summary::of(&run, &all);
    let value = row(&summary, 1, "thread").numbers["p99_us"].value;
    let echoes = record::numbers::number(row(&summary, 1, "thread").numbers["echoes_per_s"].value);
    let series = page.find("<g class=\"series\" data-server=\"poll\">").unwrap();
    let caveat = summary.scenarios[1].caveats[0].to_string();
    let tampered = [
        (
            "a value",
            page.replace(&format!("data-value=\"{value}\""), "data-value=\"1\""),
        ),
        ("a text", page.replace(&format!(">{echoes}<"), ">999,999<")),
        (
            "a verdict",
            page.replacen("data-decision=\"tied\"", "data-decision=\"winner\"", 1),
        ),
        (
            "a leader",
            page.replacen("data-leader=\"epoll\">epoll<", "data-leader=\"epoll\">fork<", 1),
        ),
        ("a caveat", page.replace(&caveat, "")),
        (
            "a server in a figure",
            page.replacen(
                "<g class=\"series\" data-server=\"poll\">",
                "<g class=\"series\">",
                1,
            ),
        ),
        (
            "an empty series",
            page[..series].to_owned() + "<g data-server=\"poll\"></g><g>" + &page[series + 39..],
        ),
        (
            "a missing row",
            page.replacen("<tr data-server=\"fork\"", "<tr", 1),
        ),
        (
            "an image",
            page.replacen("<main>", "<main><img src=\"https://example.org/x.png\" />", 1),
        ),
        (
            "a link",
            page.replacen("<main>", "<main><a href=\"https://example.org\">x</a>", 1),
        ),
        (
            "a protocol-relative link",
            page.replacen("href=\"#verdict\"", "href=\"//example.org\"", 1),
        ),
        (
            "a style",
            page.replacen("<style>", "<style>body{background:url(//example.org)}", 1),
        ),
        ("a script", page.replacen("<script>", "<script>fetch('x');", 1)),
        (
            "a second script",
            page.replacen("</body>", "<script>1</script></body>", 1),
        ),
        (
            "a handler",
            page.replacen("<main>", "<main onclick=\"alert(1)\">", 1),
        ),
        (
            "a policy",
            page.replacen("default-src &#39;none&#39;", "default-src *", 1),
        ),
        ("a caption", page.replacen("<figcaption>", "<figcaption>Not ", 1)),
        ("a missing figure", page.replacen("data-figure=\"cpu\"", "", 1)),
        ("a comment", page.replacen("<main>", "<main><!-- x -->", 1)),
        ("half a file", page[..series].to_owned()),
    ];
    for (what, changed) in tampered {
        assert_ne!(changed, page, "{what} was not tampered with");
        assert!(!check(&changed, &records(&run, &all)).is_empty(), "{what} passes");
    }
}

#[test]
fn a_report_of_other_records_fails_the_check() {
    let models = models();
    let (run, all) = (run(&models, &[10], 5), trials(&models, &[10], 5));
    let page = page(&run, &all);
    assert!(!check(&page, &records(&run, &all[models.len()..])).is_empty());
}

#[test]
fn inconsistent_records_are_refused() {
    let models = models();
    let run = run(&models, &[10], 2);
    let all = trials(&models, &[10], 2);
    let with = |change: &dyn Fn(&mut Run, &mut Vec<Trial>)| {
        let (mut run, mut all) = (run.clone(), all.clone());
        change(&mut run, &mut all);
        validate::check(&records(&run, &all)).unwrap_err()
    };
    let load = |trial: &mut Trial, change: &dyn Fn(&mut Load)| {
        if let Outcome::Measured { load, .. } = &mut trial.outcome {
            change(load);
        }
    };
    let changed = |change: &dyn Fn(&mut Load)| with(&|_, all| load(&mut all[0], change));
    use Invalid::{Name, Number, Percentiles, Repeated, Twice, Unlisted};
    for (what, error) in [
        ("server", with(&|_, all| all[0].server = "ghost".into())),
        ("scenario", with(&|_, all| all[0].scenario = "ghost".into())),
    ] {
        assert!(matches!(&error, Unlisted { what: found, name } if *found == what && name == "ghost"));
    }
    assert!(matches!(
        with(&|_, all| all.push(all[0].clone())),
        Repeated { .. }
    ));
    assert!(matches!(
        with(&|run, _| run.servers[0].name = "a\nb".into()),
        Name(_)
    ));
    let twice = with(&|run, _| run.servers[1].name = run.servers[0].name.clone());
    assert!(matches!(twice, Twice(_)));
    for (expected, error) in [
        (
            "echoes_per_s",
            changed(&|load| load.summary.echoes_per_s = f64::NAN),
        ),
        ("utilisation", changed(&|load| load.generator.utilisation = -1.0)),
    ] {
        assert!(matches!(error, Number { number, .. } if number == expected));
    }
    for percentiles in [
        changed(&|load| {
            let service = load.summary.latencies[Span::Service].as_mut();
            service.unwrap().p99 = Some(1.0);
        }),
        changed(&|load| {
            let service = load.summary.latencies[Span::Service].clone();
            load.summary.latencies[Span::Response] = service;
        }),
    ] {
        assert!(matches!(percentiles, Percentiles(_)));
    }
    assert!(
        html::render(&records(
            &Run {
                servers: Vec::new(),
                ..run.clone()
            },
            &all
        ))
        .is_err()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn trials_with_any_outcomes_have_a_report_that_passes_the_check(
        fates in prop::collection::vec(0..6u8, 7 * 2 * 3)
    ) {
        let models = models();
        let run = run(&models, &[1, 100], 3);
        let mut kept = Vec::new();
        for (mut trial, fate) in trials(&models, &[1, 100], 3).into_iter().zip(fates) {
            match (fate, &mut trial.outcome) {
                (0, _) => continue,
                (1, outcome) => *outcome = Outcome::Skipped { reason: "absent".into() },
                (2, outcome) => *outcome = Outcome::Failed { error: "ended".into(), stderr: "why".into() },
                (3, Outcome::Measured { load, .. }) => load.summary.findings = [Finding::NoEchoes].into(),
                (4, Outcome::Measured { load, cost, .. }) => {
                    *load = support::load(&histogram::empty(), 100, 0.0, 0, 0);
                    *cost = None;
                }
                _ => {}
            }
            kept.push(trial);
        }
        page(&run, &kept);
        text::table(&Summary::of(&run, &kept));
    }
}

#[test]
fn json_has_the_numbers_of_the_page() {
    let models = models();
    let (run, all) = (run(&models, &[10], 5), trials(&models, &[10], 5));
    let json = serde_json::to_value(Summary::of(&run, &all)).unwrap();
    let p99 = &json["scenarios"][0]["rows"][1]["numbers"]["p99_us"];
    let page = page(&run, &all);
    assert!(page.contains(&format!("data-value=\"{}\"", p99["value"])));
    assert!(page.contains(&format!("data-low=\"{}\"", p99["interval"]["low"])));
}

#[test]
fn written_lines_are_read_back() {
    let models = models();
    let (run, all) = (run(&models, &[10], 2), trials(&models, &[10], 2));
    let text = lines(&run, &all);
    assert!(serde_json::from_str::<Record>(text.lines().next().unwrap()).is_ok());
    let read = record::read(text.as_bytes()).unwrap();
    assert_eq!(read, records(&run, &all));
}

/// Writes reports for visual inspection, and prints their paths:
/// `cargo test -p reports --test report -- --ignored --nocapture`.
#[test]
#[ignore = "writes files for visual inspection"]
fn examples_for_visual_inspection() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let models = models();
    let mut all = trials(&models, &CONNECTIONS, 5);
    for trial in &mut all {
        if trial.server == "poll" && trial.scenario == "1000-connections" && trial.block > 2 {
            trial.outcome = Outcome::Failed {
                error: "the server ended with exit status 101".into(),
                stderr: "thread 'main' panicked at poll.rs:88:\ntoo many open files".into(),
            };
        }
    }
    let mut run = run(&models, &CONNECTIONS, 5);
    let crowd = many(30);
    let wide = html::render(&records(
        &support::run(&crowd, &CONNECTIONS, 5),
        &trials(&crowd, &CONNECTIONS, 5),
    ));
    std::fs::write(folder.join("many.html"), wide.unwrap()).unwrap();
    let single = html::render(&records(
        &support::run(&models, &CONNECTIONS[2..3], 1),
        &trials(&models, &CONNECTIONS[2..3], 1),
    ));
    std::fs::write(folder.join("single.html"), single.unwrap()).unwrap();
    for (name, shared) in [("example", false), ("shared", true)] {
        if shared {
            run.placement.generator_cpus = vec![0];
        }
        std::fs::write(folder.join(format!("{name}.jsonl")), lines(&run, &all)).unwrap();
        let path = folder.join(format!("{name}.html"));
        std::fs::write(&path, html::render(&records(&run, &all)).unwrap()).unwrap();
        println!("{}", path.display());
    }
    std::fs::write(folder.join("example.txt"), text::table(&Summary::of(&run, &all))).unwrap();
}
