//! Datagrams over both engines: those that come back, and those that are lost, late, doubled
//! or wrong.

use std::net::UdpSocket;
use std::time::Duration;

use loadgen::plan::Request;
use loadgen::sizes::Sizes;
use record::{ErrorKind, Span, Transport};

mod support;
use support::*;

#[test]
fn datagrams_that_come_back_are_valid_whatever_the_size() {
    for &engine in engines() {
        // Two, since a socket has room for three of the longest.
        for message_bytes in [8, 64, 1473, 65_507] {
            let load = run(Request {
                sizes: Sizes::Fixed(message_bytes),
                connections: 2,
                engine,
                ..datagram_server(|_, message, send| send(message))
            });
            assert_right(&load);
            let connections = load.summary.connections;
            assert_eq!((connections.open, connections.answered), (2, 2));
            assert!(loadgen::text::describe(&load).contains("2 connections over UDP"));
        }
    }
}

#[test]
fn every_third_datagram_dropped_is_lost_and_counted_and_the_rest_is_measured() {
    for &engine in engines() {
        let load = run(Request {
            duration: Duration::from_secs(1),
            engine,
            ..datagram_server(|number, message, send| {
                if number % 3 != 0 {
                    send(message);
                }
            })
        });
        let (lost, echoes) = (count(&load, ErrorKind::Lost), load.summary.echoes);
        assert!(echoes > 0 && lost > 0, "{:?}", load.summary.errors);
        // The window holds a part of what the errors are counted over.
        assert!(lost + 4 >= echoes / 2, "{lost} of {echoes}");
        assert_eq!(load.summary.errors.len(), 1, "{:?}", load.summary.errors);
        assert_eq!(load.summary.connections.answered, 4, "a loss ends no connection");
        assert!(!load.summary.is_valid() && load.summary.reasons()[0].contains("were lost"));
        let slowest = load.summary.latencies[Span::Service]
            .as_ref()
            .unwrap()
            .max
            .unwrap();
        assert!(slowest < 200_000.0, "{slowest} us: what was lost has no latency");
        assert!(loadgen::text::describe(&load).contains("lost (no answer within 200ms)"));
    }
}

#[test]
fn a_rare_loss_is_counted_and_leaves_the_load_valid() {
    for &engine in engines() {
        let load = run(Request {
            engine,
            ..datagram_server(|number, message, send| {
                if number != 1000 {
                    send(message);
                }
            })
        });
        assert_eq!(count(&load, ErrorKind::Lost), 1, "{:?}", load.summary.errors);
        assert!(own_reasons(&load).is_empty());
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
            let load = run(Request {
                engine,
                ..datagram_server(move |_, message, send| send(&answer(message)))
            });
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
fn a_doubled_answer_is_taken_for_no_other_and_counted() {
    for &engine in engines() {
        let load = run(Request {
            engine,
            ..datagram_server(|_, message, send| {
                send(message);
                send(message);
            })
        });
        let (stale, echoes) = (count(&load, ErrorKind::Stale), load.summary.echoes);
        assert!(echoes > 0 && stale + 4 >= echoes, "{stale} of {echoes}");
        assert_eq!(load.summary.errors.len(), 1, "{:?}", load.summary.errors);
        assert!(!load.summary.is_valid() && load.summary.reasons()[0].contains("more than once"));
    }
}

#[test]
fn a_late_answer_is_lost_and_then_recognised() {
    for &engine in engines() {
        let mut held = None;
        let load = run(Request {
            duration: Duration::from_secs(1),
            connections: 1,
            threads: 1,
            engine,
            ..datagram_server(move |number, message, send| {
                // Every tenth answer comes after that to the next message.
                match number % 10 {
                    0 => held = Some(message.to_vec()),
                    _ => send(message),
                }
                if number % 10 == 1
                    && let Some(held) = held.take()
                {
                    send(&held);
                }
            })
        });
        let (lost, stale) = (count(&load, ErrorKind::Lost), count(&load, ErrorKind::Stale));
        assert!(
            load.summary.echoes > 0 && lost > 0 && stale + 1 >= lost,
            "{lost} {stale}"
        );
        assert_eq!(load.summary.errors.len(), 2, "{:?}", load.summary.errors);
    }
}

#[test]
fn datagrams_that_are_never_answered_are_counted_and_not_valid() {
    for &engine in engines() {
        let load = run(Request {
            engine,
            ..datagram_server(|_, _, _| {})
        });
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
            summary.reasons()[0].contains("no message came back"),
            "{:?}",
            summary.reasons()
        );
    }
}

#[test]
fn no_server_of_datagrams_on_the_port_is_an_error_of_its_own() {
    for &engine in engines() {
        let target = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = run_in_vain(Request {
            engine,
            ..request(target, Transport::Udp)
        });
        let said = error.to_string();
        assert!(
            said.contains("refused") && said.contains("is the server running"),
            "{said}"
        );
    }
}
