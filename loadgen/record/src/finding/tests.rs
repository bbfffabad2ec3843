use super::*;

/// Every finding with its sentence.
fn table() -> Vec<(Finding, &'static str)> {
    let of = |connections, of| AffectedConnections { connections, of };
    let rates = Rates {
        offered_per_s: 50e3,
        achieved_per_s: 31e3,
    };
    let lag = Lag {
        send_lag_us: 900.0,
        response_us: 1000.0,
    };
    let messages = AffectedMessages {
        messages: 11,
        echoes: 9989,
    };
    vec![
        (
            Finding::Interrupted {
                measured_s: 1.0,
                planned_s: 2.5,
            },
            "interrupted: measured 1.00 s of 2.5 s",
        ),
        (
            Finding::NoEchoes,
            "no message came back within the measured window: look at the server's log, and measure for longer if it \
             is slow",
        ),
        (
            Finding::WrongBytes(of(1, Some(10))),
            "1 of 10 connections received wrong bytes: the server does not echo what it reads",
        ),
        (
            Finding::Lost(messages),
            "11 of 10000 messages were lost, more than 1 in 1000: use fewer connections or a lower rate",
        ),
        (
            Finding::Stale(messages),
            "11 of 10000 messages were answered late or more than once, more than 1 in 1000: use fewer connections or \
             a lower rate",
        ),
        (
            Finding::NoLocalPort(of(1, None)),
            "1 connection found no local port, a limit of this side and not of the server: connect from more \
             addresses, such as --source 127.0.0.2-127.0.0.9 on loopback, or less often",
        ),
        (
            Finding::TooManyOpenFiles {
                connections: of(7, Some(10)),
                scheduled: false,
            },
            "7 of 10 connections found too many open files, a limit of this side and not of the server: use fewer \
             connections, or raise the limit (`ulimit -n`)",
        ),
        (
            Finding::TooManyOpenFiles {
                connections: of(7, None),
                scheduled: true,
            },
            "7 connections found too many open files, a limit of this side and not of the server: lower \
             --connect-rate, since the server may not have answered earlier connections, or raise the limit (`ulimit \
             -n`)",
        ),
        (
            Finding::ConnectionsFailed(of(1, Some(1))),
            "1 of 1 connection failed, so the load was not the one asked for",
        ),
        (
            Finding::Overrun { outstanding: 1 },
            "the run ended with 1 message outstanding: the server is too far behind to catch up; offer less",
        ),
        (
            Finding::WarmUpBacklog(rates),
            "31.0k/s came back of 50.0k/s that were offered, since the warm-up left messages behind: offer less",
        ),
        (
            Finding::GeneratorFellBehind(rates),
            "31.0k/s came back of 50.0k/s that were offered: the generator fell behind; give it more --threads and \
             --cpus, or offer less",
        ),
        (
            Finding::ServerFellBehind(rates),
            "31.0k/s came back of 50.0k/s that were offered: the server, or the path to it, did not keep up; offer \
             less, or find its limit with `loadgen capacity`",
        ),
        (
            Finding::Unanswered {
                unanswered: 11,
                due: 1000,
            },
            "11 of 1000 messages that were due were never answered, and are missing at the upper end of the \
             latencies: offer less",
        ),
        (
            Finding::SentLate(lag),
            "messages were sent too late: the p99 of the send lag is 900us of a response time of 1.00ms, so the \
             generator was held up; give it processors of its own (--cpus) and more --threads",
        ),
        (
            Finding::Saturated { utilisation: 0.97 },
            "the generator was saturated: its threads used 97% of their time, and cannot keep a schedule above 90%; \
             use more --threads and --cpus, or --spin, or offer less",
        ),
        (
            Finding::KeptWaiting {
                share: 0.25,
                involuntary_switches: 1,
            },
            "the generator was kept from running for 25% of the window (1 preemption): other programs ran on \
             its processors; give it processors of its own (--cpus)",
        ),
        (
            Finding::Stolen { share: 0.25 },
            "the hypervisor took 25% of the generator's time: measure when the host is quieter",
        ),
        (
            Finding::UnevenArrivals {
                at_s: 0.5,
                seen: 2.0,
                expected: 1,
            },
            "the schedule is not evenly spaced: 2.000 messages became due between two of one worker, 0.500000 s into \
             the window, instead of 1; this is an error in the load generator: do not use the numbers, and report it \
             with the command and its seed",
        ),
        (
            Finding::WrongArrivalRate {
                gaps: 99,
                expected: 50.2,
            },
            "the schedule has the wrong rate: 99 messages were due in the time of 50; this is an error in the load \
             generator: do not use the numbers, and report it with the command and its seed",
        ),
        (
            Finding::WrongGaps {
                gaps: 99,
                distance: 0.5,
                allowed: 0.2,
            },
            "the gaps of the schedule are not those of a Poisson process: their distribution is off by 0.500 over 99 \
             of them, where chance allows 0.200; this is an error in the load generator: do not use the numbers, and \
             report it with the command and its seed",
        ),
        (
            Finding::Unaccounted { share: 0.951 },
            "the latencies and the gaps between them account for 95.1% of the time of the connections (Little's law); \
             this is an error in the load generator: do not use the numbers, and report it with the command and its \
             seed",
        ),
        (
            Finding::RateNotSteady {
                before_per_s: 500.0,
                after_per_s: 300.0,
            },
            "the rate went from 500/s in the first half of the window to 300/s in the second: the load was not in a \
             steady state; use a longer --warmup, or look for what changed",
        ),
        (
            Finding::LatencyNotSteady {
                before_us: 100.0,
                after_us: 2000.0,
            },
            "the median latency went from 100us in the first half of the window to 2.00ms in the second: the load was \
             not in a steady state; use a longer --warmup, or look for what changed",
        ),
        (
            Finding::WentSilent {
                connections: of(4, Some(4)),
                oldest_s: 1.94,
            },
            "4 of 4 connections went silent; the oldest message has waited 1.9 s: the server may have lost part of \
             an answer",
        ),
        (
            Finding::MostlySendLag { lag, spins: false },
            "the latency is mostly the generator's own: the p99 of the send lag is 900us of a response time of \
             1.00ms; use --spin, which needs no wake-up",
        ),
        (
            Finding::MostlySendLag { lag, spins: true },
            "the latency is mostly the generator's own: the p99 of the send lag is 900us of a response time of \
             1.00ms; give it processors of its own (--cpus)",
        ),
        (
            Finding::OfPart {
                part: "a.json".into(),
                found: Box::new(Finding::Stolen { share: 0.25 }),
            },
            "a.json: the hypervisor took 25% of the generator's time: measure when the host is quieter",
        ),
        (Finding::Reason { text: "so".into() }, "so"),
        (Finding::Withheld { text: "so".into() }, "so"),
    ]
}

#[test]
fn each_finding_has_its_sentence() {
    for (finding, sentence) in table() {
        assert_eq!(finding.to_string(), sentence);
    }
}

#[test]
fn each_finding_is_read_back() {
    for (finding, _) in table() {
        let json = serde_json::to_value(&finding).unwrap();
        assert!(json["finding"].is_string(), "{json}");
        assert_eq!(serde_json::from_value::<Finding>(json).unwrap(), finding);
    }
}

#[test]
fn a_part_has_the_fault_and_the_effect_of_what_was_found_in_it() {
    for (finding, _) in table() {
        let part = Finding::OfPart {
            part: "a.json".into(),
            found: Box::new(finding.clone()),
        };
        assert_eq!((part.fault(), part.effect()), (finding.fault(), finding.effect()));
    }
}
