//! The problems that gates can find in a load, with their numbers.
//!
//! A new gate needs a variant here, with its sentence, and a function in `loadgen::gates`.

mod numbers;

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error_kind::ErrorKind;
use crate::throttling::Throttling;
use crate::units::show_rate;
use crate::words::{count, show_micros};
pub use numbers::{AffectedConnections, AffectedMessages, Lag, Rates};

/// Over UDP, one message of this many may be lost, late or doubled. Such messages are missing in
/// the histograms beyond p99.9, the last quantile that is shown.
pub const MESSAGES_PER_LOSS: u64 = 1000;

/// Share of the generator's time that others may take: up to p90, latencies are unaffected.
pub const TAKEN: f64 = 0.1;

/// A result of a gate. Its `Display` is a sentence that ends with advice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// The caller ended the run early.
    Interrupted {
        /// Seconds that were measured.
        measured_s: f64,
        /// Seconds that were asked for.
        planned_s: f64,
    },
    /// The window did not open, since no connection was left.
    EndedInWarmUp {
        /// Connections that were open.
        connections: u64,
        /// Messages that were answered before.
        answers: u64,
        /// The errors that ended them.
        errors: BTreeMap<ErrorKind, u64>,
    },
    /// No message came back within the window.
    NoEchoes,
    /// The server sent other bytes than it received.
    WrongBytes(AffectedConnections),
    /// Over UDP: too many messages had no answer in time.
    Lost(AffectedMessages),
    /// Over UDP: too many messages were answered late or more than once.
    Stale(AffectedMessages),
    /// No local port was free.
    NoLocalPort(AffectedConnections),
    /// This process may not open more files.
    TooManyOpenFiles {
        /// The connections.
        #[serde(flatten)]
        connections: AffectedConnections,
        /// Whether connections arrive by a schedule, which determines their number.
        scheduled: bool,
    },
    /// Connections failed in other ways.
    ConnectionsFailed(AffectedConnections),
    /// With `reconnect`: connections that were lost had no answer when the run ended.
    StillLost {
        /// The connections.
        #[serde(flatten)]
        connections: AffectedConnections,
        /// How long the first of them had been lost, in seconds.
        longest_s: f64,
    },
    /// The run was ended while messages were outstanding.
    Overrun {
        /// Messages that had no answer yet.
        outstanding: u64,
    },
    /// More came back than was due, since the warm-up left messages behind.
    WarmUpBacklog(Rates),
    /// Less came back than was due, and the generator was late.
    GeneratorFellBehind(Rates),
    /// Less came back than was due, and the generator was in time.
    ServerFellBehind(Rates),
    /// Too many messages that were due had no answer when the run ended.
    Unanswered {
        /// Messages without an answer.
        unanswered: u64,
        /// Messages that were due.
        due: u64,
    },
    /// Connections that were answered before had waited for too long when the window closed.
    WentSilent {
        /// The connections.
        #[serde(flatten)]
        connections: AffectedConnections,
        /// How long the oldest message had waited, in seconds.
        oldest_s: f64,
    },
    /// Messages were sent so late that the generator must have been held up.
    SentLate(Lag),
    /// The generator had no time to spare to keep a schedule.
    Saturated {
        /// Share of its threads' time that it used.
        utilisation: f64,
    },
    /// Other programs ran on the generator's processors.
    KeptWaiting {
        /// Share of the window for which it was ready to run and did not.
        share: f64,
        /// Times at which the scheduler took a processor from it.
        involuntary_switches: u64,
    },
    /// The hypervisor ran other machines on the generator's processors.
    Stolen {
        /// Share of the window.
        share: f64,
    },
    /// A processor quota throttled the generator.
    Throttled {
        /// The quota, and what it did.
        #[serde(flatten)]
        throttling: Throttling,
        /// Whether the generator was late for it.
        late: bool,
    },
    /// Constant arrivals are not evenly spaced.
    UnevenArrivals {
        /// When, in seconds from the start of the window.
        at_s: f64,
        /// How much became due over all workers, by the pace, between two messages of one.
        seen: f64,
        /// How much should have.
        expected: u64,
    },
    /// Poisson arrivals are too many or too few.
    WrongArrivalRate {
        /// Gaps looked at.
        gaps: u64,
        /// How many there should have been in their time.
        expected: f64,
    },
    /// Poisson arrivals have gaps of another distribution.
    WrongGaps {
        /// Gaps looked at.
        gaps: u64,
        /// The largest difference of the two distribution functions.
        distance: f64,
        /// The largest that chance allows.
        allowed: f64,
    },
    /// The latencies of a closed loop do not add up to its time.
    Unaccounted {
        /// Share of the connections' time that they account for.
        share: f64,
    },
    /// The rate of a closed loop rose or fell within the window.
    RateNotSteady {
        /// Echoes per second, median of the first half.
        before_per_s: f64,
        /// Echoes per second, median of the second half.
        after_per_s: f64,
    },
    /// The latency of an open loop rose or fell within the window.
    LatencyNotSteady {
        /// Median latency in the first half, in microseconds.
        before_us: f64,
        /// Median latency in the second half, in microseconds.
        after_us: f64,
    },
    /// The latencies are mostly the generator's own. They are right, so the load is valid, but
    /// not to be compared with those of others.
    MostlySendLag {
        /// The send lag and the response time.
        #[serde(flatten)]
        lag: Lag,
        /// Whether the generator busy-polls already.
        spins: bool,
    },
    /// One of the loads that were merged has a finding.
    OfPart {
        /// The file that holds the load.
        part: String,
        /// The finding.
        found: Box<Finding>,
    },
    /// A reason in words, from a record of schema version 3 or older.
    Reason {
        /// The sentence.
        text: String,
    },
    /// Why the latencies are withheld, from a record of schema version 3 or older.
    Withheld {
        /// The sentence.
        text: String,
    },
}

