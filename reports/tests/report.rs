//! Whole reports: what they say of runs that went well, badly, or not at all.

mod support;

use proptest::prelude::*;
use record::{ErrorKind, Finding, Outcome, Record, Run, Span, Trial};
use reports::summary::{Basis, Summary};
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

fn row<'a>(summary: &'a Summary, scenario: usize, server: &str) -> &'a reports::summary::Row {
    summary.scenarios[scenario]
        .rows
        .iter()
        .find(|row| row.server == server)
        .unwrap()
}

#[test]
fn the_faster_server_wins_and_near_ones_tie() {
    let (models, all) = (models(), trials(&models(), &CONNECTIONS, 5));
    let summary = Summary::of(&run(&models, &CONNECTIONS, 5), &all);
    let verdict = &summary.scenarios[2].verdicts[0];
    assert_eq!(verdict.decision, Decision::Tied, "{}", verdict.reason);
    assert!(verdict.leaders.contains(&"epoll".into()) && verdict.leaders.contains(&"tokio".into()));
    let fork = &row(&summary, 2, "fork").to_best["echoes_per_s"];
    let ends = fork.ratio.interval.unwrap();
    assert!(ends.high < 1.0, "{ends:?}");
}

#[test]
fn a_starved_server_is_left_out_of_the_verdict_and_named() {
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
    assert!(
        scenario
            .caveats
            .contains(&"iterative answered 1 of 100 connections.".into())
    );
    assert!(
        scenario
            .caveats
            .contains(&"pool answered 64 of 100 connections.".into())
    );
    assert!(
        row(&summary, 0, "iterative").to_best["echoes_per_s"].ratio.value > 1.0,
        "it is shown all the same"
    );
    assert!(page(&run, &all).contains("iterative answered 1 of 100 connections."));
    assert!(text::table(&summary).contains("left out: iterative answered 1 of 100 connections."));
}

#[test]
fn a_server_of_datagrams_is_shown_and_judged_among_its_own_kind_only() {
    let models = [
        model("udp", "datagram", 300_000.0, 2.0),
        model("epoll", "readiness", 158_000.0, 5.1),
        model("poll", "readiness", 148_000.0, 5.6),
    ];
    let (run, trials) = (run(&models, &[10], 5), trials(&models, &[10], 5));
    let summary = Summary::of(&run, &trials);
    let left_out = row(&summary, 0, "udp").left_out.as_deref().unwrap();
    assert!(
        left_out.contains("not compared with servers over TCP"),
        "{left_out}"
    );
    for verdict in &summary.scenarios[0].verdicts {
        assert!(!verdict.leaders.contains(&"udp".into()), "{verdict:?}");
    }
    assert!(page(&run, &trials).contains(left_out));

    let alone = [
        model("udp", "datagram", 300_000.0, 2.0),
        model("udp2", "datagram", 200_000.0, 2.0),
    ];
    let (run, trials) = (support::run(&alone, &[10], 5), support::trials(&alone, &[10], 5));
    let summary = Summary::of(&run, &trials);
    assert_eq!(summary.scenarios[0].verdicts[0].leaders, ["udp"]);
}

#[test]
fn hostile_names_and_output_are_text_wherever_they_appear() {
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
    let text = text::table(&Summary::of(&run, &all));
    assert!(!text.contains('\x1b') && text.contains("failed in 1 of 2 trials"));
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
    let caveats = summary.scenarios[0].caveats.join(" ");
    assert!(caveats.contains("tokio was skipped: no io_uring here."));
    assert!(caveats.contains("epoll failed in 1 of 5 trials: exit status 101."));
    let page = page(&run, &all);
    assert!(page.contains("thread panicked") && page.contains("no io_uring here"));
    assert_eq!(
        summary.scenarios[0].blocks_complete, 5,
        "a block with a failure was run to its end"
    );
    all.retain(|trial| trial.server != "tokio" || trial.block == 0);
    let summary = Summary::of(&run, &all);
    assert_eq!(
        summary.scenarios[0].blocks_complete, 5,
        "a skip may be recorded once"
    );
}

#[test]
fn invalid_trials_are_left_out_and_named() {
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
    let caveats = summary.scenarios[0].caveats.join(" ");
    assert!(
        caveats.contains("No trial of thread is valid: ports ran out."),
        "{caveats}"
    );
    assert!(caveats.contains("1 of 5 trials of epoll left out as not valid: ports ran out."));
    page(&run, &all);
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
    assert!(text::table(&summary).contains("One block: no interval"));
    page(&run, &all);
}

