//! The view "Behaviour", with cases that pass, fail, do not apply or were not run.

mod support;

use record::{CaseOutcome, Conformance, Records};
use reports::behaviour::{self, Behaviour};
use reports::validate::Invalid;
use reports::{check, html, validate};
use support::{conformance, models, run, trials};

fn pass(evidence: &str) -> Option<CaseOutcome> {
    let evidence = evidence.into();
    Some(CaseOutcome::Pass { evidence })
}

/// Three servers and three cases, with every kind of outcome.
fn small() -> Conformance {
    conformance(3, 3, |server, case| match (server, case) {
        (0, 1) => Some(CaseOutcome::Fail {
            evidence: "byte 3 is wrong\nstderr: no".into(),
        }),
        (_, 1) => Some(CaseOutcome::NotApplicable {
            reason: "one at a time".into(),
        }),
        (1, 2) => Some(CaseOutcome::Skipped {
            reason: "install strace".into(),
        }),
        (2, 2) => None,
        (0, 0) => pass("7 of 20 were reset"),
        _ => pass(""),
    })
}

fn alone(conformance: Conformance) -> Records {
    Records {
        measured: None,
        conformance: Some(conformance),
    }
}

fn within_a_run(conformance: Option<Conformance>) -> Records {
    let models = models();
    Records {
        conformance,
        ..support::records(&run(&models, &[10], 2), &trials(&models, &[10], 2))
    }
}

fn page(records: &Records) -> String {
    let page = html::render(records).unwrap();
    assert_eq!(check(&page, records), Vec::<String>::new());
    page
}

#[test]
fn servers_with_the_same_outcome_share_a_note() {
    let page = page(&alone(small()));
    for once in ["one at a time", "byte 3 is wrong", "install strace", "7 of 20"] {
        assert_eq!(page.matches(once).count(), 1, "{once}");
    }
    assert!(page.contains("server-2, server-3"), "the servers of a note");
    let agreed = conformance(4, 1, |_, _| pass("no byte was lost"));
    assert!(behaviour::markdown(&Behaviour::of(&agreed)).contains("| `server-4` | ✓ |"));
    assert!(self::page(&alone(agreed)).contains("all 4 servers"));
}

#[test]
fn each_cell_has_the_outcome_in_words_and_links_to_its_evidence() {
    let page = page(&alone(small()));
    assert!(page.contains("<td class=\"fail\"><a href=\"#e2-0\">✗ fail</a></td>"));
    assert!(page.contains("<li id=\"e2-0\"><span class=\"mark fail\">✗ fail</span>"));
    assert!(page.contains("<a href=\"#e2-1\">– n/a</a>") && page.contains("– not applicable"));
    assert!(page.contains("○ skip</a>") && page.contains("<td></td>"));
    assert!(page.contains("4 pass, 1 fail, 2 not applicable, 1 skipped"));
}

#[test]
fn only_a_failing_case_is_expanded() {
    let page = page(&alone(small()));
    assert_eq!(page.matches("<details class=\"case\"").count(), 3);
    assert!(page.contains("<details class=\"case\" id=\"e2\" open=\"\">"));
    assert_eq!(page.matches(" open=\"\"").count(), 1);
}

#[test]
fn the_report_of_a_run_shows_the_outcomes_or_how_to_get_them() {
    let with = page(&within_a_run(Some(small())));
    assert!(with.contains("byte 3 is wrong") && with.contains("href=\"#behaviour\""));
    assert!(
        with.contains("quick forms, 2026-03-01T09:00:00Z, echobench 0.1.0, Linux 6.12.0 on x86_64, seed 7")
    );
    let without = page(&within_a_run(None));
    assert!(without.contains("<code>echobench conformance</code>"));
    assert!(!without.contains("data-behaviour"));
}

#[test]
fn a_changed_or_missing_matrix_fails_the_check() {
    let records = alone(small());
    let page = page(&records);
    let changes = [
        ("a word", page.replacen("✗ fail</a>", "✓ pass</a>", 1)),
        ("a link", page.replacen("href=\"#e2-0\"", "href=\"#e2-1\"", 1)),
        ("the evidence", page.replacen("byte 3", "byte 4", 1)),
        (
            "a server",
            page.replacen("data-model=\"server-2\"", "data-model=\"x\"", 1),
        ),
        ("a case", page.replacen("data-case=\"C2\"", "data-case=\"C9\"", 1)),
        ("a cell", page.replacen("<td></td>", "", 1)),
        ("the matrix", page.replacen(" data-behaviour=\"\"", "", 1)),
    ];
    for (what, changed) in changes {
        assert_ne!(changed, page, "{what} was not changed");
        assert!(!check(&changed, &records).is_empty(), "{what} passes");
    }
    let run = within_a_run(None);
    let with = html::render(&within_a_run(Some(small()))).unwrap();
    assert!(!check(&with, &run).is_empty(), "a matrix without records passes");
}