/// Which side a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The generator or its host: the server may do better.
    Generator,
    /// The server or the path to it.
    Server,
    /// Neither, or it is not known.
    Neither,
}

/// What follows from a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The load is not valid.
    Invalidates,
    /// The load is valid, but its latencies should not be compared.
    WithholdsLatencies,
    /// The load is valid; who uses its numbers should know it.
    Noted,
}

impl Finding {
    /// Which side it is about.
    pub fn fault(&self) -> Fault {
        match self {
            Finding::NoLocalPort(_)
            | Finding::TooManyOpenFiles { .. }
            | Finding::GeneratorFellBehind(_)
            | Finding::SentLate(_)
            | Finding::Saturated { .. }
            | Finding::KeptWaiting { .. }
            | Finding::Stolen { .. }
            | Finding::Throttled { .. }
            | Finding::UnevenArrivals { .. }
            | Finding::WrongArrivalRate { .. }
            | Finding::WrongGaps { .. }
            | Finding::Unaccounted { .. }
            | Finding::MostlySendLag { .. } => Fault::Generator,
            Finding::EndedInWarmUp { .. }
            | Finding::NoEchoes
            | Finding::WrongBytes(_)
            | Finding::Lost(_)
            | Finding::Stale(_)
            | Finding::ConnectionsFailed(_)
            | Finding::StillLost { .. }
            | Finding::Overrun { .. }
            | Finding::ServerFellBehind(_)
            | Finding::WentSilent { .. }
            | Finding::Unanswered { .. } => Fault::Server,
            Finding::Interrupted { .. }
            | Finding::WarmUpBacklog(_)
            | Finding::RateNotSteady { .. }
            | Finding::LatencyNotSteady { .. }
            | Finding::Reason { .. }
            | Finding::Withheld { .. } => Fault::Neither,
            Finding::OfPart { found, .. } => found.fault(),
        }
    }

    /// What follows from it.
    pub fn effect(&self) -> Effect {
        match self {
            Finding::MostlySendLag { .. } | Finding::Withheld { .. } => Effect::WithholdsLatencies,
            Finding::Throttled { throttling, late } if !late && throttling.share <= TAKEN => Effect::Noted,
            Finding::OfPart { found, .. } => found.effect(),
            _ => Effect::Invalidates,
        }
    }
}

