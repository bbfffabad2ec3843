//! The answer to the objectives of a scenario, from records that no run made.

mod support;

use record::histogram::Quantiles;
use record::{Load, Outcome, Run, Span, Trial};
use reports::achievement::{Achievement, Achieves};
use reports::html;
use reports::summary::Summary;
use reports::{check, text};

use support::*;

/// A run of two blocks more than one, with these objectives.
fn asked(objectives: &[&str], connections: usize) -> (Run, Vec<Trial>) {
    let models = models();
    let mut run = run(&models, &[connections], 3);
    run.scenarios[0].objectives = objectives
        .iter()
        .map(|objective| objective.parse().unwrap())
        .collect();
    (run, trials(&models, &[connections], 3))
}

/// Changes the loads of a server, which are numbered by their blocks.
fn change(trials: &mut [Trial], server: &str, change: impl Fn(u32, &mut Load)) {
    for trial in trials.iter_mut().filter(|trial| trial.server == server) {
        if let Outcome::Measured { load, .. } = &mut trial.outcome {
            change(trial.block, load);
        }
    }
}

fn p99(load: &mut Load) -> &mut Quantiles {
    load.summary.latencies[Span::Service].as_mut().unwrap()
}

fn answer(run: &Run, trials: &[Trial]) -> Achievement {
    let summary = Summary::of(run, trials);
    summary.scenarios[0].achievement.clone().unwrap()
}

fn result(achievement: &Achievement, server: &str) -> Achieves {
    let mut all = achievement.servers.iter();
    all.find(|standing| standing.server == server).unwrap().result
}

#[test]
fn without_objectives_there_is_no_answer() {
    let (run, trials) = asked(&[], 10);
    assert_eq!(Summary::of(&run, &trials).scenarios[0].achievement, None);
}

#[test]
fn a_server_achieves_its_objectives_in_every_block_or_it_is_not_certain() {
    let (run, mut trials) = asked(&["p99<1s", "errors<=0"], 10);
    assert_eq!(result(&answer(&run, &trials), "epoll"), Achieves::Yes);
    // In one block it is slower than asked for.
    change(&mut trials, "epoll", |block, load| {
        if block == 1 {
            p99(load).p99 = Some(2e6);
        }
    });
    change(&mut trials, "fork", |_, load| p99(load).p99 = Some(3e6));
    // A percentile that is not known is not one that is good.
    change(&mut trials, "thread", |_, load| p99(load).p99 = None);
    let answer = answer(&run, &trials);
    assert_eq!(result(&answer, "epoll"), Achieves::Uncertain);
    assert_eq!(result(&answer, "fork"), Achieves::No);
    assert_eq!(result(&answer, "thread"), Achieves::Uncertain);
    assert_eq!(result(&answer, "tokio"), Achieves::Yes);
    let sentences = answer.sentences().join("\n");
    assert!(
        sentences.contains("epoll (in 2 of 3 blocks; p99 is 2.00s, errors is 0)"),
        "{sentences}"
    );
    assert!(
        sentences.contains("Not achieved by fork (p99 is 3.00s"),
        "{sentences}"
    );
    assert!(
        sentences.contains("thread (in 0 of 3 blocks; p99 is not known"),
        "{sentences}"
    );
}

#[test]
fn a_server_without_a_valid_result_achieves_nothing() {
    // At 10 connections the iterative server answers one of them.
    let (run, mut trials) = asked(&["p99<1s"], 10);
    for trial in trials.iter_mut().filter(|trial| trial.server == "pool") {
        trial.outcome = Outcome::Skipped {
            reason: "no such thing here".into(),
        };
    }
    change(&mut trials, "fork", |block, load| {
        if block == 2 {
            load.summary.findings = [record::Finding::NoEchoes].into();
        }
    });
    let answer = answer(&run, &trials);
    assert_eq!(result(&answer, "iterative"), Achieves::Unable);
    assert_eq!(result(&answer, "pool"), Achieves::Unable);
    assert_eq!(result(&answer, "fork"), Achieves::Uncertain);
    let sentences = answer.sentences().join("\n");
    assert!(
        sentences.contains("iterative (answered 1 of 10 connections)"),
        "{sentences}"
    );
    assert!(
        sentences.contains("pool (was skipped: no such thing here)"),
        "{sentences}"
    );
    assert!(
        !answer
            .cheapest
            .iter()
            .any(|cheapest| cheapest.server == "iterative")
    );
}

#[test]
fn the_cheapest_is_one_that_achieves_it() {
    let (run, mut trials) = asked(&["p99<1s"], 10);
    let before = answer(&run, &trials);
    let cpu = |answer: &Achievement| answer.cheapest[0].server.clone();
    assert_eq!(cpu(&before), "epoll");
    change(&mut trials, "epoll", |_, load| p99(load).p99 = Some(3e6));
    let after = answer(&run, &trials);
    assert_ne!(cpu(&after), "epoll");
    for server in ["iterative", "fork", "thread", "pool", "poll", "tokio"] {
        change(&mut trials, server, |_, load| p99(load).p99 = Some(3e6));
    }
    let none = answer(&run, &trials);
    assert_eq!(none.cheapest, []);
    assert!(none.sentences()[0].starts_with("No server achieves p99<1s"));
}

#[test]
fn the_answer_is_in_text_json_and_the_report_and_a_report_without_it_is_refused() {
    let (run, trials) = asked(&["p99<1s"], 10);
    let summary = Summary::of(&run, &trials);
    let records = records(&run, &trials);
    let page = html::render(&records).unwrap();
    let shown = text::table(&summary)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for sentence in answer(&run, &trials).sentences() {
        assert!(shown.contains(&sentence), "{sentence}: {shown}");
    }
    assert_eq!(check(&page, &records), [""; 0]);
    let forged = page.replace("achieve p99", "miss p99");
    assert!(!check(&forged, &records).is_empty());
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["scenarios"][0]["achievement"]["objectives"][0], "p99<1s");
}
