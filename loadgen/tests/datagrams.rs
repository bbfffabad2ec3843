//! Datagrams over both engines: those that come back, and those that are lost, late, doubled
//! or wrong.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use record::histogram::Statistic;
use record::{ErrorKind, Finding, Plan, Span};

mod support;
use support::*;

/// A load over UDP that takes no slow answer of a busy host for a lost one.
fn patient() -> Plan {
    Plan {
        answer_timeout: time(Duration::from_secs(60)),
        ..datagrams()
    }
}

/// Counts the datagrams that a server has answered.
#[derive(Default)]
struct Answers(Arc<AtomicU64>);

impl Answers {
    fn server(&self, answer: impl Fn(u64, &[u8], &dyn Fn(&[u8])) + Send + 'static) -> SocketAddr {
        let answered = Arc::clone(&self.0);
        datagram_server(move |number, message, send| {
            answer(number, message, send);
            answered.store(number, Ordering::SeqCst);
        })
    }

    fn number(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn datagrams_of_all_sizes_come_back_whole() {
    for &engine in engines() {
        // Two connections, since a socket has room for three of the longest datagrams.
        for message_bytes in [8, 64, 1473, 65_507] {
            let plan = Plan {
                size: bytes(message_bytes),
                connections: Some(2),
                engine,
                ..patient()
            };
            let answers = Answers::default();
            let server = answers.server(|_, message, send| send(message));
            // Two on each connection: the first of them has arrived.
            let load = run_until(server, plan, 4, || answers.number());
            assert!(load.summary.errors.is_empty(), "{:?}", load.summary.errors);
            assert_eq!(load.summary.connections.open, 2);
            assert!(load.summary.echoes > 0);
            assert!(loadgen::text::describe(&load).contains("2 connections over UDP"));
        }
    }
}

#[test]
fn datagrams_that_are_dropped_are_lost_and_counted() {
    for &engine in engines() {
        let server = datagram_server(|number, message, send| {
            if number % 3 != 0 {
                send(message);
            }
        });
        let plan = Plan {
            duration: time(Duration::from_secs(1)),
            engine,
            ..datagrams()
        };
        let load = run(server, plan);
        assert!(count(&load, ErrorKind::Lost) > 0, "{:?}", load.summary.errors);
        assert_eq!(load.summary.connections.open, 4, "a loss ends no connection");
        let lost = |finding: &Finding| matches!(finding, Finding::Lost(_));
        assert!(load.summary.findings.iter().any(lost));
        assert!(loadgen::text::describe(&load).contains("lost (no answer within 200ms)"));
    }
}

#[test]
fn garbage_cut_off_and_empty_datagrams_are_wrong() {
    for &engine in engines() {
        type Answer = fn(&[u8]) -> Vec<u8>;
        let answers: [Answer; 5] = [
            |_| b"HTTP/1.1 400 Bad Request".to_vec(),
            |message| message[..message.len() - 1].to_vec(),
            |message| [message, b"x"].concat(),
            |message| message.iter().map(|byte| byte ^ 1).collect(),
            |_| Vec::new(),
        ];
        for answer in answers {
            let server = datagram_server(move |_, message, send| send(&answer(message)));
            let load = run(
                server,
                Plan {
                    engine,
                    ..datagrams()
                },
            );
            assert!(
                count(&load, ErrorKind::WrongBytes) > 0,
                "{:?}",
                load.summary.errors
            );
            assert!(!load.summary.is_valid());
            assert_eq!(load.summary.echoes, 0);
        }
    }
}

#[test]
fn a_doubled_answer_is_recognised_and_counted() {
    for &engine in engines() {
        let answers = Answers::default();
        let server = answers.server(|_, message, send| {
            send(message);
            send(message);
        });
        let plan = Plan { engine, ..patient() };
        // Three on each of the four connections: both answers to the first have arrived.
        let load = run_until(server, plan, 12, || answers.number());
        assert!(count(&load, ErrorKind::Stale) > 0 && load.summary.echoes > 0);
        assert_eq!(count(&load, ErrorKind::WrongBytes), 0);
        let stale = |finding: &Finding| matches!(finding, Finding::Stale(_));
        assert!(load.summary.findings.iter().any(stale));
    }
}

#[test]
fn datagrams_that_are_never_answered_are_counted_and_not_valid() {
    for &engine in engines() {
        let plan = Plan {
            engine,
            ..datagrams()
        };
        let load = run(datagram_server(|_, _, _| {}), plan);
        let summary = &load.summary;
        assert_eq!(
            (
                summary.echoes,
                summary.connections.open,
                summary.connections.answered
            ),
            (0, 4, 0)
        );
        assert!(count(&load, ErrorKind::Lost) >= 4);
        assert!(
            summary
                .findings
                .iter()
                .any(|finding| *finding == Finding::NoEchoes)
        );
    }
}

#[test]
fn datagrams_that_are_answered_no_more_bound_the_latencies() {
    for &engine in engines() {
        let answers_some = datagram_server(|number, message, send| {
            if number <= 200 {
                send(message);
            }
        });
        let load = run(
            answers_some,
            Plan {
                engine,
                duration: time(Duration::from_secs(1)),
                warmup: time(Duration::ZERO).unwrap(),
                ..datagrams()
            },
        );
        let max = load
            .summary
            .latencies
            .main()
            .unwrap()
            .known(Statistic::Max)
            .unwrap();
        assert!(!max.is_exact() && max.value() >= 200e3, "{max:?}");
        // The last ones are waited for until they are lost.
        assert_eq!(load.summary.unanswered, 0);
        let given_up = load.unfinished(Span::Service).unwrap().decode().unwrap();
        assert!((1..=count(&load, ErrorKind::Lost)).contains(&given_up.len()));
    }
}

#[test]
fn a_port_without_a_server_is_an_error_of_its_own() {
    for &engine in engines() {
        let target = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let plan = Plan {
            engine,
            ..datagrams()
        };
        let error = run_to_error(target, plan);
        let message = error.to_string();
        assert!(
            message.contains("refused") && message.contains("is the server running"),
            "{message}"
        );
    }
}
