//! The gates: what a load must pass for its numbers to be believed. Each that fails says what
//! was seen and what to change.
//!
//! Pure functions of the record of a load, and of the evidence beside it that only the
//! generator has.

use crate::arrival_test;
use crate::plan::{Loop, Plan};
use crate::stationarity::{Change, changed};
use record::units::show_rate;
use record::words::{count, show_micros};
use record::{Discipline, ErrorKind, Load, SATURATED};

/// An open loop must achieve what was offered within this.
const RATE_TOLERANCE: f64 = 0.01;

/// What is on its way comes and goes by chance: of a Poisson count within four standard
/// deviations, but for one time in ten thousand.
const DEVIATIONS: f64 = 4.0;

/// Send lag above this share of the latency makes the latency mostly our own.
const LAG_SHARE: f64 = 0.5;

/// A thread that sleeps wakes up within tens of microseconds, on a busy virtual machine
/// within hundreds. One that takes longer was not asleep: it was not let.
const LONGEST_WAKE_UP_US: f64 = 1000.0;

/// The sum of a closed loop's latencies and waits must be that of its time within this.
const ACCOUNT_TOLERANCE: f64 = 0.01;

/// Share of the generator's time that others may take: that much the p90 of what is
/// measured may be theirs.
const TAKEN: f64 = 0.1;

/// A shorter window has intervals below 100 ms: it shows the noise of the host, where others
/// come and go, rather than a trend of the server.
const TREND_WINDOW_S: f64 = 2.0;

/// One of so many messages may be missing in the histograms: beyond p99.9, the last quantile
/// that is shown.
const MESSAGES_PER_LOSS: u64 = 1000;

/// What the generator knows of a load beside its record.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// What was asked for.
    pub plan: &'a Plan,
    /// Whether the run was told to end before its end.
    pub interrupted: bool,
    /// How many messages were on their way when it gave up; 0 if it did not.
    pub overran: usize,
    /// Messages that were due in the window; where connections arrive, connections.
    pub due: u64,
    /// How many of them were done with in the window, due in it or before.
    pub done: u64,
    /// How many were on their way when the window opened, and when it closed.
    pub outstanding: (u64, u64),
    /// How much was due then and with the generator still, begun or not.
    pub waiting: (u64, u64),
    /// Messages that had to wait since the kernel had no room for them.
    pub blocked: u64,
    /// Times at which each worker had something due, in nanoseconds from the window's begin.
    pub intended_ns: Vec<Vec<u64>>,
    /// How much time the connections of a closed loop can account for, and how much it was.
    pub accounted_ns: Option<(f64, f64)>,
    /// Echoes per second and median latency in nanoseconds of each interval.
    pub intervals: Vec<(f64, f64)>,
}

/// Why the numbers of a load may not be believed; nothing when they may.
pub fn reasons(load: &Load, evidence: &Evidence) -> Vec<String> {
    let mut reasons = Vec::new();
    if evidence.interrupted {
        reasons.push(format!(
            "interrupted: {:.2} s were measured of {} s",
            load.window_s, load.plan.duration_s
        ));
    }
    reasons.extend(errors(load));
    let gates = [overrun, rate, unanswered, lag];
    reasons.extend(gates.iter().filter_map(|gate| gate(load, evidence)));
    reasons.extend(generator(load));
    reasons.extend(
        [schedule, account, trend]
            .iter()
            .filter_map(|gate| gate(load, evidence)),
    );
    reasons
}

/// What the generator did wrong, so that a load that does not hold is not the server's fault.
pub fn own_fault(load: &Load) -> Option<String> {
    let own_errors = load.summary.errors.iter().find(|(kind, _)| kind.is_ours());
    let own_errors = own_errors.map(|(kind, count)| format!("{count} errors of this side: {}", kind.name()));
    let withheld = load.summary.latency_withheld.clone();
    own_errors
        .into_iter()
        .chain(generator(load))
        .chain(withheld)
        .next()
}

