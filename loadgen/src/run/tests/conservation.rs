//! Every message that was due is answered, outstanding, or an error; none twice.

use std::time::Duration;

use proptest::prelude::*;

use super::simulation::*;
use crate::engine::simulated::{Fate, Fault, Latency, Queue, Script};
use record::units::Bytes;
use record::{Arrivals, ErrorKind, LoopKind, MessageSize, Plan, Span, Transport};

const WINDOW: Duration = Duration::from_millis(60);

fn arrivals() -> impl Strategy<Value = Arrivals> {
    prop_oneof![Just(Arrivals::Constant), Just(Arrivals::Poisson)]
}

fn think() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), (1u64..5000).prop_map(Duration::from_micros)]
}

fn loops(transport: Transport) -> BoxedStrategy<Plan> {
    let open = || (100.0..3000.0f64, arrivals()).prop_map(|(rate, arrivals)| open(rate, WINDOW, arrivals));
    if transport == Transport::Udp {
        let closed = think().prop_map(|think| closed(1, think));
        return prop_oneof![closed, open()].boxed();
    }
    let closed = (1u32..20, think(), prop::option::of(1u64..6)).prop_map(|(depth, think, messages)| Plan {
        messages_per_connection: messages,
        ..closed(depth, think)
    });
    let lasting = prop_oneof![
        (1u32..20, think()).prop_map(|(depth, think)| self::closed(depth, think)),
        open(),
    ];
    let reopening = lasting.prop_map(|plan| Plan {
        reconnect: true,
        ..plan
    });
    let sessions = (50.0..800.0f64, arrivals(), think(), 1u64..5)
        .prop_map(|(rate, arrivals, think, messages)| sessions(rate, WINDOW, arrivals, think, messages));
    prop_oneof![1 => closed, 1 => open(), 1 => sessions, 2 => reopening].boxed()
}

fn sizes(transport: Transport) -> BoxedStrategy<MessageSize> {
    match transport {
        Transport::Udp => Just(MessageSize::Fixed(Bytes(64))).boxed(),
        Transport::Tcp => prop_oneof![
            3 => Just(MessageSize::Fixed(Bytes(64))),
            1 => (1u64..100, 0u64..5000).prop_map(|(first, more)| MessageSize::Uniform(Bytes(first), Bytes(first + more))),
        ]
        .boxed(),
    }
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let position = 0u64..4000;
    let fault = prop_oneof![
        8 => Just(Fault::None),
        1 => Just(Fault::Refused),
        1 => Just(Fault::NeverConnects),
        1 => position.clone().prop_map(Fault::Lost),
        1 => position.clone().prop_map(Fault::Doubled),
        1 => position.clone().prop_map(Fault::Wrong),
        1 => position.clone().prop_map(Fault::Silent),
        1 => position.clone().prop_map(Fault::StopsReading),
        1 => position.clone().prop_map(Fault::Ends),
        1 => position.prop_map(Fault::Resets),
        1 => Just(Fault::NeverCloses),
    ];
    prop::collection::vec(fault, 1..6)
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        8 => Just(Fate::Answered),
        1 => Just(Fate::Dropped),
        1 => (0u64..60).prop_map(|late| Fate::Late(late * MS)),
        1 => Just(Fate::Doubled),
        1 => Just(Fate::Wrong),
    ];
    prop::collection::vec(fate, 1..30)
}

fn latencies() -> impl Strategy<Value = Latency> {
    prop_oneof![
        (0u64..20 * MS).prop_map(Latency::Constant),
        (0u64..MS, 0u64..30 * MS).prop_map(|(first, more)| Latency::Uniform(first, first + more)),
    ]
}

/// Some, one after the other.
fn outages() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let outage = (0u64..60 * MS, 0u64..40 * MS);
    prop::collection::vec(outage, 0..3).prop_map(|outages| {
        let mut end_ns = 0;
        let after = outages.into_iter().map(|(pause_ns, length_ns)| {
            let begin_ns = end_ns + pause_ns;
            end_ns = begin_ns + length_ns;
            (begin_ns, end_ns)
        });
        after.collect()
    })
}

