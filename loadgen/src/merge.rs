//! Merges loads that several generators put on one server at the same time.
//!
//! Counts and rates add. Histograms add exactly, since all have the same bounds, and quantiles
//! are taken from their sums: an average of quantiles is a quantile of nothing. A sum lists the loads that
//! it holds, so none can count twice.

mod error;
mod overlap;

use std::collections::BTreeMap;
use std::io::Read;
use std::time::UNIX_EPOCH;

use serde::Serialize;

pub use error::MergeError;
use record::histogram::{self, Encoded, Histogram, Quantiles};
use record::{
    self, Arrivals, BySpan, Connections, Engine, Finding, Generator, Interval, LARGEST_LOAD, Load, Plan,
    Reconnects, SCHEMA_VERSION, Saturation, Span, Summary, Throttling, Wait,
};

/// Windows that differ by a larger share than this are not from one experiment. Smaller
/// differences come from the generators: one begins late, or takes longer to connect.
const TOLERANCE: f64 = 0.05;

/// The version of generators of different versions.
const MIXED: &str = "mixed";

/// A load, and the name of the file that it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Name of the file, for messages.
    pub name: String,
    /// The load in it.
    pub load: Load,
}

/// The sum of the parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Sum {
    /// One load, as if one generator had made it.
    pub load: Load,
    /// Warnings for a person.
    pub warnings: Vec<String>,
}

impl Part {
    /// Reads the one load that a file holds; `name` is for messages.
    pub fn read(name: impl Into<String>, input: impl Read) -> Result<Part, MergeError> {
        let name = name.into();
        let mut text = Vec::new();
        if let Err(error) = input.take(LARGEST_LOAD + 1).read_to_end(&mut text) {
            return Err(MergeError::Io { name, error });
        }
        if text.len() as u64 > LARGEST_LOAD {
            return Err(MergeError::TooLarge {
                name,
                limit: LARGEST_LOAD,
            });
        }
        if let Err(error) = record::check_version(&text) {
            return Err(MergeError::Version { name, error });
        }
        match serde_json::from_slice(&text) {
            Ok(load) => Ok(Part { name, load }),
            Err(_) if is_several_loads(&text) => Err(MergeError::SeveralLoads { name }),
            Err(error) => Err(MergeError::Syntax { name, error }),
        }
    }
}

fn is_several_loads(text: &[u8]) -> bool {
    let loads = serde_json::Deserializer::from_slice(text).into_iter::<Load>();
    loads.map_while(Result::ok).count() > 1
}

/// Merges loads that several generators put on one server at the same time.
///
/// Rates add, each over its own window; shares of time are weighted by threads, and the CPU per
/// echo by echoes; the window is the longest, and the start the earliest. The sum is valid if
/// all parts are.
pub fn merge(parts: &[Part]) -> Result<Sum, MergeError> {
    if parts.len() < 2 {
        return Err(MergeError::TooFew);
    }
    let held = overlap::held(parts)?;
    let target = same(parts, "target", |load| load.target.clone())?;
    let plan = plan(parts)?;
    let windows = windows(parts)?;
    let histograms = histograms(parts)?;
    let unfinished = unfinished(parts, &histograms)?;
    let intervals = intervals(parts)?;
    let lost = "the loads have different intervals, so the sum has none";
    let warnings = [
        overlap::unknown(parts),
        late(&windows),
        seeds(parts),
        saturated(parts),
        intervals.is_none().then(|| lost.into()),
    ];
    let load = Load {
        schema_version: SCHEMA_VERSION,
        target,
        started_at: parts[first_started(&windows).index].load.started_at.clone(),
        parts: held,
        plan,
        listed_mean_bytes: same(parts, "listed_mean_bytes", |load| load.listed_mean_bytes)?,
        generator: generator(parts),
        window_s: most(parts, |load| load.window_s),
        summary: summary(parts, &histograms, unfinished.as_ref()),
        error_examples: { parts.iter().rev() }
            .flat_map(|part| part.load.error_examples.clone())
            .collect(),
        histograms: histograms.map_measured(Encoded::new),
        unfinished: unfinished.map(|unfinished| unfinished.map_measured(Encoded::new)),
        intervals: intervals.unwrap_or_default(),
    };
    Ok(Sum {
        load,
        warnings: warnings.into_iter().flatten().collect(),
    })
}

