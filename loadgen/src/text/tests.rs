use std::time::Duration;

use super::layout::block;
use super::*;
use record::histogram::{Encoded, Quantiles};
use record::sample::{busy, busy_open, equal, histogram};
use record::{Connections, ErrorKind, PaceSetter, Plan, Reconnects, Span, Throttling};

/// The text beside a name.
fn text_of(load: &Load, name: &str) -> String {
    let text = describe(load);
    let found = { text.lines() }.find_map(|line| line.strip_prefix(&format!("  {name:14}")));
    found
        .unwrap_or_else(|| panic!("{name} is missing:\n{text}"))
        .into()
}

fn has_name(load: &Load, name: &str) -> bool {
    let start = format!("  {name} ");
    describe(load).lines().any(|line| line.starts_with(&start))
}

/// Whether a line consists of this text.
fn has_line(load: &Load, text: &str) -> bool {
    describe(load).lines().any(|line| line.trim() == text)
}

fn short_connections() -> Load {
    let mut load = busy(&Plan {
        messages_per_connection: Some(1),
        ..Plan::default()
    });
    load.summary.connections_per_s = Some(4980.0);
    load
}

#[test]
fn a_closed_loop_has_service_times_and_no_others() {
    let load = busy(&Plan::default());
    assert_eq!(text_of(&load, "echoes"), "100k/s (1000000 in 10.00 s)");
    assert_eq!(text_of(&load, "connections"), "64 asked, 64 open, 64 answered");
    assert_eq!(text_of(&load, "errors"), "none");
    assert_eq!(
        text_of(&load, "generator"),
        "4.31 us of CPU per echo, 50% of 1 thread"
    );
    assert!(text_of(&load, "valid").starts_with("yes"));
    for span in Span::ALL {
        assert_eq!(has_name(&load, span.label()), span == Span::Service, "{span}");
    }
    assert!(!has_name(&load, "unanswered") && !has_name(&load, "withheld"));
}

#[test]
fn an_open_loop_shows_how_much_was_due_and_unanswered() {
    let mut load = busy_open(102e3);
    assert_eq!(
        text_of(&load, "echoes"),
        "100k/s of 102k/s that were due (1000000 in 10.00 s)"
    );
    load.summary.unanswered = 3;
    assert!(text_of(&load, "unanswered").starts_with("3 messages"));
}

#[test]
fn a_time_that_is_not_known_exactly_is_a_lower_bound_and_says_why() {
    let mut load = busy(&Plan::default());
    let ended = load.histograms[Span::Service].as_ref().unwrap().decode().unwrap();
    let unfinished = histogram([3_800_000_000; 4]);
    let times = Quantiles::with_unfinished(&ended, Some(&unfinished));
    load.summary.latencies[Span::Service] = Some(times);
    load.unfinished = Some([(Span::Service, Encoded::new(&unfinished))].into());
    load.summary.unanswered = 4;
    let line = text_of(&load, "service time");
    assert!(line.contains(" 99.1ms ") && line.contains(" >=3.80s "), "{line}");
    let expected = "4 messages had no answer when the run ended; the oldest has waited 3.80s";
    assert_eq!(text_of(&load, "unanswered"), expected);
    assert!(describe(&load).contains("times with >= are lower bounds"));
}

#[test]
fn an_older_load_lacks_what_was_not_answered() {
    let mut load = busy_open(100e3);
    load.summary.unanswered = 3;
    assert!(has_line(
        &load,
        "they are missing at the upper end of the times above"
    ));
}

#[test]
fn each_span_that_was_measured_has_a_line() {
    let mut load = short_connections();
    for (millis, span) in (10..).zip(Span::ALL) {
        load.summary.latencies[span] = Some(equal(millis * 1000, 20));
    }
    for (millis, span) in (10..).zip(Span::ALL) {
        let p50 = format!("{millis}.0ms");
        assert!(text_of(&load, span.label()).trim().starts_with(&p50), "{span}");
    }
}

#[test]
fn short_connections_have_a_rate_and_none_is_missing() {
    let mut load = short_connections();
    load.summary.connections.answered = 60;
    assert!(text_of(&load, "connections").starts_with("4.98k/s"));
    assert!(!describe(&load).contains("not answered"), "some have just begun");
}

#[test]
fn the_header_of_the_table_has_no_name_and_its_numbers_have() {
    let text = describe(&busy_open(100e3));
    let mut lines = text.lines().skip_while(|line| !line.contains("p99.9"));
    let header = lines.next().unwrap();
    assert!(header.starts_with(&" ".repeat(16)), "{text}");
    for span in [Span::Response, Span::Service, Span::SendLag] {
        let line = lines.next().unwrap();
        assert!(line.starts_with(&format!("  {} ", span.label())), "{text}");
        assert_eq!(line.len(), header.len(), "{text}");
    }
}

#[test]
fn connections_without_an_answer_have_a_line() {
    let mut load = busy(&Plan::default());
    load.summary.connections = Connections {
        asked: 1000,
        open: 1000,
        answered: 488,
        idle: 7,
        never_served: 0,
    };
    let missing = "512 of 1000 connections were not answered within the window";
    assert!(has_line(&load, missing) && has_line(&load, "7 idle connections"));
    load.window_s = 0.0;
    assert!(!has_line(&load, missing), "nothing was measured");
}