/// For errors that neither the server nor the arguments can cause.
const REPORT: &str = "this is an error in the load generator: do not use the numbers, and report it with the command \
                      and its seed";

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Finding::Interrupted {
                measured_s,
                planned_s,
            } => write!(f, "interrupted: measured {measured_s:.2} s of {planned_s} s"),
            Finding::EndedInWarmUp {
                connections,
                answers,
                errors,
            } => write!(
                f,
                "the server ended all of {} during the warm-up, after {} ({}): look at its log; --reconnect opens \
                 connections again",
                count(*connections, "connection"),
                count(*answers, "answer"),
                numbers::errors(errors)
            ),
            Finding::NoEchoes => f.write_str(
                "no message came back within the measured window: look at the server's log, and measure for longer \
                 if it is slow",
            ),
            Finding::WrongBytes(connections) => write!(
                f,
                "{connections} received wrong bytes: the server does not echo what it reads"
            ),
            Finding::Lost(messages) => write!(
                f,
                "{messages} were lost, more than 1 in {MESSAGES_PER_LOSS}: use fewer connections or a lower rate"
            ),
            Finding::Stale(messages) => write!(
                f,
                "{messages} were answered late or more than once, more than 1 in {MESSAGES_PER_LOSS}: use fewer \
                 connections or a lower rate"
            ),
            Finding::NoLocalPort(connections) => write!(
                f,
                "{connections} found no local port, a limit of this side and not of the server: connect from more \
                 addresses, such as --source 127.0.0.2-127.0.0.9 on loopback, or less often"
            ),
            Finding::TooManyOpenFiles {
                connections,
                scheduled,
            } => {
                let less = match scheduled {
                    true => "lower --connect-rate, since the server may not have answered earlier connections",
                    false => "use fewer connections",
                };
                write!(
                    f,
                    "{connections} found too many open files, a limit of this side and not of the server: {less}, or \
                     raise the limit (`ulimit -n`)"
                )
            }
            Finding::ConnectionsFailed(connections) => {
                write!(f, "{connections} failed, so the load was not the one asked for")
            }
            Finding::StillLost {
                connections,
                longest_s,
            } => write!(
                f,
                "{connections} did not come back within {longest_s:.1} s: the server does not run, or does not answer; \
                 if it needs longer to restart, measure for longer"
            ),
            Finding::Overrun { outstanding } => write!(
                f,
                "the run ended with {} outstanding: the server is too far behind to catch up; offer less",
                count(*outstanding, "message")
            ),
            Finding::WarmUpBacklog(rates) => {
                write!(f, "{rates}, since the warm-up left messages behind: offer less")
            }
            Finding::GeneratorFellBehind(rates) => write!(
                f,
                "{rates}: the generator fell behind; give it more --threads and --cpus, or offer less"
            ),
            Finding::ServerFellBehind(rates) => write!(
                f,
                "{rates}: the server, or the path to it, did not keep up; offer less, or find its limit with \
                 `loadgen capacity`"
            ),
            Finding::Unanswered { unanswered, due } => write!(
                f,
                "{unanswered} of {due} messages that were due were never answered, so of the longest latencies only \
                 lower bounds are known: offer less"
            ),
            Finding::WentSilent {
                connections,
                oldest_s,
            } => write!(
                f,
                "{connections} went silent; the oldest message has waited {oldest_s:.1} s: the server may have lost \
                 part of an answer"
            ),
            Finding::SentLate(lag) => write!(
                f,
                "messages were sent too late: {lag}, so the generator was held up; give it processors of its own \
                 (--cpus) and more --threads"
            ),
            Finding::Saturated { utilisation } => write!(
                f,
                "the generator was saturated: its threads used {:.0}% of their time, too much to keep a schedule; use \
                 more --threads and --cpus, or --spin, or offer less",
                utilisation * 100.0
            ),
            Finding::KeptWaiting {
                share,
                involuntary_switches,
            } => write!(
                f,
                "the generator was kept from running for {:.0}% of the window ({}): other programs ran on its \
                 processors; give it processors of its own (--cpus)",
                share * 100.0,
                count(*involuntary_switches, "preemption")
            ),
            Finding::Stolen { share } => write!(
                f,
                "the hypervisor took {:.0}% of the generator's time: measure when the host is quieter",
                share * 100.0
            ),
            Finding::Throttled { throttling, .. } => write!(
                f,
                "{} throttled the generator {throttling}: raise or remove the quota of its cgroup, or offer less",
                throttling.quota_in_words()
            ),
            Finding::UnevenArrivals {
                at_s,
                seen,
                expected,
            } => write!(
                f,
                "the schedule is not evenly spaced: {seen:.3} messages became due between two of one worker, \
                 {at_s:.6} s into the window, instead of {expected}; {REPORT}"
            ),
            Finding::WrongArrivalRate { gaps, expected } => write!(
                f,
                "the schedule has the wrong rate: {gaps} messages were due in the time of {expected:.0}; {REPORT}"
            ),
            Finding::WrongGaps {
                gaps,
                distance,
                allowed,
            } => write!(
                f,
                "the gaps of the schedule are not those of a Poisson process: their distribution is off by \
                 {distance:.3} over {gaps} of them, where chance allows {allowed:.3}; {REPORT}"
            ),
            Finding::Unaccounted { share } => write!(
                f,
                "the latencies and the gaps between them account for {:.1}% of the time of the connections (Little's \
                 law); {REPORT}",
                share * 100.0
            ),
            Finding::RateNotSteady {
                before_per_s,
                after_per_s,
            } => not_steady(f, "rate", show_rate(*before_per_s), show_rate(*after_per_s)),
            Finding::LatencyNotSteady { before_us, after_us } => not_steady(
                f,
                "median latency",
                show_micros(*before_us),
                show_micros(*after_us),
            ),
            Finding::MostlySendLag { lag, spins } => {
                let change = match spins {
                    true => "give it processors of its own (--cpus)",
                    false => "use --spin, which needs no wake-up",
                };
                write!(f, "the latency is mostly the generator's own: {lag}; {change}")
            }
            Finding::OfPart { part, found } => write!(f, "{part}: {found}"),
            Finding::Reason { text } | Finding::Withheld { text } => f.write_str(text),
        }
    }
}

