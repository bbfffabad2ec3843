//! Files of records: `results.jsonl`, one record a line, or one load of `loadgen`.

use std::io::{BufRead, Read as _};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conformance::{CaseResult, Conformance};
use crate::load::Load;
use crate::run::{Run, Trial};
use crate::version::SCHEMA_VERSION;

/// A longer line is not a record: the largest records have about 100 KB.
const LONGEST_LINE: usize = 8 << 20;

/// A load has some 100 KB, and a few KB for each interval; a larger file holds something else.
pub const LARGEST_LOAD: u64 = 64 << 20;

/// One line of `results.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "most records are trials")]
pub enum Record {
    /// What all trials of a run have in common. It precedes them.
    Run(Run),
    /// One trial.
    Trial(Trial),
    /// Outcomes of the conformance cases. The last such record of a file counts: a run is given
    /// the newest.
    Conformance(Conformance),
    /// The outcome of one case on one server, after the [`Conformance`] that it belongs to. The
    /// last outcome of a case on a server counts.
    CaseResult(CaseResult),
}

/// The content of a `results.jsonl`: a run, the outcomes of conformance cases, or both.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Records {
    /// The run and its trials.
    pub measured: Option<Measured>,
    /// The outcomes of the conformance cases.
    pub conformance: Option<Conformance>,
}

/// A run and its trials.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What the trials have in common.
    pub run: Run,
    /// In the order in which they ended.
    pub trials: Vec<Trial>,
}

/// Why a file of records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading failed.
    #[error("line {line}: {error}")]
    Io {
        /// Line number, from 1.
        line: usize,
        /// The error of the system.
        error: std::io::Error,
    },
    /// A line is not a record.
    #[error("line {line} is not a record of echobench: {error}")]
    Syntax {
        /// Line number, from 1.
        line: usize,
        /// The error of the parser.
        error: serde_json::Error,
    },
    /// A line is too long to be a record.
    #[error("line {line} is longer than {LONGEST_LINE} bytes, so it is not a record of echobench")]
    TooLong {
        /// Line number, from 1.
        line: usize,
    },
    /// A line of the file was written by a newer program.
    #[error(
        "the records have schema version {found}; this program reads up to {SCHEMA_VERSION}: use a newer echobench"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// The file does not begin with a [`Run`] or a [`Conformance`].
    #[error(
        "the first line describes neither a run nor conformance cases, so this is not a results.jsonl of echobench"
    )]
    NoRun,
    /// A second [`Run`].
    #[error(
        "the records of another run begin at line {line}: a report shows one run, so give each results.jsonl on its own"
    )]
    AnotherRun {
        /// Line number, from 1.
        line: usize,
    },
}

