//! Loads that ran side by side against one server, added up to one.
//!
//! Counts and rates add; histograms add exactly, since all have the same bounds, and
//! quantiles are read off their sums: an average of quantiles is a quantile of nothing.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::UNIX_EPOCH;

use serde::Serialize;

use record::histogram::{self, DecodeError, Encoded, Histogram, Quantiles};
use record::{
    self, Arrivals, Connections, Engine, Generator, Histograms, Interval, Load, Plan, ReadError,
    SCHEMA_VERSION, Summary, Wait,
};

/// A load is some 100 KB, and a few KB more for each interval: beyond this it is not one.
const LARGEST_FILE: u64 = 64 << 20;

/// Windows that differ by a larger share than this are not those of one experiment. Less is
/// the generators' doing: one begins a little late, or its connections took longer to open.
const TOLERANCE: f64 = 0.05;

/// What a field of the generator says when the generators differ in it.
const MIXED: &str = "mixed";

/// A load, and the name of the file that it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Name of the file, for messages.
    pub name: String,
    /// What it holds.
    pub load: Load,
}

/// What the parts add up to.
#[derive(Debug, Clone, PartialEq)]
pub struct Sum {
    /// One load, as if one generator had made it.
    pub load: Load,
    /// What a person should know about it.
    pub warnings: Vec<String>,
}

/// Why loads cannot be added up; says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Reading failed.
    #[error("cannot read {name}: {error}")]
    Io {
        /// The file.
        name: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is too large to be a load.
    #[error(
        "{name} is larger than {LARGEST_FILE} bytes, so it is not what `loadgen run --format json` printed"
    )]
    TooLarge {
        /// The file.
        name: String,
    },
    /// The file does not hold one load.
    #[error("{name} does not hold one load, as `loadgen run --format json` prints it: {error}")]
    Syntax {
        /// The file.
        name: String,
        /// What the parser said.
        error: serde_json::Error,
    },
    /// The file was written by a newer program.
    #[error("{name}: {error}")]
    Version {
        /// The file.
        name: String,
        /// Which version was found.
        error: ReadError,
    },
    /// A histogram in the file is damaged.
    #[error("{name}: {error}")]
    Histogram {
        /// The file.
        name: String,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The file does not say when the load was made.
    #[error("{name}: it began at `{started_at}`, which is not a time as in 2026-01-01T00:00:00Z")]
    Time {
        /// The file.
        name: String,
        /// What it says instead.
        started_at: String,
    },
    /// There is nothing to add.
    #[error("two loads or more can be added up: give a file for each generator")]
    TooFew,
    /// The same load would be counted twice.
    #[error("{first} and {second} hold the same load, which would be counted twice: give each file once")]
    Twice {
        /// A file.
        first: String,
        /// Another.
        second: String,
    },
    /// The generators did not do the same.
    #[error(
        "the loads differ in {field}: {one} in {first}, {other} in {second}; only the same load on the same server, \
         made by several generators, can be added up"
    )]
    Differ {
        /// The field of the schema.
        field: String,
        /// A file.
        first: String,
        /// What it says.
        one: String,
        /// Another file.
        second: String,
        /// What that says.
        other: String,
    },
    /// The windows are of different lengths.
    #[error(
        "{first} was counted for {one:.2} s and {second} for {other:.2} s: what did not run side by side cannot be \
         added up; start all generators at the same time with the same --duration, and interrupt none"
    )]
    Windows {
        /// A file.
        first: String,
        /// Its window, in seconds.
        one: f64,
        /// Another file.
        second: String,
        /// Its window, in seconds.
        other: f64,
    },
    /// The windows have no moment in common.
    #[error(
        "the window of {first} was over before that of {second} began: what did not run side by side cannot be \
         added up; start all generators at the same time, on hosts whose clocks agree"
    )]
    Apart {
        /// The file whose window ended first.
        first: String,
        /// The file whose window began last.
        second: String,
    },
}

impl Part {
    /// Reads the one load that a file holds; `name` is for messages.
    pub fn read(name: impl Into<String>, input: impl Read) -> Result<Part, MergeError> {
        let name = name.into();
        let mut text = Vec::new();
        if let Err(error) = input.take(LARGEST_FILE + 1).read_to_end(&mut text) {
            return Err(MergeError::Io { name, error });
        }
        if text.len() as u64 > LARGEST_FILE {
            return Err(MergeError::TooLarge { name });
        }
        if let Err(error) = record::check_version(&text) {
            return Err(MergeError::Version { name, error });
        }
        match serde_json::from_slice(&text) {
            Ok(load) => Ok(Part { name, load }),
            Err(error) => Err(MergeError::Syntax { name, error }),
        }
    }
}

