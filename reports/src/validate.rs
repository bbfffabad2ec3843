//! Checks that records are consistent before anything is drawn.

use std::collections::HashSet;

use record::histogram::{DecodeError, Encoded, Quantiles, Statistic};
use record::words::plain_line;
use record::{CaseOutcome, Conformance, Cost, Load, Measured, Outcome, Records, Slice, Span};

/// Far above the number of models.
const MOST_SERVERS: usize = 200;
const MOST_SCENARIOS: usize = 200;

/// 24 hours of short trials are about ten thousand.
const MOST_TRIALS: usize = 100_000;

/// Far above the number of checks of a host.
const MOST_HOST_CHECKS: usize = 100;

/// Far above the number of cases.
const MOST_CASES: usize = 100;

/// Characters that fit a column of a table.
const LONGEST_NAME: usize = 100;

/// Bytes of evidence: a few sentences and the last 4 KiB of a server's standard error.
const LONGEST_EVIDENCE: usize = 16 << 10;

/// Why records are not consistent.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// More than a run can have.
    #[error("{found} {what}: at most {most} are read")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many were found.
        found: usize,
        /// How many are read.
        most: usize,
    },
    /// A name that does not fit a table.
    #[error("{0:?} is not a name: it must have 1 to {LONGEST_NAME} characters and no control characters")]
    Name(String),
    /// A name that is not unique.
    #[error("{0} is listed twice")]
    Twice(String),
    /// A result of a server, scenario or case that is not listed.
    #[error("a result names {what} {name:?}, which is not listed")]
    Unlisted {
        /// `server`, `scenario` or `case`.
        what: &'static str,
        /// The name.
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
    /// A text that is too long.
    #[error("{place}: the evidence or question has {bytes} bytes: at most {LONGEST_EVIDENCE} are read")]
    TooLong {
        /// Of which case, or case and server.
        place: String,
        /// Its length.
        bytes: usize,
    },
    /// A number that is negative or not finite.
    #[error("{place}: {number} is {value}, which cannot be a measurement")]
    Number {
        /// Which trial.
        place: String,
        /// Which number.
        number: &'static str,
        /// Its value.
        value: f64,
    },
    /// A histogram that cannot be decoded.
    #[error("{place}: {error}")]
    Histogram {
        /// Which trial.
        place: String,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// Slices without an interval, or the other way round.
    #[error("{place}: {slices} slices for {intervals} intervals")]
    Slices {
        /// Which trial.
        place: String,
        /// How many slices it has.
        slices: usize,
        /// How many intervals its load has.
        intervals: usize,
    },
    /// Percentiles that differ from those of their histogram.
    #[error("{0}: the percentiles differ from those of the histogram")]
    Percentiles(String),
}

/// Checks that the records are consistent.
pub fn check(records: &Records) -> Result<(), Invalid> {
    records.measured.as_ref().map_or(Ok(()), measured)?;
    records.conformance.as_ref().map_or(Ok(()), conformance)
}

fn measured(Measured { run, trials }: &Measured) -> Result<(), Invalid> {
    at_most("servers", run.servers.len(), MOST_SERVERS)?;
    at_most("scenarios", run.scenarios.len(), MOST_SCENARIOS)?;
    at_most("trials", trials.len(), MOST_TRIALS)?;
    at_most("checks of the host", run.host_checks.len(), MOST_HOST_CHECKS)?;
    names(run.host_checks.iter().map(|check| check.name.as_str()))?;
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
        if let Outcome::Measured { load, cost, slices } = &trial.outcome {
            let place = format!("{} in block {} of {}", trial.server, trial.block, trial.scenario);
            numbers(&place, load, cost.as_ref())?;
            self::slices(&place, load, slices)?;
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
        if !fits || plain_line(name) != name {
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

fn numbers(place: &str, load: &Load, cost: Option<&Cost>) -> Result<(), Invalid> {
    let summary = &load.summary;
    let present = [
        ("echoes_per_s", Some(summary.echoes_per_s)),
        ("offered_per_s", summary.offered_per_s),
        ("cpu_us_per_echo of the generator", summary.cpu_us_per_echo),
        ("utilisation", Some(load.generator.utilisation)),
        ("window_s", Some(load.window_s)),
        ("cpu_s", cost.map(|cost| cost.cpu_s)),
        ("cpu_us_per_echo", cost.and_then(|cost| cost.cpu_us_per_echo)),
    ];
    let mut present = present.into_iter();
    present.try_for_each(|(number, value)| value.map_or(Ok(()), |value| measurable(place, number, value)))
}

/// Each slice belongs to an interval of the load.
fn slices(place: &str, load: &Load, slices: &[Slice]) -> Result<(), Invalid> {
    if !slices.is_empty() && slices.len() != load.intervals.len() {
        return Err(Invalid::Slices {
            place: place.to_owned(),
            slices: slices.len(),
            intervals: load.intervals.len(),
        });
    }
    for slice in slices {
        measurable(place, "start_s of a slice", slice.start_s)?;
        let values = [
            ("cpu_s of a slice", slice.cpu_s),
            ("foreign_cpu of a slice", slice.foreign_cpu),
            ("steal of a slice", slice.steal),
            ("cpu_pressure of a slice", slice.cpu_pressure),
            ("cpu_mhz of a slice", slice.cpu_mhz),
        ];
        for (name, value) in values {
            measurable(place, name, value.unwrap_or(0.0))?;
        }
    }
    Ok(())
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

/// Tables show the percentiles and figures the histogram, so they must agree.
fn histograms(place: &str, load: &Load) -> Result<(), Invalid> {
    let mut shown = [Span::Response, Span::Service].into_iter();
    shown.try_for_each(
        |span| match (&load.histograms[span], &load.summary.latencies[span]) {
            (Some(histogram), Some(stored)) => agree(place, histogram, load.unfinished(span), stored),
            (None, None) => Ok(()),
            _ => Err(Invalid::Percentiles(place.to_owned())),
        },
    )
}

fn agree(
    place: &str,
    ended: &Encoded,
    unfinished: Option<&Encoded>,
    stored: &Quantiles,
) -> Result<(), Invalid> {
    let decode = |encoded: &Encoded| {
        encoded.decode().map_err(|error| Invalid::Histogram {
            place: place.to_owned(),
            error,
        })
    };
    let unfinished = unfinished.map(decode).transpose()?;
    let found = Quantiles::with_unfinished(&decode(ended)?, unfinished.as_ref());
    let mut shown = Statistic::ALL
        .into_iter()
        .filter(|statistic| *statistic != Statistic::Mean);
    let same = shown.all(|statistic| found.known(statistic) == stored.known(statistic));
    if !same || found.count != stored.count {
        return Err(Invalid::Percentiles(place.to_owned()));
    }
    Ok(())
}