/// What kept the generator from doing its work in time.
fn generator(load: &Load) -> impl Iterator<Item = String> {
    [saturation(load), kept_waiting(load), steal(load)]
        .into_iter()
        .flatten()
}

/// Why the latencies should not be compared with others, although they are right.
pub fn withheld(load: &Load, evidence: &Evidence) -> Option<String> {
    let (lag_us, response_us) = own_lag(load, evidence)?;
    Some(format!(
        "the p99 of the send lag, {}, is more than half of that of the response time, {}: the latency is mostly \
         the generator's own; {}",
        show_micros(lag_us),
        show_micros(response_us),
        match load.generator.wait.as_str() {
            "spin" => "give it processors of its own (--cpus)",
            _ => "--spin spares it the wake-ups",
        }
    ))
}

/// The p99 of send lag and response time, where the one is much of the other and that is our
/// own doing.
fn own_lag(load: &Load, evidence: &Evidence) -> Option<(f64, f64)> {
    // Of connections that have no room the lag is the server's.
    let blocked = evidence.blocked as f64 > RATE_TOLERANCE * evidence.due as f64;
    let lag_us = load.summary.send_lag_us.as_ref()?.p99?;
    let response_us = load.summary.response_us.as_ref()?.p99?;
    (lag_us > LAG_SHARE * response_us && !blocked).then_some((lag_us, response_us))
}

/// What went wrong with connections and messages.
fn errors(load: &Load) -> Vec<String> {
    let count_of = |kind| load.summary.errors.get(&kind).copied().unwrap_or(0);
    let connections = load.summary.connections.asked + load.plan.idle as u64;
    // Where they come and go, errors are counted over more of them than the window has.
    let of_connections = |number: u64| match load.summary.connect_us {
        Some(_) => count(number, "connection"),
        None => format!("{number} of {connections} connections"),
    };
    let mut reasons = Vec::new();
    let echoes = load.summary.echoes;
    if echoes == 0 {
        reasons.push("no message came back within the measured window".into());
    }
    let wrong = count_of(ErrorKind::WrongBytes);
    if wrong > 0 {
        reasons.push(format!(
            "{} got wrong bytes: the server does not echo what it reads",
            of_connections(wrong)
        ));
    }
    for (kind, what) in [
        (ErrorKind::Lost, "were lost"),
        (ErrorKind::Stale, "were answered late or more than once"),
    ] {
        if echoes > 0 && count_of(kind) > (echoes + count_of(kind)) / MESSAGES_PER_LOSS {
            reasons.push(format!(
                "{} messages {what} beside {echoes} echoes: more than one in {MESSAGES_PER_LOSS}",
                count_of(kind)
            ));
        }
    }
    let ports = count_of(ErrorKind::NoLocalPort);
    if ports > 0 {
        reasons.push(format!(
            "{} found no local port, a limit of this side and not of the server: connect from more addresses, such \
             as --source 127.0.0.2-127.0.0.9 on loopback, or less often",
            of_connections(ports)
        ));
    }
    let files = count_of(ErrorKind::TooManyOpenFiles);
    if files > 0 {
        reasons.push(format!(
            "{} found too many files open, a limit of this side and not of the server: {}, or raise it (`ulimit -n`)",
            of_connections(files),
            match load.plan.discipline {
                Discipline::PartlyOpen => "those before may not have been answered; lower --connect-rate",
                _ => "use fewer",
            }
        ));
    }
    let errors = load.summary.errors.iter();
    let failed = errors
        .filter(|(kind, _)| !kind.is_of_a_message())
        .map(|(_, count)| count)
        .sum::<u64>()
        - wrong
        - ports
        - files;
    if failed > 0 {
        reasons.push(format!(
            "{} failed, so the load was not the one asked for",
            of_connections(failed)
        ));
    }
    reasons
}

