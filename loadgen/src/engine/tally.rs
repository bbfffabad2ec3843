//! What a worker counts, and how the counts of all become a [`Load`].

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, SystemTime};

use crate::histogram::{self, Encoded, Histogram, Quantiles};
use crate::plan::Plan;
use crate::record::{Connections, ErrorKind, Generator, Histograms, Load, SCHEMA_VERSION, Summary};

/// Of so many messages over UDP one may be lost in a valid load. A message without an answer
/// has no latency, and is missing in the histogram at its upper end: beyond p99.9, the last
/// quantile that is shown, as long as there are no more of them than that.
const MESSAGES_PER_LOSS: u64 = 1000;

/// The counts of one worker, or of several together.
#[derive(Debug)]
pub struct Tally {
    /// Service times within the window.
    pub service: Histogram,
    /// Connections established.
    pub open: u64,
    /// Connections answered within the window.
    pub answered: u64,
    /// CPU time used within the window.
    pub cpu: Duration,
    errors: BTreeMap<ErrorKind, (u64, String)>,
}

impl Tally {
    pub fn new() -> Self {
        Tally {
            service: histogram::empty(),
            open: 0,
            answered: 0,
            cpu: Duration::ZERO,
            errors: BTreeMap::new(),
        }
    }

    /// Counts an error and keeps the first of its kind as the example.
    pub fn error(&mut self, kind: ErrorKind, example: impl ToString) {
        self.errors
            .entry(kind)
            .or_insert_with(|| (0, example.to_string()))
            .0 += 1;
    }

    /// Counts an error of the system.
    pub fn io_error(&mut self, error: &io::Error) {
        self.error(kind(error), error);
    }

    /// Adds the counts of another worker.
    pub fn merge(&mut self, other: Tally) {
        self.service += other.service;
        self.open += other.open;
        self.answered += other.answered;
        self.cpu += other.cpu;
        for (kind, (count, example)) in other.errors {
            self.errors.entry(kind).or_insert((0, example)).0 += count;
        }
    }

    /// The kind of error that occurred most, and its example.
    pub fn worst_error(&self) -> (ErrorKind, String) {
        let worst = self.errors.iter().max_by_key(|(_, (count, _))| count);
        worst.map_or(
            (ErrorKind::Other, "interrupted".into()),
            |(kind, (_, example))| (*kind, example.clone()),
        )
    }

    /// The record of a load that was counted for `window_ns`.
    pub fn into_load(self, plan: &Plan, started_at: SystemTime, window_ns: u64, interrupted: bool) -> Load {
        let request = plan.request();
        let window_s = window_ns as f64 / 1e9;
        let echoes = self.service.len();
        let per_second = |count: f64| if window_ns == 0 { 0.0 } else { count / window_s };
        let mut reasons = self.reasons(request.connections as u64);
        if interrupted {
            let planned_s = request.duration.as_secs_f64();
            reasons.push(format!(
                "interrupted: {window_s:.2} s were measured of {planned_s} s"
            ));
        }
        let summary = Summary {
            echoes_per_s: per_second(echoes as f64),
            offered_per_s: None,
            echoes,
            service_us: Quantiles::of(&self.service),
            response_us: None,
            send_lag_us: None,
            connect_us: None,
            first_byte_us: None,
            close_us: None,
            connections_per_s: None,
            unanswered: 0,
            latency_withheld: None,
            connections: Connections {
                asked: request.connections as u64,
                open: self.open,
                answered: self.answered,
                idle: 0,
            },
            errors: self
                .errors
                .iter()
                .map(|(kind, (count, _))| (*kind, *count))
                .collect(),
            cpu_us_per_echo: (echoes > 0).then(|| self.cpu.as_secs_f64() * 1e6 / echoes as f64),
            valid: reasons.is_empty(),
            reasons,
        };
        Load {
            schema_version: SCHEMA_VERSION,
            target: request.target.to_string(),
            started_at: humantime::format_rfc3339_millis(started_at).to_string(),
            plan: plan.record(),
            generator: Generator {
                version: env!("CARGO_PKG_VERSION").into(),
                engine: "epoll".into(),
                wait: "sleep".into(),
                cpus: request.cpus.clone(),
                utilisation: per_second(self.cpu.as_secs_f64()) / request.threads as f64,
                kept_waiting: 0.0,
                involuntary_switches: 0,
                steal: None,
            },
            window_s,
            summary,
            error_examples: self
                .errors
                .into_iter()
                .map(|(kind, (_, example))| (kind, example))
                .collect(),
            histograms: Histograms {
                service: Encoded::new(&self.service),
                response: None,
                send_lag: None,
                connect: None,
                first_byte: None,
                close: None,
            },
            intervals: Vec::new(),
        }
    }

