//! The gates: what a load must pass for its numbers to be believed. Each that fails says what
//! was seen and what to change.
//!
//! Pure functions of the record of a load, and of the evidence beside it that only the
//! generator has.

use crate::law;
use crate::plan::{Loop, Plan};
use crate::record::{ErrorKind, Load, SATURATED};
use crate::text::{count, show_micros};
use crate::units::show_rate;

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

/// Intervals that a trend can be told by: with fewer, two halves that have nothing in common
/// still come about by chance in more than one of a thousand windows.
const TREND_INTERVALS: usize = 16;

/// Beyond this a Mann-Whitney test, as a normal deviate, comes out by chance in one of a
/// thousand windows.
const TREND_DEVIATE: f64 = 3.29;

/// A window that is shorter shows the noise of the host rather than a trend of the server.
const TREND_WINDOW_S: f64 = 1.0;

/// A significant trend that is smaller than this does not change what is concluded.
const TREND: f64 = 0.25;

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
    /// Whether it was ended since too many messages were on their way.
    pub overran: bool,
    /// Messages that were due in the window; where connections arrive, connections.
    pub due: u64,
    /// How many of them were done with in the window, due in it or before.
    pub done: u64,
    /// How many were on their way when the window opened, and when it closed.
    pub outstanding: (u64, u64),
    /// How many of them were with the generator still.
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
    let gates = [
        overrun,
        rate,
        unanswered,
        lag,
        saturation,
        kept_waiting,
        steal,
        schedule,
        account,
        trend,
    ];
    reasons.extend(gates.iter().filter_map(|gate| gate(load, evidence)));
    reasons
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
            "{} found too many files open, a limit of this side and not of the server: use fewer, or raise it \
             (`ulimit -n`)",
            of_connections(files)
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
    evidence.overran.then(|| {
        format!(
            "the run was ended when {} messages were on their way: the server is too far behind to catch up; offer \
             less",
            evidence.outstanding.1
        )
    })
}

fn rate(load: &Load, evidence: &Evidence) -> Option<String> {
    evidence.plan.request().discipline.pace()?;
    let (due, done) = (evidence.due as f64, evidence.done as f64);
    let by_chance = DEVIATIONS * (evidence.outstanding.1 as f64).sqrt();
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
    let who = match grown > missing / 2.0 && (evidence.blocked as f64) < grown {
        true => "the generator fell behind: give it more --threads and --cpus, or offer less",
        false => {
            "the server or the path to it did not keep up: offer less; `loadgen capacity` finds how much it takes"
        }
    };
    Some(format!(
        "{achieved} came back of {offered} that were offered: {who}"
    ))
}

fn unanswered(load: &Load, evidence: &Evidence) -> Option<String> {
    let unanswered = load.summary.unanswered;
    (unanswered > evidence.due / MESSAGES_PER_LOSS && !evidence.interrupted).then(|| {
        format!(
            "{unanswered} of {} messages that were due were never answered, and are missing at the upper end of the \
             latencies: offer less",
            evidence.due
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

fn saturation(load: &Load, evidence: &Evidence) -> Option<String> {
    evidence.plan.request().discipline.pace()?;
    load.generator.is_saturated().then(|| {
        format!(
            "the generator was saturated: its threads used {:.0}% of their processors, where more than {:.0}% are \
             too many for a schedule to be kept; use more --threads and --cpus, or offer less",
            load.generator.utilisation * 100.0,
            SATURATED * 100.0
        )
    })
}

fn kept_waiting(load: &Load, evidence: &Evidence) -> Option<String> {
    evidence.plan.request().discipline.pace()?;
    (load.generator.kept_waiting > TAKEN).then(|| {
        format!(
            "the generator was kept from running for {:.0}% of the window ({} involuntary switches): something else \
             ran on its processors; give it some of its own (--cpus)",
            load.generator.kept_waiting * 100.0,
            load.generator.involuntary_switches
        )
    })
}

fn steal(load: &Load, _: &Evidence) -> Option<String> {
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
        .find_map(|times| law::check(times, pace, request.threads).err())
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
    let change = changed(&values)?;
    let what = match closed {
        true => "the rate",
        false => "the median latency",
    };
    Some(format!(
        "{what} {} by {:.0}% from the first half of the window to the second: the load was not in a steady state; use \
         a longer --warmup, or look at what changed ({} is the mean of both)",
        if change > 0.0 { "rose" } else { "fell" },
        change.abs() * 100.0,
        show_rate(load.summary.echoes_per_s)
    ))
}

/// By which share the second half of the values is above the first, if that is so much and
/// so clear (Mann and Whitney, 1947) that it cannot be put down to chance.
fn changed(values: &[f64]) -> Option<f64> {
    if values.len() < TREND_INTERVALS {
        return None;
    }
    let (first, second) = values.split_at(values.len() / 2);
    let above = |value: f64| -> f64 {
        let score = |other: &f64| match value.total_cmp(other) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        };
        first.iter().map(score).sum()
    };
    let wins: f64 = second.iter().map(|&value| above(value)).sum();
    let pairs = (first.len() * second.len()) as f64;
    let deviation = (pairs * (values.len() + 1) as f64 / 12.0).sqrt();
    // Half a win less: the correction for continuity.
    let deviate = ((wins - pairs / 2.0).abs() - 0.5) / deviation;
    let change = median(second) / median(first) - 1.0;
    (deviate > TREND_DEVIATE && change.abs() > TREND).then_some(change)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}