#[test]
fn lost_connections_have_lines_if_there_were_some() {
    let mut load = busy(&Plan {
        reconnect: true,
        ..Plan::default()
    });
    load.summary.reconnects = Some(Reconnects::default());
    assert!(!has_name(&load, "reconnects"));
    load.summary.reconnects = Some(Reconnects {
        lost: 64,
        reopened: 63,
        failed_attempts: 1,
        messages_lost: 60,
        longest_s: 1.523,
    });
    let text = text_of(&load, "reconnects");
    assert_eq!(
        text,
        "64 connections lost, 63 opened again, after 1 attempt that failed"
    );
    let time = "up to 1.52s from a loss to the next answer; 60 messages sent again";
    assert!(has_line(&load, time), "{}", describe(&load));
}

#[test]
fn each_kind_of_error_has_a_line_and_an_example() {
    let mut load = busy(&Plan::default());
    load.summary.errors = [(ErrorKind::Refused, 2), (ErrorKind::Reset, 3)].into();
    load.error_examples = [(ErrorKind::Reset, "reset by peer".into())].into();
    assert!(text_of(&load, "errors").starts_with("2 refused"));
    assert!(has_line(&load, "3 reset (reset by peer)"));
}

#[test]
fn the_side_that_set_the_pace_has_a_line() {
    let mut load = busy(&Plan::default());
    assert!(has_line(&load, &PaceSetter::Server.to_string()));
    load.generator.utilisation = 0.97;
    assert!(has_line(&load, &PaceSetter::Generator.to_string()));
}

#[test]
fn only_a_share_worth_telling_of_what_others_took_is_shown() {
    let mut load = busy(&Plan::default());
    let shown = |load: &Load| {
        let text = describe(load);
        (text.contains("kept waiting for 3%"), text.contains("took 5%"))
    };
    load.generator.kept_waiting = 0.032;
    load.generator.steal = Some(0.051);
    assert_eq!(shown(&load), (true, true));
    load.generator.kept_waiting = 0.005;
    load.generator.steal = Some(0.005);
    assert!(!describe(&load).contains("kept waiting") && !describe(&load).contains("hypervisor"));
}

#[test]
fn what_a_quota_took_is_not_said_of_other_programs() {
    let mut load = busy(&Plan::default());
    load.generator.kept_waiting = 0.4;
    let throttling = Throttling {
        quota: 0.5,
        periods: 20,
        throttled_periods: 7,
        throttled_s: 0.39,
        share: 0.395,
    };
    load.generator.throttling = Some(throttling);
    let late = false;
    load.summary.findings = [Finding::Throttled { throttling, late }].into();
    let text = describe(&load);
    assert!(
        text.contains("in 7 of 20 periods") && !text.contains("kept waiting"),
        "{text}"
    );
    assert!(text_of(&load, "not valid").starts_with("a processor quota"));
    let little = Throttling {
        share: 0.05,
        ..throttling
    };
    load.summary.findings = [Finding::Throttled {
        throttling: little,
        late,
    }]
    .into();
    load.generator.throttling = Some(little);
    assert!(text_of(&load, "valid").starts_with("yes"));
    assert!(text_of(&load, "note").starts_with("a processor quota"));
    assert!(describe(&load).contains("kept waiting for 35%"));
}

#[test]
fn findings_are_shown_by_their_effect() {
    let mut load = busy(&Plan::default());
    let withheld = Finding::Withheld { text: "why".into() };
    load.summary.findings = [Finding::NoEchoes, Finding::Overrun { outstanding: 3 }, withheld].into();
    assert!(text_of(&load, "withheld").ends_with("why"));
    let shown = block(verdict(&load));
    let expected = [Finding::NoEchoes, Finding::Overrun { outstanding: 3 }];
    let expected = rows("not valid", expected.iter().map(Finding::to_string));
    assert_eq!(shown, block(expected));
    assert!(describe(&load).contains(&shown));
}

#[test]
fn no_line_is_longer_than_a_hundred_columns() {
    let mut loads = vec![busy(&Plan::default()), busy_open(100e3), busy_open(300e3)];
    let mut churn = busy(&Plan {
        depth: 65_536,
        think: Duration::from_millis(12_345).into(),
        messages_per_connection: Some(100_000),
        ..Plan::default()
    });
    churn.summary.connections_per_s = Some(123e3);
    churn.summary.connections = Connections {
        asked: 1_234_567,
        open: 1_234_567,
        answered: 1_234_567,
        idle: 12_345,
        never_served: 0,
    };
    churn.summary.findings = [
        Finding::NoEchoes,
        Finding::Unaccounted { share: 0.5 },
        Finding::Withheld {
            text: "a reason ".repeat(20),
        },
    ]
    .into();
    loads.push(churn);
    for load in loads {
        let text = describe(&load);
        for line in text.lines() {
            assert!(line.len() <= 100, "{}: {line}", line.len());
        }
    }
}