fn scripts() -> impl Strategy<Value = Script> {
    let host = (
        prop_oneof![Just(usize::MAX), 1usize..40],
        prop_oneof![Just(usize::MAX), 1usize..40],
        0u64..100 * MS,
    );
    let network = (
        0u64..3 * MS,
        prop_oneof![Just(1 << 20), 64usize..4000],
        any::<bool>(),
        prop_oneof![Just(usize::MAX), 1usize..100],
    );
    let queue = prop::option::weighted(0.3, (1usize..4, 0u64..3 * MS));
    let server = (latencies(), prop_oneof![Just(0), 1u64..MS], queue);
    let stalls = prop::collection::vec((0u64..60 * MS, 0u64..30 * MS), 0..3);
    (
        any::<u64>(),
        host,
        network,
        server,
        stalls,
        outages(),
        faults(),
        fates(),
    )
        .prop_map(
            |(seed, host, network, server, stalls, outages, faults, fates)| Script {
                seed,
                outages,
                connect_ns: network.0,
                queue: server.2.map(|(room, accept_ns)| Queue { room, accept_ns }),
                latency: server.0,
                service_ns: server.1,
                stalls: { stalls.into_iter() }
                    .map(|(begin, length)| (begin, begin + length))
                    .collect(),
                room: network.1,
                batches: network.2,
                piece: network.3,
                ports: host.0,
                descriptors: host.1,
                time_wait_ns: host.2,
                faults,
                fates,
                ..Script::default()
            },
        )
}

fn simulations() -> impl Strategy<Value = Simulation> {
    let transport = prop_oneof![3 => Just(Transport::Tcp), 1 => Just(Transport::Udp)];
    transport
        .prop_flat_map(|transport| {
            let shape = (1usize..7, 1usize..4, 0usize..3, any::<u64>());
            let host = (
                prop_oneof![Just(0), 0u64..300 * US],
                prop::option::of((0u64..60 * MS, 0u64..20 * MS)),
                prop::option::of(0u64..60 * MS),
            );
            let load = (loops(transport), sizes(transport));
            (Just(transport), load, shape, scripts(), host)
        })
        .prop_map(|(transport, (plan, size), shape, script, host)| {
            let (connections, threads, idle, seed) = shape;
            let udp = transport == Transport::Udp;
            Simulation {
                plan: Plan {
                    udp,
                    size,
                    connections: plan.connections.map(|_| connections.max(threads)),
                    threads: Some(threads),
                    idle: if udp { 0 } else { idle },
                    seed,
                    warmup: millis(10).into(),
                    duration: time(WINDOW),
                    connect_timeout: time(millis(30)).filter(|_| !udp),
                    answer_timeout: time(millis(25)).filter(|_| udp),
                    ..plan
                },
                script: match udp {
                    // A datagram goes nowhere, and nothing ends.
                    true => Script {
                        outages: Vec::new(),
                        ..script
                    },
                    false => script,
                },
                oversleep_ns: host.0,
                held_up: { host.1.iter() }
                    .map(|(begin, length)| (*begin, begin + length))
                    .collect(),
                stopped_at_ns: host.2,
                ..Simulation::new()
            }
        })
}