/// Adds up loads that several generators put on one server at the same time.
///
/// Where numbers of different kinds meet: rates add, each over its own window; shares of time
/// are weighted by threads, the CPU per echo by echoes; the window is the longest, the begin
/// the earliest. The sum is valid if all parts are.
pub fn merge(parts: &[Part]) -> Result<Sum, MergeError> {
    if parts.len() < 2 {
        return Err(MergeError::TooFew);
    }
    let target = same(parts, "target", |load| load.target.clone())?;
    let plan = plan(parts)?;
    let windows = windows(parts)?;
    let histograms = Latencies::of(parts)?;
    let intervals = intervals(parts)?;
    let lost = "the loads are not cut into the same intervals, so the sum has none";
    let warnings = [
        late(&windows),
        seeds(parts),
        saturated(parts),
        intervals.is_none().then(|| lost.into()),
    ];
    let load = Load {
        schema_version: SCHEMA_VERSION,
        target,
        started_at: parts[first_begun(&windows).index].load.started_at.clone(),
        plan,
        listed_mean_bytes: same(parts, "listed_mean_bytes", |load| load.listed_mean_bytes)?,
        generator: generator(parts),
        window_s: most(parts, |load| load.window_s),
        summary: summary(parts, &histograms),
        error_examples: { parts.iter().rev() }
            .flat_map(|part| part.load.error_examples.clone())
            .collect(),
        histograms: histograms.encode(),
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

/// What all parts say of a field.
fn same<T: PartialEq + Serialize>(
    parts: &[Part],
    field: &'static str,
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

/// When a part was counted, by the clock of its host, in seconds of the epoch.
struct Window {
    index: usize,
    begin_s: f64,
    end_s: f64,
}

/// The windows of parts that were made at the same time and for equally long.
fn windows(parts: &[Part]) -> Result<Vec<Window>, MergeError> {
    for (index, part) in parts.iter().enumerate() {
        if let Some(twin) = parts[..index].iter().find(|twin| twin.load == part.load) {
            return Err(MergeError::Twice {
                first: twin.name.clone(),
                second: part.name.clone(),
            });
        }
    }
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
    let (first, last) = (first_ended(&windows), last_begun(&windows));
    match first.end_s < last.begin_s {
        true => Err(MergeError::Apart {
            first: parts[first.index].name.clone(),
            second: parts[last.index].name.clone(),
        }),
        false => Ok(windows),
    }
}

fn window(index: usize, part: &Part) -> Result<Window, MergeError> {
    let load = &part.load;
    let started = humantime::parse_rfc3339(&load.started_at).map_err(|_| MergeError::Time {
        name: part.name.clone(),
        started_at: load.started_at.clone(),
    })?;
    let since_epoch = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    let begin_s = since_epoch.as_secs_f64() + load.plan.warmup.seconds();
    Ok(Window {
        index,
        begin_s,
        end_s: begin_s + load.window_s,
    })
}

fn first_begun(windows: &[Window]) -> &Window {
    largest(windows, |window| -window.begin_s)
}

fn last_begun(windows: &[Window]) -> &Window {
    largest(windows, |window| window.begin_s)
}

fn first_ended(windows: &[Window]) -> &Window {
    largest(windows, |window| -window.end_s)
}

/// Whether two lengths are those of one experiment.
fn near(one: f64, other: f64) -> bool {
    (one - other).abs() <= TOLERANCE * one.max(other)
}

/// The latencies of all parts together.
struct Latencies {
    service: Histogram,
    response: Option<Histogram>,
    send_lag: Option<Histogram>,
    connect: Option<Histogram>,
    first_byte: Option<Histogram>,
    close: Option<Histogram>,
}

impl Latencies {
    fn of(parts: &[Part]) -> Result<Self, MergeError> {
        type Of = fn(&Histograms) -> &Option<Encoded>;
        let all = |field, of: Of| {
            let any = same(parts, field, |load| of(&load.histograms).is_some())?;
            any.then(|| add(parts, |load| of(&load.histograms).as_ref()))
                .transpose()
        };
        Ok(Latencies {
            service: add(parts, |load| Some(&load.histograms.service))?,
            response: all("histograms.response (whether there is one)", |all| &all.response)?,
            send_lag: all("histograms.send_lag (whether there is one)", |all| &all.send_lag)?,
            connect: all("histograms.connect (whether there is one)", |all| &all.connect)?,
            first_byte: all("histograms.first_byte (whether there is one)", |all| {
                &all.first_byte
            })?,
            close: all("histograms.close (whether there is one)", |all| &all.close)?,
        })
    }

    fn encode(&self) -> Histograms {
        let encode = |histogram: &Option<Histogram>| histogram.as_ref().map(Encoded::new);
        Histograms {
            service: Encoded::new(&self.service),
            response: encode(&self.response),
            send_lag: encode(&self.send_lag),
            connect: encode(&self.connect),
            first_byte: encode(&self.first_byte),
            close: encode(&self.close),
        }
    }
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

/// The intervals by their place in the window; `None` where the parts are cut differently.
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
    }
}

/// What all generators have in common, or what stands for a mixture.
fn common<T: PartialEq>(mut values: impl Iterator<Item = T>, mixed: T) -> T {
    let first = values.next().expect("there are two or more");
    if values.all(|value| value == first) {
        first
    } else {
        mixed
    }
}

fn summary(parts: &[Part], latencies: &Latencies) -> Summary {
    let quantiles = |histogram: &Option<Histogram>| histogram.as_ref().map(Quantiles::of);
    let every = |of: fn(&Summary) -> Option<f64>| parts.iter().map(|part| of(&part.load.summary)).sum();
    let connections = |of: fn(&Connections) -> u64| count(parts, |load| of(&load.summary.connections));
    let mut errors = BTreeMap::new();
    for (&kind, &number) in parts.iter().flat_map(|part| &part.load.summary.errors) {
        let sum: &mut u64 = errors.entry(kind).or_default();
        *sum = sum.saturating_add(number);
    }
    let withheld = parts.iter().filter_map(|part| {
        let why = part.load.summary.latency_withheld.as_ref()?;
        Some(format!("{}: {why}", part.name))
    });
    let reasons = parts.iter().flat_map(|part| {
        let reasons = part.load.summary.reasons.iter();
        reasons.map(|reason| format!("{}: {reason}", part.name))
    });
    Summary {
        echoes_per_s: total(parts, |load| load.summary.echoes_per_s),
        offered_per_s: every(|summary| summary.offered_per_s),
        echoes: count(parts, |load| load.summary.echoes),
        service_us: Quantiles::of(&latencies.service),
        response_us: quantiles(&latencies.response),
        send_lag_us: quantiles(&latencies.send_lag),
        connect_us: quantiles(&latencies.connect),
        first_byte_us: quantiles(&latencies.first_byte),
        close_us: quantiles(&latencies.close),
        connections_per_s: every(|summary| summary.connections_per_s),
        unanswered: count(parts, |load| load.summary.unanswered),
        latency_withheld: withheld.reduce(|all, next| all + "; " + &next),
        connections: Connections {
            asked: connections(|connections| connections.asked),
            open: connections(|connections| connections.open),
            answered: connections(|connections| connections.answered),
            idle: connections(|connections| connections.idle),
        },
        errors,
        cpu_us_per_echo: mean(parts, |load| {
            Some((load.summary.cpu_us_per_echo?, load.summary.echoes as f64))
        }),
        valid: parts.iter().all(|part| part.load.summary.valid),
        reasons: reasons.collect(),
    }
}

/// Rates of windows that overlap in part are never all there at once.
fn late(windows: &[Window]) -> Option<String> {
    let (first, last) = (first_begun(windows).begin_s, last_begun(windows).begin_s);
    let common_s = first_ended(windows).end_s - last;
    let length_s = common_s + last - first;
    (!near(common_s, length_s)).then(|| {
        format!(
            "the windows begin {:.1} s apart, by the generators' clocks: the sum is of loads that were not all there \
             at once; start all generators at the same time",
            last - first
        )
    })
}

/// Schedules that were drawn with the same seed are the same, and not independent.
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

/// The mean of the utilisation may hide a generator that was the bottleneck.
fn saturated(parts: &[Part]) -> Option<String> {
    let busy = parts.iter().filter(|part| part.load.generator.is_saturated());
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
    items.iter().max_by(order).expect("there are two or more")
}

fn most(parts: &[Part], of: impl Fn(&Load) -> f64) -> f64 {
    of(&largest(parts, |part| of(&part.load)).load)
}

fn total(parts: &[Part], of: impl Fn(&Load) -> f64) -> f64 {
    parts.iter().map(|part| of(&part.load)).sum()
}

/// A sum that no file can make overflow.
fn count(parts: &[Part], of: impl Fn(&Load) -> u64) -> u64 {
    parts
        .iter()
        .fold(0, |sum, part| sum.saturating_add(of(&part.load)))
}

/// The mean of values with their weights, over the parts that have one.
fn mean(parts: &[Part], of: impl Fn(&Load) -> Option<(f64, f64)>) -> Option<f64> {
    let weighted = parts.iter().filter_map(|part| of(&part.load));
    let (sum, weight) = weighted.fold((0.0, 0.0), |(sum, all), (value, weight)| {
        (sum + value * weight, all + weight)
    });
    (weight > 0.0).then(|| sum / weight)
}
