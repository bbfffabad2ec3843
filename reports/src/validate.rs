//! Whether records from outside can be what a run wrote, before anything is drawn.

use std::collections::HashSet;

use record::histogram::{DecodeError, Quantiles};
use record::{CaseOutcome, Conformance, Cost, Load, Measured, Outcome, Records, Span};

/// Some thirty models exist; a file with more names than this is not from a run.
const MOST_SERVERS: usize = 200;
const MOST_SCENARIOS: usize = 200;

/// A day and a night of short trials are some ten thousand.
const MOST_TRIALS: usize = 100_000;

/// Some thirty cases exist.
const MOST_CASES: usize = 100;

/// What fits a column of a table and the margin of a figure.
const LONGEST_NAME: usize = 100;

/// Bytes of evidence: a sentence or two, and the last 4 KiB that a server said.
const LONGEST_EVIDENCE: usize = 16 << 10;

/// Records that contradict themselves or hold what cannot have been measured.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// More than a run can have.
    #[error("{found} {what}: at most {most} are read")]
    TooMany {
        /// Of what there are too many.
        what: &'static str,
        /// How many were found.
        found: usize,
        /// How many are read.
        most: usize,
    },
    /// A name that cannot stand in a table.
    #[error("{0:?} is not a name: it must have 1 to {LONGEST_NAME} characters and no control characters")]
    Name(String),
    /// A name that stands for two things.
    #[error("{0} stands twice in the list of the run")]
    Twice(String),
    /// A result of something that is not listed.
    #[error("a result names {what} {name:?}, which is not listed")]
    Unlisted {
        /// `server`, `scenario` or `case`.
        what: &'static str,
        /// What it names.
        name: String,
    },
    /// The same trial more than once.
    #[error("{server} has two trials in block {block} of {scenario}")]
    Repeated {
        /// Name of the server.
        server: String,
        /// Name of the scenario.
        scenario: String,
        /// The block.
        block: u32,
    },
    /// The same case more than once.
    #[error("{server} has two results of {case}")]
    RepeatedCase {
        /// Name of the server.
        server: String,
        /// Id of the case.
        case: String,
    },
    /// A text that no case writes.
    #[error("{place}: {bytes} bytes of evidence or question: at most {LONGEST_EVIDENCE} are read")]
    TooLong {
        /// Of what.
        place: String,
        /// How many there are.
        bytes: usize,
    },
    /// A number that cannot be measured.
    #[error("{place}: {number} is {value}, which cannot have been measured")]
    Number {
        /// Which trial.
        place: String,
        /// Which number.
        number: &'static str,
        /// What stands there.
        value: f64,
    },
    /// A histogram that cannot be read.
    #[error("{place}: {error}")]
    Histogram {
        /// Which trial.
        place: String,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// Percentiles that are not those of the histogram beside them.
    #[error("{0}: the percentiles are not those of the histogram beside them")]
    Percentiles(String),
}

/// Checks what records must hold for the report to be about them.
pub fn check(records: &Records) -> Result<(), Invalid> {
    records.measured.as_ref().map_or(Ok(()), measured)?;
    records.conformance.as_ref().map_or(Ok(()), conformance)
}

fn measured(Measured { run, trials }: &Measured) -> Result<(), Invalid> {
    at_most("servers", run.servers.len(), MOST_SERVERS)?;
    at_most("scenarios", run.scenarios.len(), MOST_SCENARIOS)?;
    at_most("trials", trials.len(), MOST_TRIALS)?;
    let servers = names(run.servers.iter().map(|server| server.name.as_str()))?;
    let scenarios = names(run.scenarios.iter().map(|scenario| scenario.name.as_str()))?;
    let mut seen = HashSet::new();
    for trial in trials {
        listed("server", &trial.server, &servers)?;
        listed("scenario", &trial.scenario, &scenarios)?;
        if !seen.insert((&trial.server, &trial.scenario, trial.block)) {
            return Err(Invalid::Repeated {
                server: trial.server.clone(),
                scenario: trial.scenario.clone(),
                block: trial.block,
            });
        }
        if let Outcome::Measured { load, cost } = &trial.outcome {
            let place = format!("{} in block {} of {}", trial.server, trial.block, trial.scenario);
            numbers(&place, load, cost)?;
            histograms(&place, load)?;
        }
    }
    Ok(())
}