/// Reads a `results.jsonl`, in which blank lines mean nothing, or what `loadgen` writes as JSON: one load, as
/// a run with one trial.
///
/// An interrupted write leaves a last line without its line feed. Such a line is ignored if it
/// does not parse.
pub fn read(mut input: impl BufRead) -> Result<Records, ReadError> {
    let mut records = Records::default();
    for line in 1.. {
        let mut text = Vec::new();
        let limited = &mut std::io::Read::take(&mut input, LONGEST_LINE as u64 + 1);
        let length = limited
            .read_until(b'\n', &mut text)
            .map_err(|error| ReadError::Io { line, error })?;
        if length == 0 {
            break;
        }
        if length > LONGEST_LINE {
            return Err(ReadError::TooLong { line });
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        // Each line has a version: outcomes can be appended to the records of an older program.
        check_version(&text)?;
        match (serde_json::from_slice(&text), &mut records.measured) {
            (Ok(Record::Run(run)), measured @ None) => {
                let trials = Vec::new();
                *measured = Some(Measured { run, trials });
            }
            (Ok(Record::Run(_)), Some(_)) => return Err(ReadError::AnotherRun { line }),
            (Ok(Record::Trial(trial)), Some(measured)) => measured.trials.push(trial),
            (Ok(Record::Conformance(found)), _) => records.conformance = Some(found),
            (Ok(Record::CaseResult(result)), _) => match &mut records.conformance {
                Some(conformance) => conformance.add(result),
                None => return Err(ReadError::NoRun),
            },
            (Ok(Record::Trial(_)), None) => return Err(ReadError::NoRun),
            (Err(_), _) if line > 1 && !text.ends_with(b"\n") => break,
            (Err(error), _) => {
                let load = if line == 1 { read_load(text, input) } else { None };
                return load.unwrap_or(Err(ReadError::Syntax { line, error }));
            }
        }
    }
    if records == Records::default() {
        return Err(ReadError::NoRun);
    }
    Ok(records)
}

/// The one load that a file holds, of which the first line has been read; `None` if it holds something else.
fn read_load(mut text: Vec<u8>, input: impl BufRead) -> Option<Result<Records, ReadError>> {
    { input.take(LARGEST_LOAD) }.read_to_end(&mut text).ok()?;
    let load = || serde_json::from_slice::<Load>(&text).ok();
    match check_version(&text) {
        Ok(()) => Some(Ok(load()?.into())),
        Err(error) => Some(Err(error)),
    }
}

/// Refuses a newer schema by its number, before parsing anything else in the line.
pub fn check_version(line: &[u8]) -> Result<(), ReadError> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    match serde_json::from_slice(line) {
        Ok(Version {
            schema_version: found,
        }) if found > SCHEMA_VERSION => Err(ReadError::Version { found }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::conformance::CaseOutcome;
    use crate::error_kind::ErrorKind;
    use crate::finding::Finding;
    use crate::histogram::{self, Encoded, Quantiles};
    use crate::host_check::{HostCheck, HostState, Remedy};
    use crate::load::{Connections, Generator, Interval, Load, Reconnects, Summary};
    use crate::plan::{Arrivals, Engine, Plan, Transport, Wait};
    use crate::run::{Cost, Host, Margins, Outcome, Placement, Server, Slice};
    use crate::span::Span;
    use crate::units::{Rate, Time};
    use proptest::prelude::*;
    use std::time::Duration;

    fn run() -> Run {
        Run {
            schema_version: SCHEMA_VERSION,
            version: "1.2.3".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            command: vec!["echobench".into(), "run".into()],
            suite: "quick".into(),
            question: Some("which one?".into()),
            scenarios: Vec::new(),
            servers: vec![Server {
                name: "epoll".into(),
                family: "readiness".into(),
                summary: "one thread".into(),
                transport: Transport::Tcp,
            }],
            blocks: 5,
            looks: vec![3, 5],
            margins: Margins {
                rates: "0.5%".parse().unwrap(),
                ..Margins::default()
            },
            seed: 7,
            placement: Placement {
                server_cpus: vec![0],
                generator_cpus: vec![1],
            },
            host: Host::default(),
            host_checks: vec![checked()],
        }
    }

    fn checked() -> HostCheck {
        HostCheck {
            name: "backlog".into(),
            state: HostState::Spoils,
            found: "net.core.somaxconn is 128".into(),
            read_from: "/proc/sys/net/core/somaxconn".into(),
            why: "connections are dropped".into(),
            affects: "connect times".into(),
            remedy: Some(Remedy::Command("sysctl -w net.core.somaxconn=4096".into())),
        }
    }

    fn trial(outcome: Outcome) -> Trial {
        Trial {
            server: "epoll".into(),
            scenario: "1-connection".into(),
            block: 0,
            started_at: "2026-01-01T00:00:01Z".into(),
            outcome,
        }
    }

    fn load(rate: f64, samples: &[u64], errors: BTreeMap<ErrorKind, u64>) -> Load {
        let mut service = histogram::empty();
        samples.iter().for_each(|&ns| service.saturating_record(ns));
        Load {
            schema_version: SCHEMA_VERSION,
            target: "127.0.0.1:7007".into(),
            started_at: "2026-01-01T00:00:01Z".into(),
            parts: vec!["0123456789abcdef".into()],
            plan: Plan {
                connections: Some(1),
                idle: 9,
                size: "uniform:1B..127B".parse().unwrap(),
                duration: Some(Time(Duration::from_secs(1))),
                think: Time(Duration::from_millis(500)),
                messages_per_connection: Some(4),
                rate: Rate::new(rate),
                stages: Some("1s@5/s..10/s".parse().unwrap()),
                arrivals: Some(Arrivals::Poisson),
                sources: vec!["127.0.0.2".parse().unwrap()],
                engine: Engine::Uring,
                ..Plan::default()
            },
            listed_mean_bytes: Some(rate),
            generator: Generator {
                version: "1.2.3".into(),
                engine: Engine::Epoll,
                wait: Wait::Sleep,
                cpus: vec![1],
                utilisation: 0.5,
                kept_waiting: 0.25,
                involuntary_switches: 3,
                steal: Some(0.125),
                throttling: None,
            },
            window_s: 1.0,
            summary: Summary {
                echoes_per_s: rate,
                offered_per_s: None,
                echoes: service.len(),
                latencies: [Span::Service, Span::Response, Span::Close]
                    .map(|span| (span, Quantiles::of(&service)))
                    .into(),
                connections_per_s: Some(rate),
                unanswered: 5,
                reconnects: Some(Reconnects {
                    lost: 3,
                    longest_s: rate,
                    ..Reconnects::default()
                }),
                connections: Connections {
                    asked: 1,
                    open: 1,
                    answered: 1,
                    idle: 9,
                    never_served: 0,
                },
                errors,
                cpu_us_per_echo: Some(rate),
                findings: [
                    Finding::NoEchoes,
                    Finding::Withheld {
                        text: "because".into(),
                    },
                ]
                .into(),
            },
            error_examples: BTreeMap::from([(ErrorKind::Reset, "reset \"by\" peer".into())]),
            histograms: [Span::Service, Span::Response, Span::Close]
                .map(|span| (span, Encoded::new(&service)))
                .into(),
            unfinished: Some([(Span::Service, Encoded::new(&service))].into()),
            intervals: vec![Interval {
                start_s: 0.0,
                duration_s: 1.0,
                echoes: service.len(),
                latency: Encoded::new(&service),
                reconnects: 2,
            }],
        }
    }

    fn measured(lines: &[u8]) -> Measured {
        read(lines).unwrap().measured.unwrap()
    }

    fn lines(records: &[Record]) -> Vec<u8> {
        records
            .iter()
            .flat_map(|record| [serde_json::to_vec(record).unwrap(), b"\n".to_vec()].concat())
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            rate in 0.0..1e9f64,
            samples in prop::collection::vec(1u64..10_000_000_000, 0..50),
            resets in 0u64..5,
            reason in "\\PC*",
        ) {
            let load = load(rate, &samples, BTreeMap::from([(ErrorKind::Reset, resets)]));
            let trials = [
                trial(Outcome::Measured {
                    load,
                    cost: Some(Cost { cpu_s: rate, ..Cost::default() }),
                    slices: vec![Slice {
                        turn: 1,
                        served: 3,
                        start_s: rate,
                        cpu_s: Some(rate),
                        foreign_cpu: Some(0.5),
                        steal: Some(rate.fract()),
                        cpu_pressure: None,
                        forced_switches: Some(resets),
                        cpu_mhz: Some(rate),
                    }],
                }),
                trial(Outcome::Skipped { reason: reason.clone() }),
                trial(Outcome::Failed { error: reason, stderr: "line\nline".into() }),
            ];
            let mut records = vec![Record::Run(run())];
            records.extend(trials.iter().cloned().map(Record::Trial));
            let Measured { run: found, trials: read } = measured(&lines(&records));
            prop_assert_eq!(found, run());
            prop_assert_eq!(read, trials);
        }
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_passed_over() {
        let whole = lines(&[
            Record::Run(run()),
            Record::Trial(trial(Outcome::Skipped { reason: "x".into() })),
        ]);
        assert!(measured(&whole[..whole.len() - 9]).trials.is_empty());
        assert_eq!(measured(&whole).trials.len(), 1);
    }

    #[test]
    fn conformance_stands_alone_or_in_a_run_and_the_last_one_counts() {
        let conformance = |seed| Conformance {
            schema_version: SCHEMA_VERSION,
            version: "1.2.3".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            host: Host::default(),
            full: false,
            seed,
            cases: Vec::new(),
            results: Vec::new(),
        };
        let line = |seed| Record::Conformance(conformance(seed));
        let alone = read(&lines(&[line(1)])[..]).unwrap();
        assert_eq!((alone.measured, alone.conformance), (None, Some(conformance(1))));
        let skipped = Record::Trial(trial(Outcome::Skipped { reason: "x".into() }));
        let within = lines(&[Record::Run(run()), line(1), skipped, line(2)]);
        let within = read(&within[..]).unwrap();
        assert_eq!(within.measured.unwrap().trials.len(), 1);
        assert_eq!(within.conformance, Some(conformance(2)));
        let older = Run {
            schema_version: 1,
            ..run()
        };
        let added = read(&lines(&[Record::Run(older), line(3)])[..]).unwrap();
        assert_eq!(added.conformance, Some(conformance(3)));
    }

    #[test]
    fn case_results_are_lines_and_the_last_result_of_a_case_on_a_server_counts() {
        let result = |case: &str, seconds| CaseResult {
            case: case.into(),
            model: "epoll".into(),
            outcome: CaseOutcome::Skipped { reason: "x".into() },
            seconds,
        };
        let header = Conformance {
            schema_version: SCHEMA_VERSION,
            version: "1.2.3".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            host: Host::default(),
            full: false,
            seed: 1,
            cases: Vec::new(),
            results: vec![result("C1", 0.0)],
        };
        let written = lines(&[
            Record::Conformance(header),
            Record::CaseResult(result("C2", 1.0)),
            Record::CaseResult(result("C1", 2.0)),
            Record::CaseResult(result("C2", 3.0)),
        ]);
        let results = |text: &[u8]| read(text).unwrap().conformance.unwrap().results;
        assert_eq!(results(&written), [result("C1", 2.0), result("C2", 3.0)]);
        let cut_off = &written[..written.len() - 9];
        assert_eq!(results(cut_off), [result("C1", 2.0), result("C2", 1.0)]);
        let alone = lines(&[Record::CaseResult(result("C1", 1.0))]);
        assert!(matches!(read(&alone[..]), Err(ReadError::NoRun)));
    }

    #[test]
    fn blank_lines_mean_nothing() {
        let skipped = Record::Trial(trial(Outcome::Skipped { reason: "x".into() }));
        let (run, skipped) = (lines(&[Record::Run(run())]), lines(&[skipped]));
        for blank in ["\n", "\n\n", " \t\r\n", "\n "] {
            let blank = blank.as_bytes();
            let read = measured(&[blank, &run, b"\n", &skipped, blank].concat());
            assert_eq!(read.trials.len(), 1);
        }
        assert!(matches!(read(&b"\n\n"[..]), Err(ReadError::NoRun)));
    }

    #[test]
    fn two_runs_in_one_file_are_refused_for_what_they_are() {
        let skipped = Record::Trial(trial(Outcome::Skipped { reason: "x".into() }));
        let one = lines(&[Record::Run(run()), skipped]);
        let error = read(&[&one[..], b"\n", &one].concat()[..]).unwrap_err();
        assert!(matches!(error, ReadError::AnotherRun { line: 4 }), "{error}");
        assert!(
            error.to_string().contains("another run begin at line 4"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let trial = Record::Trial(trial(Outcome::Skipped { reason: "x".into() }));
        assert!(matches!(read(&b""[..]), Err(ReadError::NoRun)));
        assert!(matches!(
            read(&lines(std::slice::from_ref(&trial))[..]),
            Err(ReadError::NoRun)
        ));
        assert!(matches!(
            read(&b"<html>\n"[..]),
            Err(ReadError::Syntax { line: 1, .. })
        ));
        let broken = [lines(&[Record::Run(run())]), b"{}\n".to_vec(), lines(&[trial])].concat();
        assert!(matches!(
            read(&broken[..]),
            Err(ReadError::Syntax { line: 2, .. })
        ));
        let long = vec![b'x'; LONGEST_LINE + 2];
        assert!(matches!(read(&long[..]), Err(ReadError::TooLong { line: 1 })));
    }

    #[test]
    fn one_load_is_read_as_a_run_with_one_trial() {
        let mut load = load(1000.0, &[1_000_000], BTreeMap::new());
        load.target = format!("unix:/{}", "long/".repeat(30));
        for text in [serde_json::to_vec(&load), serde_json::to_vec_pretty(&load)] {
            let records = read(&text.unwrap()[..]).unwrap();
            let Measured { run, trials } = records.measured.unwrap();
            assert!(run.is_single_load() && records.conformance.is_none());
            assert_eq!(run.scenarios[0].plan, load.plan);
            assert_eq!(run.servers[0].name, load.target[..100]);
            let [trial] = &trials[..] else {
                panic!("{trials:?}")
            };
            assert_eq!(
                (&trial.server, &trial.scenario),
                (&run.servers[0].name, &run.scenarios[0].name)
            );
            let Outcome::Measured {
                load: found,
                cost: None,
                ..
            } = &trial.outcome
            else {
                panic!("{trial:?}")
            };
            assert_eq!(*found, load);
        }
        assert!(!run().is_single_load());
        let mut newer = serde_json::to_value(&load).unwrap();
        newer["schema_version"] = (SCHEMA_VERSION + 1).into();
        let newer = serde_json::to_vec_pretty(&newer).unwrap();
        assert!(matches!(read(&newer[..]), Err(ReadError::Version { .. })));
    }

    #[test]
    fn a_newer_schema_is_named_whatever_else_it_holds() {
        let text = br#"{"kind":"run","schema_version":99,"something":"new"}"#;
        let error = read(&text[..]).unwrap_err();
        assert!(matches!(error, ReadError::Version { found: 99 }), "{error}");
        let first = lines(&[Record::Run(Run {
            schema_version: 1,
            ..run()
        })]);
        let added = br#"{"kind":"conformance","schema_version":99,"something":"new"}"#;
        let error = read(&[&first, &added[..], b"\n"].concat()[..]).unwrap_err();
        assert!(matches!(error, ReadError::Version { found: 99 }), "{error}");
    }

    #[test]
    fn a_result_is_one_flat_object() {
        let result = CaseResult {
            case: "C3".into(),
            model: "iterative".into(),
            outcome: CaseOutcome::NotApplicable {
                reason: "one at a time".into(),
            },
            seconds: 0.5,
        };
        let json = serde_json::to_value(&result).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "case": "C3", "model": "iterative", "outcome": "not_applicable",
                "reason": "one at a time", "seconds": 0.5
            })
        );
        assert_eq!(serde_json::from_value::<CaseResult>(json).unwrap(), result);
    }
}