/// The plan of all generators together.
fn plan(parts: &[Part]) -> Result<Plan, MergeError> {
    let plans: Vec<_> = parts.iter().map(|part| &part.load.plan).collect();
    record::combine(&plans).map_err(|difference| MergeError::Differ {
        field: format!("plan.{}", difference.field),
        first: parts[0].name.clone(),
        one: difference.first,
        second: parts[difference.index].name.clone(),
        other: difference.other,
    })
}

/// The value of a field in all parts.
fn same<T: PartialEq + Serialize>(
    parts: &[Part],
    field: impl Into<String>,
    of: impl Fn(&Load) -> T,
) -> Result<T, MergeError> {
    let common = of(&parts[0].load);
    let json = |value: &T| serde_json::to_string(value).unwrap_or_default();
    match parts.iter().find(|part| of(&part.load) != common) {
        None => Ok(common),
        Some(other) => Err(MergeError::Differ {
            field: field.into(),
            first: parts[0].name.clone(),
            one: json(&common),
            second: other.name.clone(),
            other: json(&of(&other.load)),
        }),
    }
}

/// The window of a part by the clock of its host, in seconds since the epoch.
struct PartWindow {
    index: usize,
    start_s: f64,
    end_s: f64,
}

/// The windows of the parts, which must overlap and be equally long.
fn windows(parts: &[Part]) -> Result<Vec<PartWindow>, MergeError> {
    let longest = largest(parts, |part| part.load.window_s);
    let shortest = largest(parts, |part| -part.load.window_s);
    if !near(shortest.load.window_s, longest.load.window_s) {
        return Err(MergeError::Windows {
            first: shortest.name.clone(),
            one: shortest.load.window_s,
            second: longest.name.clone(),
            other: longest.load.window_s,
        });
    }
    let windows = (0..).zip(parts).map(|(index, part)| window(index, part));
    let windows = windows.collect::<Result<Vec<_>, _>>()?;
    let (first, last) = (first_ended(&windows), last_started(&windows));
    match first.end_s < last.start_s {
        true => Err(MergeError::Apart {
            first: parts[first.index].name.clone(),
            second: parts[last.index].name.clone(),
        }),
        false => Ok(windows),
    }
}

fn window(index: usize, part: &Part) -> Result<PartWindow, MergeError> {
    let load = &part.load;
    let started = humantime::parse_rfc3339(&load.started_at).map_err(|_| MergeError::Time {
        name: part.name.clone(),
        started_at: load.started_at.clone(),
    })?;
    let since_epoch = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    let start_s = since_epoch.as_secs_f64() + load.plan.warmup.seconds();
    Ok(PartWindow {
        index,
        start_s,
        end_s: start_s + load.window_s,
    })
}

fn first_started(windows: &[PartWindow]) -> &PartWindow {
    largest(windows, |window| -window.start_s)
}

fn last_started(windows: &[PartWindow]) -> &PartWindow {
    largest(windows, |window| window.start_s)
}

fn first_ended(windows: &[PartWindow]) -> &PartWindow {
    largest(windows, |window| -window.end_s)
}

/// Whether two lengths may be from one experiment.
fn near(one: f64, other: f64) -> bool {
    (one - other).abs() <= TOLERANCE * one.max(other)
}

/// The histograms of all parts together, of the spans that all of them measured.
fn histograms(parts: &[Part]) -> Result<BySpan<Option<Histogram>>, MergeError> {
    let mut sums = BySpan::from_fn(|_| None);
    for span in Span::ALL {
        let field = format!("histograms.{span} (whether it was measured)");
        if same(parts, field, |load| load.histograms[span].is_some())? {
            sums[span] = Some(add(parts, |load| load.histograms[span].as_ref())?);
        }
    }
    Ok(sums)
}

/// The latencies of all parts together that had not ended, of the same spans; `None` if there are none.
fn unfinished(
    parts: &[Part],
    measured: &BySpan<Option<Histogram>>,
) -> Result<Option<BySpan<Option<Histogram>>>, MergeError> {
    if parts.iter().all(|part| part.load.unfinished.is_none()) {
        return Ok(None);
    }
    let mut sums = BySpan::from_fn(|_| None);
    for (span, _) in measured.measured() {
        sums[span] = Some(add(parts, |load| load.unfinished(span))?);
    }
    Ok(Some(sums))
}

/// The sum of one histogram of each part.
fn add<'a>(parts: &'a [Part], of: impl Fn(&'a Load) -> Option<&'a Encoded>) -> Result<Histogram, MergeError> {
    let mut sum = histogram::empty();
    for part in parts {
        let Some(encoded) = of(&part.load) else { continue };
        sum += encoded.decode().map_err(|error| MergeError::Histogram {
            name: part.name.clone(),
            error,
        })?;
    }
    Ok(sum)
}

