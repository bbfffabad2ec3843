//! Servers that answer whole lines, over both engines.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use record::{Arrivals, Plan};

mod support;
use support::*;

/// Answers a line when its line feed has come.
fn echo_lines(stream: TcpStream) {
    let mut answers = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = lines.read_until(b'\n', &mut line) {
        if !line.ends_with(b"\n") || answers.write_all(&line).is_err() {
            return;
        }
        line.clear();
    }
}

/// The same as text: decoded, trimmed, and ended by a line feed of the server's own.
fn echo_text(stream: TcpStream) {
    let mut answers = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if answers
            .write_all((line.trim().to_owned() + "\n").as_bytes())
            .is_err()
        {
            return;
        }
    }
}

fn every_loop() -> [Plan; 5] {
    let window = Duration::from_millis(300);
    [
        closed(1),
        closed(8),
        churn(2),
        open(200.0, window, Arrivals::Poisson),
        sessions(50.0, window, 2),
    ]
}

#[test]
fn lines_are_answered_in_every_loop() {
    for &engine in engines() {
        for serve in [echo_lines, echo_text, echo] {
            for plan in every_loop() {
                let load = run(
                    server(serve),
                    Plan {
                        engine,
                        lines: true,
                        ..plan
                    },
                );
                assert_right(&load);
                assert!(loadgen::text::describe(&load).contains("64 B, each a line"));
            }
        }
    }
}

#[test]
fn lines_have_every_kind_of_size() {
    let mut list = tempfile::NamedTempFile::new().unwrap();
    list.write_all(b"1B\n70kB\n2B\n64B\n4097B\n").unwrap();
    let listed = format!("file:{}", list.path().display());
    let sizes = ["1B", "2B", "4KiB", "300KiB", "uniform:1B..100KiB", &listed];
    for &engine in engines() {
        for size in sizes {
            for serve in [echo_lines, echo_text] {
                let plan = Plan {
                    engine,
                    lines: true,
                    size: size.parse().unwrap(),
                    ..closed(4)
                };
                assert_right(&run(server(serve), plan));
            }
        }
    }
}

/// A server that upcases lines, or drops or repeats one.
#[test]
fn wrong_lines_are_wrong_bytes() {
    fn change(mut answer: impl FnMut(usize, &str) -> String, stream: TcpStream) {
        let mut answers = stream.try_clone().unwrap();
        for (number, line) in BufReader::new(stream).lines().map_while(Result::ok).enumerate() {
            let answer = answer(number, &(line + "\n"));
            if answers.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
    let servers: [fn(TcpStream); 4] = [
        |stream| change(|_, line| line.to_ascii_uppercase(), stream),
        |stream| change(|_, line| line.replace('\n', "\r\n"), stream),
        |stream| change(|number, line| line.repeat(1 + usize::from(number == 3)), stream),
        // The third answer is missing: the fourth is in its place.
        |stream| {
            change(
                |number, line| if number == 3 { String::new() } else { line.into() },
                stream,
            )
        },
    ];
    for &engine in engines() {
        for serve in servers {
            let plan = Plan {
                engine,
                lines: true,
                ..closed(4)
            };
            let load = run(server(serve), plan);
            assert!(
                count(&load, record::ErrorKind::WrongBytes) > 0,
                "{:?}",
                load.summary
            );
        }
    }
}

#[test]
fn without_lines_such_a_server_does_not_answer_and_lines_are_suggested() {
    // Of the first message, what follows the last line feed is held back.
    for &engine in engines() {
        let load = run(server(echo_lines), Plan { engine, ..closed(1) });
        assert_eq!(load.summary.echoes, 0);
        let text = loadgen::text::describe(&load);
        assert!(text.contains("try next") && text.contains("`--lines`"), "{text}");
    }
}

#[test]
fn a_lane_sends_lines_too() {
    let target: SocketAddr = server(echo_lines);
    let plan = Plan {
        lines: true,
        ..closed(1)
    };
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut lane = loadgen::Lane::open(checked(target, plan), &stop).unwrap();
    let slice = Duration::from_millis(20);
    let report = lane.slice(slice, slice, &stop).unwrap();
    assert!(report.served > 0 && !report.is_last, "{report:?}");
    assert!(lane.close().unwrap().summary.errors.is_empty());
}