    /// Why the numbers may not be believed.
    fn reasons(&self, asked: u64) -> Vec<String> {
        let count = |kind| self.errors.get(&kind).map_or(0, |(count, _)| *count);
        let mut reasons = Vec::new();
        if self.service.is_empty() {
            reasons.push("no message came back within the measured window".into());
        }
        let wrong = count(ErrorKind::WrongBytes);
        if wrong > 0 {
            reasons.push(format!(
                "{wrong} of {asked} connections got wrong bytes: the server does not echo what it reads"
            ));
        }
        let echoes = self.service.len();
        for (kind, what) in [
            (ErrorKind::Lost, "were lost"),
            (ErrorKind::Stale, "were answered late or more than once"),
        ] {
            if echoes > 0 && count(kind) > (echoes + count(kind)) / MESSAGES_PER_LOSS {
                reasons.push(format!(
                    "{} messages {what} beside {echoes} echoes: more than one in {MESSAGES_PER_LOSS}",
                    count(kind)
                ));
            }
        }
        let ours: u64 = self
            .errors
            .iter()
            .filter(|(kind, _)| kind.is_ours())
            .map(|(_, (count, _))| count)
            .sum();
        if ours > 0 {
            reasons.push(format!(
                "{ours} of {asked} connections failed for a limit of this side, not of the server"
            ));
        }
        let of_connections = self.errors.iter().filter(|(kind, _)| !kind.is_of_a_message());
        let failed = of_connections.map(|(_, (count, _))| count).sum::<u64>() - wrong - ours;
        if failed > 0 {
            reasons.push(format!(
                "{failed} of {asked} connections failed, so the load was not the one asked for"
            ));
        }
        reasons
    }
}

/// The kind of an error of the system.
fn kind(error: &io::Error) -> ErrorKind {
    use nix::errno::Errno;
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => ErrorKind::Refused,
        Some(Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED) => ErrorKind::Reset,
        Some(Errno::ETIMEDOUT) => ErrorKind::TimedOut,
        Some(Errno::EADDRNOTAVAIL) => ErrorKind::NoLocalPort,
        Some(Errno::EMFILE | Errno::ENFILE) => ErrorKind::TooManyOpenFiles,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up() {
        let (mut left, mut right) = (Tally::new(), Tally::new());
        left.service.saturating_record(1000);
        right.service.saturating_record(3000);
        left.open = 2;
        right.open = 3;
        left.error(ErrorKind::Reset, "first");
        right.error(ErrorKind::Reset, "second");
        right.error(ErrorKind::Refused, "other");
        left.merge(right);
        assert_eq!((left.service.len(), left.open), (2, 5));
        assert_eq!(left.errors[&ErrorKind::Reset], (2, "first".into()));
        assert_eq!(left.worst_error(), (ErrorKind::Reset, "first".into()));
    }

    #[test]
    fn each_errno_has_its_kind() {
        let table = [
            (nix::errno::Errno::ECONNREFUSED, ErrorKind::Refused),
            (nix::errno::Errno::ECONNRESET, ErrorKind::Reset),
            (nix::errno::Errno::EPIPE, ErrorKind::Reset),
            (nix::errno::Errno::ETIMEDOUT, ErrorKind::TimedOut),
            (nix::errno::Errno::EADDRNOTAVAIL, ErrorKind::NoLocalPort),
            (nix::errno::Errno::EMFILE, ErrorKind::TooManyOpenFiles),
            (nix::errno::Errno::EIO, ErrorKind::Other),
        ];
        for (errno, expected) in table {
            assert_eq!(kind(&errno.into()), expected);
        }
    }

    #[test]
    fn a_thousandth_of_the_messages_may_be_lost_or_stale_and_no_connection() {
        let mut tally = Tally::new();
        tally.service.saturating_record_n(1, 1998);
        for kind in [ErrorKind::Lost, ErrorKind::Stale] {
            (0..2).for_each(|_| tally.error(kind, ""));
        }
        assert_eq!(tally.reasons(10), [""; 0]);
        tally.error(ErrorKind::Lost, "");
        let reasons = tally.reasons(10);
        assert!(
            reasons.len() == 1 && reasons[0].starts_with("3 messages were lost"),
            "{reasons:?}"
        );
    }

    #[test]
    fn errors_make_a_load_invalid_and_say_why() {
        let mut tally = Tally::new();
        tally.service.saturating_record(1);
        assert!(tally.reasons(10).is_empty());
        tally.error(ErrorKind::WrongBytes, "");
        tally.error(ErrorKind::NoLocalPort, "");
        tally.error(ErrorKind::EarlyEnd, "");
        let reasons = tally.reasons(10);
        assert_eq!(reasons.len(), 3);
        assert!(
            reasons.iter().all(|reason| reason.starts_with("1 of 10")),
            "{reasons:?}"
        );
        assert_eq!(Tally::new().reasons(1).len(), 1, "nothing measured");
    }
}