fn assert_conserves(simulation: &Simulation) -> Result<(), TestCaseError> {
    let plan = simulation.checked();
    let Counted {
        mut tally,
        window,
        ledger,
        delivered,
        ..
    } = simulation.count(&plan);
    let echoes: u64 = window.intervals.iter().map(|interval| interval.echoes).sum();
    let mut latency = histogram_of([]);
    window
        .intervals
        .iter()
        .for_each(|interval| latency += &interval.latency);
    let errors = |kind| tally.errors.get(&kind).map_or(0, |(count, _)| *count);

    prop_assert_eq!(
        ledger.begun,
        ledger.answered + ledger.lost + ledger.broken_off + ledger.outstanding
    );
    prop_assert_eq!(ledger.lost, errors(ErrorKind::Lost));
    let reconnects = &tally.reconnects;
    if plan.reconnect {
        // Each loss is an error, and the connection is open again, or will be, unless this side has no
        // room for it.
        let losses: u64 = { tally.errors.iter() }
            .filter(|(kind, _)| kind.may_pass())
            .map(|(_, (count, _))| count)
            .sum();
        prop_assert_eq!(reconnects.lost, losses);
        let given_up = reconnects.lost.checked_sub(reconnects.reopened + ledger.away);
        let local = errors(ErrorKind::NoLocalPort) + errors(ErrorKind::TooManyOpenFiles);
        prop_assert!(
            given_up.is_some_and(|given_up| given_up <= local),
            "{:?}",
            reconnects
        );
        prop_assert_eq!(tally.lost_ns.len() as u64 >= ledger.away, true);
    } else {
        prop_assert_eq!((reconnects.lost, ledger.away), (0, 0));
    }
    prop_assert!(echoes <= ledger.answered);
    // Nothing counts as answered that the server did not return whole and right.
    if plan.transport == Transport::Tcp && plan.sizes.bounds() == (64, 64) {
        prop_assert!(ledger.answered <= delivered, "{} {:?}", delivered, ledger);
    }
    if plan.keeps_connections() {
        let connections = plan.connections as u64;
        prop_assert!(tally.answered <= tally.open && tally.open <= connections);
    } else {
        prop_assert!(tally.answered <= tally.open && tally.open <= tally.asked);
    }
    let unfinished = tally.take_unfinished();
    let (service, send_lag) = (
        tally.latencies[Span::Service].len(),
        tally.latencies[Span::SendLag].len(),
    );
    match plan.loop_kind {
        LoopKind::Closed => {
            prop_assert_eq!(latency.len(), echoes);
            prop_assert_eq!((tally.due, service, send_lag), (0, 0, 0));
            // What was outstanding in the window and never answered, but not what had not been sent.
            let has_opened = window.duration_ns > 0;
            let outstanding = if has_opened { ledger.outstanding } else { 0 };
            prop_assert_eq!(tally.remainder.unanswered, outstanding);
            prop_assert!(tally.broken_off <= ledger.broken_off);
            prop_assert!(unfinished.count(Span::Service) <= tally.unanswered() + ledger.lost);
            prop_assert_eq!(
                (unfinished.count(Span::Response), unfinished.count(Span::SendLag)),
                (0, 0)
            );
            if let Some(account) = tally.account.filter(|account| account.is_whole) {
                // Little's law, to what the histogram rounds.
                let recorded = latency.mean() * latency.len() as f64 - account.before_ns as f64;
                let accounted = recorded + account.unrecorded_ns as f64;
                let expected = account.expected_ns as f64;
                prop_assert!(
                    (accounted - expected).abs() <= 2e-3 * expected,
                    "{} {}",
                    accounted,
                    expected
                );
            }
        }
        LoopKind::Open => {
            // Each message that was due within the window was answered, was not, or was lost.
            let lost = tally.due.checked_sub(latency.len() + tally.unanswered());
            prop_assert_eq!(latency.len() + unfinished.count(Span::Response), tally.due);
            prop_assert!(
                lost.is_some_and(|lost| lost <= ledger.lost),
                "{:?} {:?}",
                lost,
                ledger
            );
            prop_assert_eq!((service, send_lag), (latency.len(), latency.len()));
            prop_assert!(tally.latencies[Span::Service].max() <= latency.max());
        }
        LoopKind::PartlyOpen => {
            prop_assert_eq!(service, latency.len());
            prop_assert_eq!(unfinished.count(Span::Response), tally.unanswered());
            prop_assert!(tally.asked <= tally.due && send_lag == tally.asked);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_message_that_was_due_is_answered_outstanding_or_an_error(simulation in simulations()) {
        assert_conserves(&simulation)?;
    }
}