fn overrun(_: &Load, evidence: &Evidence) -> Option<String> {
    (evidence.overran > 0).then(|| {
        format!(
            "the run was ended when {} messages were on their way: the server is too far behind to catch up; offer \
             less",
            evidence.overran
        )
    })
}

fn rate(load: &Load, evidence: &Evidence) -> Option<String> {
    evidence.plan.request().discipline.pace()?;
    // What this side could not open has been said, and makes the rest of no account.
    if load.summary.errors.keys().any(|kind| kind.is_ours()) {
        return None;
    }
    let (due, done) = (evidence.due as f64, evidence.done as f64);
    let by_chance = DEVIATIONS * on_their_way(load, evidence).sqrt();
    let missing = due - done;
    if missing.abs() <= RATE_TOLERANCE * due + by_chance || load.window_s == 0.0 {
        return None;
    }
    let (offered, achieved) = (show_rate(due / load.window_s), show_rate(done / load.window_s));
    if missing < 0.0 {
        return Some(format!(
            "{achieved} came back of {offered} that were offered, since the warm-up had left more behind: offer less"
        ));
    }
    let grown = evidence.waiting.1.saturating_sub(evidence.waiting.0) as f64;
    let fell_behind = grown > missing / 2.0 && (evidence.blocked as f64) < grown;
    let who = match fell_behind || load.generator.never_slept() {
        true => "the generator fell behind: give it more --threads and --cpus, or offer less",
        false => {
            "the server or the path to it did not keep up: offer less; `loadgen capacity` finds how much it takes"
        }
    };
    Some(format!(
        "{achieved} came back of {offered} that were offered: {who}"
    ))
}

/// How many were on their way when the window opened and when it closed, together: as
/// counted, or as the mean is, if that is more, since of few there may just have been none.
fn on_their_way(load: &Load, evidence: &Evidence) -> f64 {
    let latency_us = match load.plan.discipline {
        Discipline::PartlyOpen => &load.summary.first_byte_us,
        _ => &load.summary.response_us,
    };
    let latency_s = latency_us
        .as_ref()
        .and_then(|latency| latency.mean)
        .unwrap_or(0.0)
        / 1e6;
    let mean = evidence.done as f64 / load.window_s.max(1e-9) * latency_s;
    let counted = evidence.outstanding.0 + evidence.outstanding.1;
    (counted as f64).max(2.0 * mean)
}

fn unanswered(load: &Load, evidence: &Evidence) -> Option<String> {
    let unanswered = load.summary.unanswered;
    let answered = load
        .summary
        .response_us
        .as_ref()
        .map_or(0, |response| response.count);
    let due = answered + unanswered;
    (unanswered > due / MESSAGES_PER_LOSS && !evidence.interrupted).then(|| {
        format!(
            "{unanswered} of {due} messages that were due were never answered, and are missing at the upper end of \
             the latencies: offer less"
        )
    })
}

fn lag(load: &Load, evidence: &Evidence) -> Option<String> {
    let (lag_us, response_us) = own_lag(load, evidence)?;
    (lag_us > LONGEST_WAKE_UP_US).then(|| {
        format!(
            "messages were sent too late: the p99 of the send lag is {} of a response time of {}, so the generator \
             was held up; give it processors of its own (--cpus) and more --threads",
            show_micros(lag_us),
            show_micros(response_us)
        )
    })
}

fn saturation(load: &Load) -> Option<String> {
    let is_late = load.plan.discipline != Discipline::Closed && load.generator.is_saturated();
    is_late.then(|| {
        format!(
            "the generator was saturated: its threads used {:.0}% of their processors, where more than {:.0}% are \
             too many for a schedule to be kept; use more --threads and --cpus, or --spin, or offer less",
            load.generator.utilisation * 100.0,
            SATURATED * 100.0
        )
    })
}