#[test]
fn hostile_text_is_harmless_in_every_format() {
    let mut hostile = small();
    hostile.cases[0].name = "</a><script>alert(1)</script>".into();
    hostile.cases[0].question = "\"><img src=x onerror=alert(2)>?".into();
    hostile.host.kernel = "<b>\x1b[31m".into();
    for result in &mut hostile.results {
        if result.model == "server-1" {
            result.model = "<i>a|b`c".into();
        }
        if let CaseOutcome::Fail { evidence } = &mut result.outcome {
            *evidence = "</details><iframe src=https://example.org>\x1b[2J\u{202e} | a".into();
        }
    }
    let page = page(&alone(hostile.clone()));
    assert_eq!(page.matches("<script>").count(), 1, "only the report's own");
    assert!(!page.contains("<img") && !page.contains("<iframe") && !page.contains("<i>"));
    let matrix = Behaviour::of(&hostile);
    for text in [page, behaviour::text(&matrix), behaviour::markdown(&matrix)] {
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text}");
    }
    let markdown = behaviour::markdown(&matrix);
    assert!(markdown.contains("\\<iframe"));
    let table = markdown.lines().filter(|line| line.starts_with("| "));
    for row in table {
        assert_eq!(row.matches(" | ").count(), 3, "{row}");
    }
}

#[test]
fn inconsistent_outcomes_are_refused() {
    let with = |change: &dyn Fn(&mut Conformance)| {
        let mut changed = small();
        change(&mut changed);
        validate::check(&alone(changed)).unwrap_err()
    };
    use Invalid::{Name, Number, RepeatedCase, TooLong, TooMany, Twice, Unlisted};
    let unlisted = with(&|all| all.results[0].case = "C99".into());
    assert!(matches!(unlisted, Unlisted { what: "case", .. }));
    let repeated = with(&|all| all.results.push(all.results[0].clone()));
    assert!(matches!(repeated, RepeatedCase { .. }));
    assert!(matches!(
        with(&|all| all.results[0].model = "a\nb".into()),
        Name(_)
    ));
    assert!(matches!(
        with(&|all| all.cases.push(all.cases[0].clone())),
        Twice(_)
    ));
    let seconds = with(&|all| all.results[0].seconds = f64::NAN);
    assert!(matches!(
        seconds,
        Number {
            number: "seconds",
            ..
        }
    ));
    let question = with(&|all| all.cases[0].question = "x".repeat(20_000));
    assert!(matches!(question, TooLong { bytes: 20_000, .. }));
    let evidence = with(&|all| all.results[0].outcome = pass(&"x".repeat(20_000)).unwrap());
    assert!(matches!(evidence, TooLong { bytes: 20_000, .. }));
    let cases = with(&|all| all.cases = conformance(0, 101, |_, _| None).cases);
    assert!(matches!(
        cases,
        TooMany {
            what: "cases",
            found: 101,
            ..
        }
    ));
    let servers = with(&|all| all.results = conformance(201, 3, |_, _| pass("")).results);
    assert!(matches!(
        servers,
        TooMany {
            what: "servers",
            found: 201,
            ..
        }
    ));
}

#[test]
fn thirty_cases_on_thirty_servers_fit_a_terminal_and_an_email() {
    let all = conformance(30, 30, |server, case| match (server * 7 + case) % 11 {
        0 => Some(CaseOutcome::NotApplicable {
            reason: format!("the design of number {case} answers differently"),
        }),
        _ => pass(&format!("{} of {case} were reset", server * case)),
    });
    let text = behaviour::text(&Behaviour::of(&all));
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let page = page(&alone(all));
    assert!(page.len() < 300_000, "{} bytes", page.len());
}

#[test]
fn a_terminal_shows_a_character_for_each_cell_and_the_reasons_below() {
    let text = behaviour::text(&Behaviour::of(&small()));
    let expected = "         C C C
         1 2 3
server-1 . F .
server-2 . n s
server-3 . n

. pass, F fail, n not applicable, s skipped; blank: not run
C1 case number 1, C2 case number 2, C3 case number 3

fail
  C2: server-1: byte 3 is wrong
    stderr: no

skipped
  C3: server-2: install strace

not applicable
  C2: server-2, server-3: one at a time
";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn markdown_has_a_row_for_each_server_and_a_column_for_each_case() {
    let markdown = behaviour::markdown(&Behaviour::of(&small()));
    let expected = "| server | C1 | C2 | C3 |
| --- | :-: | :-: | :-: |
| `server-1` | ✓ | **fail** | ✓ |
| `server-2` | ✓ | – | **skipped** |
| `server-3` | ✓ | – |  |
";
    assert!(markdown.starts_with(expected), "{markdown}");
    let reason = "- **C2 case number 2**, not applicable: server-2, server-3. One at a time.\n";
    assert!(markdown.contains(reason), "{markdown}");
}

/// Writes reports for visual inspection, and prints their paths:
/// `cargo test -p reports --test behaviour -- --ignored --nocapture`.
#[test]
#[ignore = "writes files for visual inspection"]
fn matrices_for_visual_inspection() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let wide = conformance(29, 29, |server, case| match (server * 7 + case * 3) % 13 {
        0 => Some(CaseOutcome::NotApplicable {
            reason: "one process serves all clients, so all of their connections ended".into(),
        }),
        1 if server == 4 => Some(CaseOutcome::Fail {
            evidence: "after 1.2 s a client had 3 of 20,000 lines\nstderr: too many open files".into(),
        }),
        2 if server == 9 => Some(CaseOutcome::Skipped {
            reason: "install strace".into(),
        }),
        _ => pass(&format!("{case} of 20 were reset")),
    });
    for (name, records) in [
        ("matrix", alone(wide.clone())),
        ("matrix-within", within_a_run(Some(wide))),
    ] {
        let path = folder.join(format!("{name}.html"));
        std::fs::write(&path, page(&records)).unwrap();
        println!("{}", path.display());
    }
}