/// The intervals by their place in the window; `None` if the parts have different intervals.
fn intervals(parts: &[Part]) -> Result<Option<Vec<Interval>>, MergeError> {
    let first = &parts[0].load.intervals;
    let as_first = |part: &Part| {
        let intervals = &part.load.intervals;
        let mut pairs = first.iter().zip(intervals);
        first.len() == intervals.len() && pairs.all(|(one, other)| near(one.duration_s, other.duration_s))
    };
    if !parts.iter().all(as_first) {
        return Ok(None);
    }
    let sum = first.iter().enumerate().map(|(index, interval)| {
        let latency = add(parts, |load| Some(&load.intervals[index].latency))?;
        Ok(Interval {
            start_s: interval.start_s,
            duration_s: interval.duration_s,
            echoes: count(parts, |load| load.intervals[index].echoes),
            latency: Encoded::new(&latency),
            reconnects: count(parts, |load| load.intervals[index].reconnects),
        })
    });
    sum.collect::<Result<_, _>>().map(Some)
}

/// All generators as one.
fn generator(parts: &[Part]) -> Generator {
    let generators = || parts.iter().map(|part| &part.load.generator);
    let by_threads = |of: fn(&Generator) -> f64| {
        mean(parts, |load| {
            Some((of(&load.generator), load.plan.threads() as f64))
        })
        .unwrap_or_default()
    };
    Generator {
        version: common(
            generators().map(|generator| generator.version.clone()),
            MIXED.into(),
        ),
        engine: common(generators().map(|generator| generator.engine), Engine::Mixed),
        wait: common(generators().map(|generator| generator.wait), Wait::Mixed),
        cpus: { parts.iter() }
            .flat_map(|part| part.load.generator.cpus.clone())
            .collect(),
        utilisation: by_threads(|generator| generator.utilisation),
        kept_waiting: by_threads(|generator| generator.kept_waiting),
        involuntary_switches: count(parts, |load| load.generator.involuntary_switches),
        steal: { parts.iter() }
            .filter_map(|part| part.load.generator.steal)
            .max_by(f64::total_cmp),
        throttling: throttling(parts),
    }
}

/// What the quotas of all generators did, if any has one.
fn throttling(parts: &[Part]) -> Option<Throttling> {
    let all = || { parts.iter() }.filter_map(|part| part.load.generator.throttling);
    let sum = |of: fn(Throttling) -> u64| all().fold(0, |sum: u64, one| sum.saturating_add(of(one)));
    Some(Throttling {
        quota: all().map(|one| one.quota).min_by(f64::total_cmp)?,
        periods: sum(|one| one.periods),
        throttled_periods: sum(|one| one.throttled_periods),
        throttled_s: all().map(|one| one.throttled_s).sum(),
        share: mean(parts, |load| {
            Some((load.generator.throttled(), load.plan.threads() as f64))
        })?,
    })
}

/// The value that all generators have, or the one that stands for a mixture.
fn common<T: PartialEq>(mut values: impl Iterator<Item = T>, mixed: T) -> T {
    let first = values.next().expect("there are two or more");
    if values.all(|value| value == first) {
        first
    } else {
        mixed
    }
}

fn summary(
    parts: &[Part],
    histograms: &BySpan<Option<Histogram>>,
    unfinished: Option<&BySpan<Option<Histogram>>>,
) -> Summary {
    let quantiles = |span| {
        let unfinished = unfinished.and_then(|unfinished| unfinished[span].as_ref());
        Some(Quantiles::with_unfinished(histograms[span].as_ref()?, unfinished))
    };
    let every = |of: fn(&Summary) -> Option<f64>| parts.iter().map(|part| of(&part.load.summary)).sum();
    let connections = |of: fn(&Connections) -> u64| count(parts, |load| of(&load.summary.connections));
    let mut errors = BTreeMap::new();
    for (&kind, &number) in parts.iter().flat_map(|part| &part.load.summary.errors) {
        let sum: &mut u64 = errors.entry(kind).or_default();
        *sum = sum.saturating_add(number);
    }
    let findings = parts.iter().flat_map(|part| {
        part.load.summary.findings.iter().map(|found| Finding::OfPart {
            part: part.name.clone(),
            found: Box::new(found.clone()),
        })
    });
    Summary {
        echoes_per_s: total(parts, |load| load.summary.echoes_per_s),
        offered_per_s: every(|summary| summary.offered_per_s),
        echoes: count(parts, |load| load.summary.echoes),
        latencies: BySpan::from_fn(quantiles),
        connections_per_s: every(|summary| summary.connections_per_s),
        unanswered: count(parts, |load| load.summary.unanswered),
        reconnects: reconnects(parts),
        connections: Connections {
            asked: connections(|connections| connections.asked),
            open: connections(|connections| connections.open),
            answered: connections(|connections| connections.answered),
            idle: connections(|connections| connections.idle),
            never_served: connections(|connections| connections.never_served),
        },
        errors,
        cpu_us_per_echo: mean(parts, |load| {
            Some((load.summary.cpu_us_per_echo?, load.summary.echoes as f64))
        }),
        findings: findings.collect(),
    }
}