fn kept_waiting(load: &Load) -> Option<String> {
    // A closed loop only becomes slower by it, and its text says so: on a single processor
    // the server takes half of the time.
    let is_late = load.plan.discipline != Discipline::Closed && load.generator.kept_waiting > TAKEN;
    is_late.then(|| {
        format!(
            "the generator was kept from running for {:.0}% of the window ({} involuntary switches): something else \
             ran on its processors; give it some of its own (--cpus)",
            load.generator.kept_waiting * 100.0,
            load.generator.involuntary_switches
        )
    })
}

fn steal(load: &Load) -> Option<String> {
    let steal = load.generator.steal.filter(|&steal| steal > TAKEN)?;
    Some(format!(
        "the hypervisor took {:.0}% of the generator's time: measure when the host is quieter",
        steal * 100.0
    ))
}

fn schedule(_: &Load, evidence: &Evidence) -> Option<String> {
    let request = evidence.plan.request();
    let pace = request.discipline.pace()?;
    let workers = evidence.intended_ns.iter();
    { workers }
        .find_map(|times| arrival_test::check(times, pace, request.threads).err())
        .map(|broken| broken.to_string())
}

/// Little's law: connections in use times the window is the sum of the times they were used.
fn account(_: &Load, evidence: &Evidence) -> Option<String> {
    let (accounted_ns, expected_ns) = evidence
        .accounted_ns
        .filter(|(_, expected_ns)| *expected_ns > 0.0)?;
    let share = accounted_ns / expected_ns;
    ((share - 1.0).abs() > ACCOUNT_TOLERANCE).then(|| {
        format!(
            "the latencies and the gaps between them account for {:.1}% of the time of the connections (Little's \
             law): this is an error in the load generator; please report it with the command",
            share * 100.0
        )
    })
}