fn conformance(conformance: &Conformance) -> Result<(), Invalid> {
    let (cases, results) = (&conformance.cases, &conformance.results);
    at_most("cases", cases.len(), MOST_CASES)?;
    at_most("results of cases", results.len(), MOST_CASES * MOST_SERVERS)?;
    let listed_cases = names(cases.iter().map(|case| case.id.as_str()))?;
    names(cases.iter().map(|case| case.name.as_str()))?;
    for case in cases {
        short(&case.id, &case.question)?;
    }
    let servers: HashSet<&str> = results.iter().map(|result| result.model.as_str()).collect();
    at_most("servers", servers.len(), MOST_SERVERS)?;
    names(servers.into_iter())?;
    let mut seen = HashSet::new();
    for result in results {
        listed("case", &result.case, &listed_cases)?;
        if !seen.insert((&result.model, &result.case)) {
            return Err(Invalid::RepeatedCase {
                server: result.model.clone(),
                case: result.case.clone(),
            });
        }
        let place = format!("{} on {}", result.case, result.model);
        measurable(&place, "seconds", result.seconds)?;
        let (CaseOutcome::Pass { evidence: text }
        | CaseOutcome::Fail { evidence: text }
        | CaseOutcome::NotApplicable { reason: text }
        | CaseOutcome::Skipped { reason: text }) = &result.outcome;
        short(&place, text)?;
    }
    Ok(())
}

fn short(place: &str, text: &str) -> Result<(), Invalid> {
    if text.len() > LONGEST_EVIDENCE {
        return Err(Invalid::TooLong {
            place: place.to_owned(),
            bytes: text.len(),
        });
    }
    Ok(())
}

fn at_most(what: &'static str, found: usize, most: usize) -> Result<(), Invalid> {
    if found > most {
        return Err(Invalid::TooMany { what, found, most });
    }
    Ok(())
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> Result<HashSet<&'a str>, Invalid> {
    let mut seen = HashSet::new();
    for name in names {
        let fits = (1..=LONGEST_NAME).contains(&name.chars().count());
        if !fits || crate::format::plain_line(name) != name {
            return Err(Invalid::Name(name.to_owned()));
        }
        if !seen.insert(name) {
            return Err(Invalid::Twice(name.to_owned()));
        }
    }
    Ok(seen)
}

fn listed(what: &'static str, name: &str, all: &HashSet<&str>) -> Result<(), Invalid> {
    if all.contains(name) {
        return Ok(());
    }
    Err(Invalid::Unlisted {
        what,
        name: name.to_owned(),
    })
}

fn numbers(place: &str, load: &Load, cost: &Cost) -> Result<(), Invalid> {
    let summary = &load.summary;
    let present = [
        ("echoes_per_s", Some(summary.echoes_per_s)),
        ("offered_per_s", summary.offered_per_s),
        ("cpu_us_per_echo of the generator", summary.cpu_us_per_echo),
        ("utilisation", Some(load.generator.utilisation)),
        ("window_s", Some(load.window_s)),
        ("cpu_s", Some(cost.cpu_s)),
        ("cpu_us_per_echo", cost.cpu_us_per_echo),
    ];
    let mut present = present.into_iter();
    present.try_for_each(|(number, value)| value.map_or(Ok(()), |value| measurable(place, number, value)))
}

fn measurable(place: &str, number: &'static str, value: f64) -> Result<(), Invalid> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Invalid::Number {
        place: place.to_owned(),
        number,
        value,
    })
}

/// The table shows the percentiles and the figures the histogram: they must be one.
fn histograms(place: &str, load: &Load) -> Result<(), Invalid> {
    let (Some(encoded), Some(stored)) = (
        &load.histograms[Span::Service],
        &load.summary.latencies[Span::Service],
    ) else {
        return Err(Invalid::Percentiles(place.to_owned()));
    };
    let histogram = encoded.decode().map_err(|error| Invalid::Histogram {
        place: place.to_owned(),
        error,
    })?;
    let found = Quantiles::of(&histogram);
    let same = [
        (found.p50, stored.p50),
        (found.p90, stored.p90),
        (found.p99, stored.p99),
        (found.p99_9, stored.p99_9),
        (found.max, stored.max),
    ];
    if same.iter().any(|(found, stored)| found != stored) || found.count != stored.count {
        return Err(Invalid::Percentiles(place.to_owned()));
    }
    Ok(())
}