/// The lost connections of all parts; `None` if no part opens connections again.
fn reconnects(parts: &[Part]) -> Option<Reconnects> {
    let each = { parts.iter() }.filter_map(|part| part.load.summary.reconnects);
    each.reduce(|sum, part| Reconnects {
        lost: sum.lost.saturating_add(part.lost),
        reopened: sum.reopened.saturating_add(part.reopened),
        failed_attempts: sum.failed_attempts.saturating_add(part.failed_attempts),
        messages_lost: sum.messages_lost.saturating_add(part.messages_lost),
        longest_s: sum.longest_s.max(part.longest_s),
    })
}

/// Windows that overlap only in part never have the sum of their rates at one time.
fn late(windows: &[PartWindow]) -> Option<String> {
    let (first, last) = (first_started(windows).start_s, last_started(windows).start_s);
    let common_s = first_ended(windows).end_s - last;
    let length_s = common_s + last - first;
    (!near(common_s, length_s)).then(|| {
        format!(
            "the windows begin {:.1} s apart, by the generators' clocks, so the loads did not run at the same time \
             throughout; start all generators at the same time",
            last - first
        )
    })
}

/// Schedules drawn with the same seed are equal, and not independent.
fn seeds(parts: &[Part]) -> Option<String> {
    let drawn = |part: &Part| part.load.plan.arrivals() == Some(Arrivals::Poisson);
    let seed = |part: &Part| part.load.plan.seed;
    let repeated = |index: usize| {
        parts[..index]
            .iter()
            .any(|part| seed(part) == seed(&parts[index]))
    };
    let twin = (0..parts.len()).find(|&index| drawn(&parts[index]) && repeated(index))?;
    Some(format!(
        "more than one generator drew its schedule with seed {}, so their messages were due at the same times; give \
         each a --seed of its own",
        seed(&parts[twin])
    ))
}

/// The mean utilisation may hide a generator that was saturated.
fn saturated(parts: &[Part]) -> Option<String> {
    let busy = parts
        .iter()
        .filter(|part| part.load.generator.saturation() == Saturation::Full);
    let names = busy.map(|part| part.name.as_str()).collect::<Vec<_>>();
    (!names.is_empty()).then(|| {
        format!(
            "saturated generators: {}; the server may be faster than the sum",
            names.join(", ")
        )
    })
}

fn largest<T>(items: &[T], of: impl Fn(&T) -> f64) -> &T {
    let order = |one: &&T, other: &&T| of(one).total_cmp(&of(other));
    items.iter().max_by(order).expect("there are two parts or more")
}

fn most(parts: &[Part], of: impl Fn(&Load) -> f64) -> f64 {
    of(&largest(parts, |part| of(&part.load)).load)
}

fn total(parts: &[Part], of: impl Fn(&Load) -> f64) -> f64 {
    parts.iter().map(|part| of(&part.load)).sum()
}

/// A sum that does not overflow, whatever a file holds.
fn count(parts: &[Part], of: impl Fn(&Load) -> u64) -> u64 {
    parts
        .iter()
        .fold(0, |sum, part| sum.saturating_add(of(&part.load)))
}

/// The weighted mean of a value, over the parts that have it.
fn mean(parts: &[Part], of: impl Fn(&Load) -> Option<(f64, f64)>) -> Option<f64> {
    let weighted = parts.iter().filter_map(|part| of(&part.load));
    let (sum, weight) = weighted.fold((0.0, 0.0), |(sum, all), (value, weight)| {
        (sum + value * weight, all + weight)
    });
    (weight > 0.0).then(|| sum / weight)
}