#[test]
fn an_interrupted_run_is_compared_over_the_blocks_that_both_sides_have() {
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
fn nothing_measured_still_renders_and_says_so() {
    let models = models();
    let run = run(&models, &CONNECTIONS, 5);
    assert!(page(&run, &[]).contains("Nothing was measured"));
    assert!(text::table(&Summary::of(&run, &[])).starts_with("Nothing was measured."));
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
fn a_server_without_enough_answers_is_named_where_it_cannot_be_drawn() {
    let models = models();
    let run = run(&models, &[10], 2);
    let mut all = trials(&models, &[10], 2);
    for trial in &mut all {
        let Outcome::Measured { load, cost } = &mut trial.outcome else {
            continue;
        };
        if trial.server == "fork" {
            *load = support::load(&record::histogram::empty(), 10, 0.0, 0, 0);
            cost.cpu_us_per_echo = None;
        }
    }
    let page = page(&run, &all);
    assert!(page.contains("fork has too few answers for a percentile in 10-connections."));
    assert!(page.contains("fork echoed nothing"));
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
        "wrong answers never win"
    );
    assert!(page(&run, &all).contains("6 wrong bytes"));
}

/// Servers of six families, each a little faster than the one before.
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
fn every_measured_server_is_in_every_figure_and_the_pages_stay_small() {
    for (count, most) in [(15, 1 << 20), (30, html::LARGEST)] {
        let models = many(count);
        let (run, all) = (run(&models, &CONNECTIONS, 5), trials(&models, &CONNECTIONS, 5));
        let page = page(&run, &all);
        assert!(page.len() <= most, "{count} servers: {} bytes", page.len());
        for model in &models {
            let groups = page
                .matches(&format!("<g class=\"series\" data-server=\"{}\">", model.name))
                .count();
            // Two drawings of throughput, and one of the others for each scenario.
            assert_eq!(groups, 2 + 2 * CONNECTIONS.len(), "{}", model.name);
        }
    }
}

#[test]
fn a_report_that_was_tampered_with_does_not_pass() {
    let models = models();
    let (run, all) = (run(&models, &[10, 100], 5), trials(&models, &[10, 100], 5));
    let page = page(&run, &all);
    let summary = Summary::of(&run, &all);
    let value = row(&summary, 1, "thread").numbers["p99_us"].value;
    let echoes = reports::format::number(row(&summary, 1, "thread").numbers["echoes_per_s"].value);
    let series = page.find("<g class=\"series\" data-server=\"poll\">").unwrap();
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
        (
            "a caveat",
            page.replace("iterative answered 1 of 100", "iterative answered 100 of 100"),
        ),
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
        ("a finding", page.replacen("<figcaption>", "<figcaption>Not ", 1)),
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
fn a_report_of_other_records_does_not_pass() {
    let models = models();
    let (run, all) = (run(&models, &[10], 5), trials(&models, &[10], 5));
    let page = page(&run, &all);
    assert!(!check(&page, &records(&run, &all[models.len()..])).is_empty());
}

#[test]
fn records_that_cannot_be_right_are_refused() {
    let models = models();
    let run = run(&models, &[10], 2);
    let all = trials(&models, &[10], 2);
    let with = |change: &dyn Fn(&mut Run, &mut Vec<Trial>)| {
        let (mut run, mut all) = (run.clone(), all.clone());
        change(&mut run, &mut all);
        validate::check(&records(&run, &all)).unwrap_err().to_string()
    };
    let load = |trial: &mut Trial, change: &dyn Fn(&mut record::Load)| {
        if let Outcome::Measured { load, .. } = &mut trial.outcome {
            change(load);
        }
    };
    assert!(with(&|_, all| all[0].server = "ghost".into()).contains("which is not listed"));
    assert!(with(&|_, all| all[0].scenario = "ghost".into()).contains("which is not listed"));
    assert!(with(&|_, all| all.push(all[0].clone())).contains("two trials"));
    assert!(with(&|run, _| run.servers[0].name = "a\nb".into()).contains("is not a name"));
    assert!(with(&|run, _| run.servers[1].name = run.servers[0].name.clone()).contains("stands twice"));
    assert!(
        with(&|_, all| load(&mut all[0], &|load| load.summary.echoes_per_s = f64::NAN))
            .contains("cannot have")
    );
    assert!(
        with(&|_, all| load(&mut all[0], &|load| load.generator.utilisation = -1.0)).contains("cannot have")
    );
    assert!(
        with(
            &|_, all| load(&mut all[0], &|load| load.summary.latencies[Span::Service]
                .as_mut()
                .unwrap()
                .p99 = Some(1.0))
        )
        .contains("percentiles")
    );
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
    fn whatever_became_of_the_trials_the_report_renders_and_passes(
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
                (4, Outcome::Measured { load, cost }) => {
                    *load = support::load(&record::histogram::empty(), 100, 0.0, 0, 0);
                    *cost = record::Cost::default();
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
fn json_holds_the_numbers_of_the_page() {
    let models = models();
    let (run, all) = (run(&models, &[10], 5), trials(&models, &[10], 5));
    let json = serde_json::to_value(Summary::of(&run, &all)).unwrap();
    let p99 = &json["scenarios"][0]["rows"][1]["numbers"]["p99_us"];
    let page = page(&run, &all);
    assert!(page.contains(&format!("data-value=\"{}\"", p99["value"])));
    assert!(page.contains(&format!("data-low=\"{}\"", p99["interval"]["low"])));
}

#[test]
fn what_is_written_as_lines_is_what_is_read() {
    let models = models();
    let (run, all) = (run(&models, &[10], 2), trials(&models, &[10], 2));
    let text = lines(&run, &all);
    assert!(serde_json::from_str::<Record>(text.lines().next().unwrap()).is_ok());
    let read = record::read(text.as_bytes()).unwrap();
    assert_eq!(read, records(&run, &all));
}

/// Writes reports to look at in a browser:
/// `cargo test -p reports --test report -- --ignored` and then the printed files.
#[test]
#[ignore = "writes files for a person to look at"]
fn examples_to_look_at() {
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