/// Whether the second half of the window was another than the first.
fn trend(load: &Load, evidence: &Evidence) -> Option<String> {
    let discipline = &evidence.plan.request().discipline;
    if evidence.interrupted || load.plan.duration_s < TREND_WINDOW_S {
        return None;
    }
    if discipline.pace().is_some_and(|pace| !pace.is_steady()) {
        return None;
    }
    let closed = matches!(discipline, Loop::Closed { .. });
    let values: Vec<f64> = evidence
        .intervals
        .iter()
        .map(|&(rate, latency)| if closed { rate } else { latency })
        .collect();
    let Change { before, after } = changed(&values)?;
    let (what, before, after) = match closed {
        true => ("rate", show_rate(before), show_rate(after)),
        false => (
            "median latency",
            show_micros(before / 1e3),
            show_micros(after / 1e3),
        ),
    };
    Some(format!(
        "the {what} went from {before} in the first half of the window to {after} in the second: the load was not in \
         a steady state; use a longer --warmup, or look at what changed"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::condition::tests;
    use crate::pacer::{Schedule, Share, Stage};
    use crate::plan::Request;
    use record::Arrivals;
    use record::histogram::Quantiles;

    const WINDOW: Duration = Duration::from_secs(1);

    /// Per second, so many in the window.
    const DUE: u64 = 10_000;

    fn plan(discipline: Loop) -> Plan {
        Request {
            discipline,
            duration: WINDOW,
            connections: 10,
            ..Request::new("127.0.0.1:7007".parse().unwrap())
        }
        .validate()
        .unwrap()
    }

    fn open() -> Plan {
        plan(Loop::open(DUE as f64, WINDOW, Arrivals::Constant))
    }

    fn closed() -> Plan {
        plan(Loop::closed())
    }

    /// A load that nothing is wrong with, as the generator would have seen it.
    fn sound(plan: &Plan) -> (Load, Evidence<'_>) {
        let mut load = tests::load(Some(DUE));
        load.plan = plan.record();
        load.summary.errors.clear();
        load.summary.unanswered = 0;
        load.plan.duration_s = TREND_WINDOW_S;
        load.summary.echoes = DUE;
        load.summary.response_us = Some(all(1000.0));
        load.summary.send_lag_us = Some(all(1.0));
        let schedule = |pace| Schedule::new(pace, Share { index: 0, of: 1 }, 1).take(1000);
        let evidence = Evidence {
            plan,
            interrupted: false,
            overran: 0,
            due: DUE,
            done: DUE,
            outstanding: (12, 13),
            waiting: (0, 0),
            blocked: 0,
            intended_ns: vec![
                plan.request()
                    .discipline
                    .pace()
                    .into_iter()
                    .flat_map(schedule)
                    .collect(),
            ],
            accounted_ns: Some((1e9, 1e9)),
            intervals: vec![(500.0, 1e6); 20],
        };
        (load, evidence)
    }

    /// Times that all are about the same, in microseconds.
    fn all(micros: f64) -> Quantiles {
        let mut quantiles = Quantiles::of(&record::histogram::empty());
        quantiles.p99 = Some(micros);
        quantiles.count = 9990;
        quantiles
    }

    /// What the gates say once this is wrong with a sound load.
    fn said(plan: &Plan, change: impl Fn(&mut Load, &mut Evidence)) -> Vec<String> {
        let (mut load, mut evidence) = sound(plan);
        change(&mut load, &mut evidence);
        reasons(&load, &evidence)
    }

    /// A fault: its size just within the limit and just beyond, what it changes, and what is
    /// said of it, ending in what to do.
    type Fault = (
        f64,
        f64,
        fn(&mut Load, &mut Evidence, f64),
        &'static [&'static str],
    );

    fn assert_trips(plan: &Plan, faults: &[Fault]) {
        assert_eq!(said(plan, |_, _| ()), [""; 0]);
        for &(within, beyond, change, words) in faults {
            let at = |size| said(plan, move |load, evidence| change(load, evidence, size));
            assert_eq!(at(within), [""; 0], "{words:?}");
            let said = at(beyond);
            assert_eq!(said.len(), 1, "{words:?}: {said:?}");
            for word in words {
                assert!(said[0].contains(word), "{word} is missing: {}", said[0]);
            }
        }
    }

    fn count_errors(load: &mut Load, kind: ErrorKind, number: f64) {
        load.summary.errors.insert(kind, number as u64);
    }

    #[test]
    fn each_gate_of_a_schedule_trips_just_beyond_its_limit_and_says_what_to_do() {
        // Of 10,000 messages 100 may be missing, and by chance 4 times the root of 25.
        assert_trips(
            &open(),
            &[
                (
                    120.0,
                    121.0,
                    |_, evidence, missing| evidence.done -= missing as u64,
                    &["server", "offer less"],
                ),
                (
                    120.0,
                    121.0,
                    |_, evidence, missing| {
                        evidence.done -= missing as u64;
                        evidence.waiting.1 = 61;
                    },
                    &["the generator fell behind", "--threads"],
                ),
                (
                    120.0,
                    121.0,
                    |_, evidence, more| evidence.done += more as u64,
                    &["the warm-up had left more behind", "offer less"],
                ),
                (
                    0.0,
                    1.0,
                    |_, evidence, overran| evidence.overran = overran as usize,
                    &["too far behind to catch up", "offer less"],
                ),
                (
                    10.0,
                    11.0,
                    |load, _, unanswered| load.summary.unanswered = unanswered as u64,
                    &["11 of 10001", "never answered", "offer less"],
                ),
                // More than half of the response time, but no more than a wake-up.
                (
                    1000.0,
                    1001.0,
                    |load, _, lag_us| {
                        load.summary.send_lag_us = Some(all(lag_us));
                        load.summary.response_us = Some(all(1500.0));
                    },
                    &["sent too late", "--cpus", "--threads"],
                ),
                // More than a wake-up, but no more than half of the response time.
                (
                    5000.0,
                    5001.0,
                    |load, _, lag_us| {
                        load.summary.send_lag_us = Some(all(lag_us));
                        load.summary.response_us = Some(all(10_000.0));
                    },
                    &["sent too late"],
                ),
                (
                    0.899,
                    0.9,
                    |load, _, share| load.generator.utilisation = share,
                    &["the generator was saturated", "90%", "--threads", "offer less"],
                ),
                (
                    0.1,
                    0.101,
                    |load, _, share| load.generator.kept_waiting = share,
                    &["the generator was kept from running", "10%", "--cpus"],
                ),
                (
                    0.1,
                    0.101,
                    |load, _, share| load.generator.steal = Some(share),
                    &["hypervisor", "when the host is quieter"],
                ),
                // One that was sent late, as the schedule has it.
                (
                    0.0,
                    1000.0,
                    |_, evidence, late_ns| evidence.intended_ns[0][500] += late_ns as u64,
                    &["not evenly spaced", "error in the load generator", "report it"],
                ),
                (
                    1.249,
                    1.251,
                    |_, evidence, ratio| {
                        let second = evidence.intervals[10..].iter_mut();
                        second.for_each(|(_, latency_ns)| *latency_ns *= ratio);
                    },
                    &["the median latency went from 1.00ms", "steady state", "--warmup"],
                ),
            ],
        );
    }

    #[test]
    fn each_gate_of_a_closed_loop_trips_just_beyond_its_limit_and_says_what_to_do() {
        let account: &[&str] = &["Little's law", "error in the load generator", "report it"];
        assert_trips(
            &closed(),
            &[
                (
                    1.0099,
                    1.011,
                    |_, evidence, share| evidence.accounted_ns = Some((share * 3e9, 3e9)),
                    account,
                ),
                (
                    0.9901,
                    0.989,
                    |_, evidence, share| evidence.accounted_ns = Some((share * 3e9, 3e9)),
                    account,
                ),
                (
                    0.1,
                    0.101,
                    |load, _, share| load.generator.steal = Some(share),
                    &["hypervisor"],
                ),
                (
                    0.76,
                    0.74,
                    |_, evidence, ratio| {
                        let second = evidence.intervals[10..].iter_mut();
                        second.for_each(|(rate, _)| *rate *= ratio);
                    },
                    &["the rate went from 500/s", "steady state", "--warmup"],
                ),
            ],
        );
    }

    #[test]
    fn errors_trip_and_say_whose_they_are() {
        assert_trips(
            &open(),
            &[
                (
                    1.0,
                    0.0,
                    |load, _, echoes| load.summary.echoes = echoes as u64,
                    &["no message came back"],
                ),
                (
                    0.0,
                    1.0,
                    |load, _, number| count_errors(load, ErrorKind::WrongBytes, number),
                    &["the server does not echo"],
                ),
                (
                    0.0,
                    1.0,
                    |load, _, number| count_errors(load, ErrorKind::NoLocalPort, number),
                    &["a limit of this side", "--source"],
                ),
                (
                    0.0,
                    1.0,
                    |load, _, number| count_errors(load, ErrorKind::TooManyOpenFiles, number),
                    &["a limit of this side", "ulimit -n"],
                ),
                (
                    0.0,
                    1.0,
                    |load, _, number| count_errors(load, ErrorKind::Reset, number),
                    &["1 of 10 connections failed", "not the one asked for"],
                ),
                // One in a thousand of 10,010 messages.
                (
                    10.0,
                    11.0,
                    |load, _, number| count_errors(load, ErrorKind::Lost, number),
                    &["11 messages were lost", "one in 1000"],
                ),
                (
                    10.0,
                    11.0,
                    |load, _, number| count_errors(load, ErrorKind::Stale, number),
                    &["11 messages were answered late"],
                ),
            ],
        );
    }

    #[test]
    fn a_generator_that_had_no_time_left_does_not_blame_the_server() {
        for (utilisation, kept_waiting, who) in [
            (0.5, 0.39, "the server"),
            (0.5, 0.4, "the generator"),
            (0.95, 0.0, "the generator"),
        ] {
            let said = said(&open(), |load, evidence| {
                evidence.done -= 5000;
                evidence.blocked = 5000;
                load.generator.utilisation = utilisation;
                load.generator.kept_waiting = kept_waiting;
            });
            assert!(said[0].contains("came back") && said[0].contains(who), "{said:?}");
        }
    }

    #[test]
    fn what_this_side_could_not_open_is_not_missed_from_the_server() {
        let said = said(&open(), |load, evidence| {
            count_errors(load, ErrorKind::TooManyOpenFiles, 5000.0);
            evidence.done -= 5000;
        });
        assert!(said.len() == 1 && said[0].contains("this side"), "{said:?}");
    }

    #[test]
    fn a_closed_loop_may_use_all_of_its_processors_and_share_them() {
        let said = said(&closed(), |load, _| {
            load.generator.utilisation = 1.0;
            load.generator.kept_waiting = 0.5;
        });
        assert_eq!(said, [""; 0]);
    }

    #[test]
    fn one_that_spins_is_not_saturated() {
        let said = said(&open(), |load, _| {
            load.generator.wait = "spin".into();
            load.generator.utilisation = 1.0;
        });
        assert_eq!(said, [""; 0]);
    }

    #[test]
    fn a_server_that_takes_nothing_more_is_not_a_generator_that_falls_behind() {
        let said = said(&open(), |load, evidence| {
            evidence.done -= 200;
            evidence.blocked = 200;
            evidence.waiting.1 = 200;
            load.summary.send_lag_us = Some(all(9000.0));
            load.summary.response_us = Some(all(10_000.0));
        });
        assert!(said.len() == 1 && said[0].contains("the server"), "{said:?}");
    }

    #[test]
    fn what_ended_early_says_so_and_nothing_of_what_follows_from_it() {
        let said = said(&open(), |load, evidence| {
            evidence.interrupted = true;
            load.summary.unanswered = 1000;
            evidence.intervals[10..]
                .iter_mut()
                .for_each(|(_, latency_ns)| *latency_ns *= 2.0);
        });
        assert!(
            said.len() == 1 && said[0].starts_with("interrupted: 1.00 s"),
            "{said:?}"
        );
    }

    #[test]
    fn a_window_that_is_short_or_meant_to_change_has_no_trend() {
        let rising = |evidence: &mut Evidence| {
            evidence.intervals[10..]
                .iter_mut()
                .for_each(|(_, latency_ns)| *latency_ns *= 2.0);
        };
        let short = said(&open(), |load, evidence| {
            load.plan.duration_s = 1.9;
            rising(evidence);
        });
        assert_eq!(short, [""; 0]);
        let mut discipline = open().request().discipline.clone();
        if let Loop::Open(pace) = &mut discipline {
            pace.stages = vec![Stage {
                duration: WINDOW,
                from: 5000.0,
                to: 15_000.0,
            }];
        }
        assert_eq!(said(&plan(discipline), |_, evidence| rising(evidence)), [""; 0]);
    }

    #[test]
    fn latencies_that_are_mostly_our_own_are_withheld_though_the_load_is_valid() {
        let plan = open();
        let (mut load, mut evidence) = sound(&plan);
        let advice = |load: &Load, evidence: &Evidence| withheld(load, evidence).unwrap_or_default();
        load.summary.response_us = Some(all(100.0));
        load.summary.send_lag_us = Some(all(50.0));
        assert_eq!(advice(&load, &evidence), "");
        load.summary.send_lag_us = Some(all(51.0));
        assert!(advice(&load, &evidence).contains("--spin"));
        assert_eq!(reasons(&load, &evidence), [""; 0]);
        load.generator.wait = "spin".into();
        assert!(advice(&load, &evidence).contains("--cpus"));
        // Of connections without room it is the server's.
        evidence.blocked = DUE / 100 + 1;
        assert_eq!(advice(&load, &evidence), "");
    }
}
