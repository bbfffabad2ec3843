//! What was checked on the host, in the report of a run.

mod support;

use record::{HostCheck, HostState, Measured, Records, Remedy, Run};
use reports::diagnostics::Weight;
use reports::summary::Summary;

fn check(name: &str, state: HostState, remedy: Option<Remedy>) -> HostCheck {
    HostCheck {
        name: name.into(),
        state,
        found: format!("the {name} <found>"),
        read_from: "/proc/x".into(),
        why: "it matters".into(),
        affects: "all times".into(),
        remedy,
    }
}

fn run(host_checks: Vec<HostCheck>, governor: Option<&str>) -> Run {
    let mut run = support::run(&support::models()[..2], &[1], 2);
    run.host.governor = governor.map(Into::into);
    run.host_checks = host_checks;
    run
}

/// The diagnostics about the host, as weight, subject and text.
fn of_host(run: &Run) -> Vec<(Weight, &'static str, String)> {
    let diagnostics = Summary::of(run, &[]).diagnostics;
    let each = diagnostics
        .iter()
        .map(|one| (one.weight(), one.subject(), one.to_string()));
    each.filter(|(_, subject, _)| ["Host", "Frequency"].contains(subject))
        .collect()
}

#[test]
fn findings_are_warnings_or_notes_with_their_reason_and_their_remedy() {
    let shown = of_host(&run(
        vec![
            check("swap", HostState::Note, None),
            check("clock source", HostState::Good, None),
            check("turbo", HostState::Unknown, Some(Remedy::Elsewhere("ask".into()))),
            check(
                "governor",
                HostState::Spoils,
                Some(Remedy::Command("echo x | tee y".into())),
            ),
            check(
                "io_uring",
                HostState::Stops,
                Some(Remedy::Elsewhere("use a newer kernel".into())),
            ),
            check("backlog", HostState::Good, None),
        ],
        None,
    ));
    let expected = [
        (
            Weight::Warning,
            "Io_uring: the io_uring <found> (read from /proc/x). It matters. It affects all times. Use a newer kernel.",
        ),
        (
            Weight::Warning,
            "Governor: the governor <found> (read from /proc/x). It matters. It affects all times. To mend it: echo x | \
             tee y",
        ),
        (
            Weight::Note,
            "Swap: the swap <found> (read from /proc/x). It matters. It affects all times.",
        ),
        (Weight::Note, "This host does not tell: turbo."),
        (
            Weight::Good,
            "Checked before the run and as it should be: clock source and backlog.",
        ),
    ];
    assert_eq!(
        shown,
        expected.map(|(weight, text)| (weight, "Host", text.to_owned()))
    );
}

#[test]
fn runs_without_checks_tell_the_governor_of_their_fingerprint_and_others_once() {
    let shown = of_host(&run(Vec::new(), Some("powersave")));
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].1, "Frequency");
    let shown = of_host(&run(
        vec![check("governor", HostState::Spoils, None)],
        Some("powersave"),
    ));
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].1, "Host");
}

#[test]
fn the_page_shows_them_escaped_and_refuses_too_many() {
    let render = |count: usize| {
        let checks = (0..count).map(|number| check(&format!("c{number}"), HostState::Spoils, None));
        reports::html::render(&Records {
            measured: Some(Measured {
                run: run(checks.collect(), None),
                trials: Vec::new(),
            }),
            conformance: None,
        })
    };
    let page = render(1).unwrap();
    assert!(page.contains("the c0 &#60;found&#62;"), "it is escaped");
    let error = render(101).unwrap_err().to_string();
    assert!(error.contains("101 checks of the host"), "{error}");
}