fn not_steady(f: &mut fmt::Formatter, what: &str, before: String, after: String) -> fmt::Result {
    write!(
        f,
        "the {what} went from {before} in the first half of the window to {after} in the second: the load was not in \
         a steady state; use a longer --warmup, or look for what changed"
    )
}

#[cfg(test)]
mod tests {
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
                Finding::EndedInWarmUp {
                    connections: 64,
                    answers: 1,
                    errors: [(ErrorKind::Reset, 4), (ErrorKind::EarlyEnd, 60)].into(),
                },
                "the server ended all of 64 connections during the warm-up, after 1 answer (4 reset, 60 early_end): look \
                 at its log; --reconnect opens connections again",
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
                Finding::StillLost {
                    connections: of(2, Some(64)),
                    longest_s: 3.25,
                },
                "2 of 64 connections did not come back within 3.2 s: the server does not run, or does not answer; if it \
                 needs longer to restart, measure for longer",
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
                "11 of 1000 messages that were due were never answered, so of the longest latencies only lower bounds \
                 are known: offer less",
            ),
            (
                Finding::SentLate(lag),
                "messages were sent too late: the p99 of the send lag is 900us of a response time of 1.00ms, so the \
                 generator was held up; give it processors of its own (--cpus) and more --threads",
            ),
            (
                Finding::Saturated { utilisation: 0.97 },
                "the generator was saturated: its threads used 97% of their time, too much to keep a schedule; use more \
                 --threads and --cpus, or --spin, or offer less",
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
                Finding::Throttled {
                    throttling: Throttling {
                        quota: 0.5,
                        periods: 20,
                        throttled_periods: 19,
                        throttled_s: 0.92,
                        share: 0.46,
                    },
                    late: true,
                },
                "a processor quota of 0.5 processors throttled the generator in 19 of 20 periods, for 0.92 s in total: \
                 raise or remove the quota of its cgroup, or offer less",
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
                "4 of 4 connections went silent; the oldest message has waited 1.9 s: the server may have lost part \
                 of an answer",
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
    fn a_quota_invalidates_if_it_takes_much_or_makes_the_generator_late() {
        let effect = |share, late| {
            let throttling = Throttling {
                throttled_periods: 1,
                share,
                ..Throttling::default()
            };
            Finding::Throttled { throttling, late }.effect()
        };
        assert_eq!(effect(0.1, false), Effect::Noted);
        assert_eq!(effect(0.101, false), Effect::Invalidates);
        assert_eq!(effect(0.01, true), Effect::Invalidates);
    }

    /// A new variant must be in the table, or neither its sentence nor its reading is tested.
    #[test]
    fn the_table_has_each_finding() {
        let schema = serde_json::to_value(schemars::schema_for!(Finding)).unwrap();
        let variants = schema["oneOf"].as_array().unwrap().iter();
        let names = variants.map(|variant| variant["properties"]["finding"]["const"].clone());
        let tested = table()
            .into_iter()
            .map(|(finding, _)| serde_json::to_value(finding).unwrap());
        let tested: Vec<_> = tested.map(|finding| finding["finding"].clone()).collect();
        for name in names {
            assert!(name.is_string() && tested.contains(&name), "{name} is missing");
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
}
