//! Percentiles of latency over log 1/(1-p): what an average hides.

use plotters::style::text_anchor::HPos;
use record::histogram::{self, Censored, Histogram};
use record::numbers::{micros, micros_tick};
use record::{LoopKind, Outcome, Span};

use super::axis::{Axis, Scale};
use super::caption::{Caption, Named};
use super::figure::{Absent, Data, Error, Figure, Missing, Panel, Table};
use super::label;
use super::plot::{LABEL_GAP, Margins, Plot, cut, text_width};
use super::style::INK;
use crate::metrics::P99;
use crate::row::{Basis, Row};
use crate::scenario::ScenarioSummary;

/// Points of a curve per decade of 1/(1-p): enough for a smooth curve at its size.
const STEPS: u32 = 8;

/// The labelled percentiles: the share of answers beyond each, and its name.
const NAMED: [(f64, &str); 7] = [
    (1.0, "0"),
    (0.5, "50"),
    (0.1, "90"),
    (0.01, "99"),
    (0.001, "99.9"),
    (1e-4, "99.99"),
    (1e-5, "99.999"),
];

/// The latencies of one server over its trials, for drawing only: the verdict compares the
/// quantiles of single trials.
struct Curve<'a> {
    row: &'a Row,
    /// The share of samples beyond, and the latency in microseconds.
    points: Vec<(f64, f64)>,
    /// The latencies at [`NAMED`].
    named: Vec<Option<f64>>,
}

/// Draws the figure.
pub fn draw(data: &Data<'_>) -> Result<Option<Figure>, Error> {
    let mut panels = Vec::new();
    let mut absent = Vec::new();
    let mut rows = Vec::new();
    for scenario in &data.summary.scenarios {
        let curves = curves(data, scenario)?;
        let (drawn, empty): (Vec<_>, Vec<_>) = curves.into_iter().partition(|curve| curve.points.len() > 1);
        absent.extend(empty.iter().map(|curve| Absent {
            scenario: scenario.name.clone(),
            server: curve.row.server.clone(),
            cause: Missing::Answers,
        }));
        rows.extend(drawn.iter().map(|curve| table_row(scenario, curve)));
        if !drawn.is_empty() {
            panels.push(Panel {
                title: scenario.title.clone(),
                scenarios: vec![scenario.name.clone()],
                class: "small",
                svg: panel(data, scenario, &drawn)?,
            });
        }
    }
    if panels.is_empty() {
        return Ok(None);
    }
    let head = ["Scenario", "Server"].map(str::to_owned).into_iter();
    let head = head
        .chain(NAMED[1..].iter().map(|(_, name)| format!("p{name}")))
        .collect();
    Ok(Some(Figure {
        id: "percentiles",
        title: "Percentiles of latency",
        caption: caption(&data.summary.scenarios),
        reading: "Equal steps to the right, as from p90 to p99 and from p99 to p99.9, divide the share of slower answers \
                  by ten. A line ends where fewer than ten answers are slower, or where messages without an answer \
                  could raise it. The trials of a server are merged \
                  for this figure only.",
        panels,
        absent,
        table: Table { head, rows },
    }))
}

fn curves<'a>(data: &Data<'_>, scenario: &'a ScenarioSummary) -> Result<Vec<Curve<'a>>, Error> {
    scenario
        .measured()
        .map(|row| {
            let (ended, unfinished) = merged(data, scenario, row)?;
            let latencies = Censored::new(&ended, Some(&unfinished));
            let at = |beyond: f64| {
                let known = latencies.quantile(1.0 - beyond)?;
                known.is_exact().then(|| known.value().max(1.0) / 1e3)
            };
            let shares = (0..).map(|step| 10f64.powf(-f64::from(step) / f64::from(STEPS)));
            let points = shares.map_while(|beyond| Some((beyond, at(beyond)?))).collect();
            let named = NAMED.iter().map(|(beyond, _)| at(*beyond)).collect();
            Ok(Curve { row, points, named })
        })
        .collect()
}

/// The latencies of the trials that the row rests on: those that have ended, and those that have not.
fn merged(data: &Data<'_>, scenario: &ScenarioSummary, row: &Row) -> Result<(Histogram, Histogram), Error> {
    let (mut ended, mut unfinished) = (histogram::empty(), histogram::empty());
    let own = data
        .trials
        .iter()
        .filter(|trial| trial.server == row.server && trial.scenario == scenario.name);
    for trial in own {
        let Outcome::Measured { load, .. } = &trial.outcome else {
            continue;
        };
        if row.basis == Basis::Valid && !load.summary.is_valid() {
            continue;
        }
        let place = || format!("{} in block {} of {}", trial.server, trial.block, trial.scenario);
        let main_unfinished = load.unfinished.as_ref().and_then(|unfinished| unfinished.main());
        for (sum, encoded) in [
            (&mut ended, load.histograms.main()),
            (&mut unfinished, main_unfinished),
        ] {
            let Some(encoded) = encoded else { continue };
            let one = encoded.decode().map_err(|error| Error::Histogram {
                place: place(),
                error,
            })?;
            sum.add(one).map_err(|_| Error::Merge(place()))?;
        }
    }
    Ok((ended, unfinished))
}

fn panel(data: &Data<'_>, scenario: &ScenarioSummary, curves: &[Curve<'_>]) -> Result<String, Error> {
    let mut plot = frame(latency(scenario), curves)?;
    let end = |curve: &Curve<'_>| curve.points.last().copied().unwrap_or((1.0, 0.0));
    let ends: Vec<f64> = curves
        .iter()
        .map(|curve| plot.at(1.0 / end(curve).0, end(curve).1).1)
        .collect();
    let (top, bottom) = plot.vertical();
    for (curve, height) in curves.iter().zip(label::spread(&ends, LABEL_GAP, top, bottom)) {
        series(data, &mut plot, curve, height)?;
    }
    Ok(plot.svg())
}

/// The latency that a load is judged by.
fn latency(scenario: &ScenarioSummary) -> Span {
    match scenario.plan.loop_kind() {
        LoopKind::Closed => Span::Service,
        LoopKind::Open | LoopKind::PartlyOpen => Span::Response,
    }
}

fn frame(latency: Span, curves: &[Curve<'_>]) -> Result<Plot, Error> {
    let points = || curves.iter().flat_map(|curve| curve.points.iter());
    let fewest_beyond = points().map(|point| point.0).fold(1.0, f64::min);
    let lowest = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    let longest = curves
        .iter()
        .map(|curve| text_width(&cut(&curve.row.server)))
        .fold(0.0, f64::max);
    let ticks = NAMED[1..]
        .iter()
        .filter(|(beyond, _)| *beyond >= fewest_beyond * 0.999);
    let ticks = ticks
        .map(|(beyond, name)| (1.0 / beyond, (*name).to_owned()))
        .collect();
    let x = Axis::with_ticks(1.0, 1.0 / fewest_beyond, Scale::Log, ticks, "percentile");
    let label = format!("{} (log scale)", latency.label());
    let y = Axis::log(lowest, highest, &label, micros_tick);
    let margins = Margins {
        top: 28.0,
        right: longest + 34.0,
        bottom: 46.0,
        left: 58.0,
    };
    let height = (curves.len() as f64 * LABEL_GAP + 90.0).max(320.0);
    let mut plot = Plot::new(400.0, height, margins, x, y);
    plot.frame()?;
    Ok(plot)
}

fn series(data: &Data<'_>, plot: &mut Plot, curve: &Curve<'_>, label: f64) -> Result<(), Error> {
    let style = data.styles.style(&curve.row.server);
    let places: Vec<(f64, f64)> = curve
        .points
        .iter()
        .map(|(beyond, micros)| plot.at(1.0 / beyond, *micros))
        .collect();
    plot.series(
        &curve.row.server,
        &format!("{} ({})", curve.row.server, curve.row.family),
        style.dash(),
        |pen, _| pen.line(&places, style.color(), 1.6),
        |pen, plot| {
            for ((beyond, _), micros) in NAMED.iter().zip(&curve.named).skip(1) {
                if let Some(micros) = micros {
                    pen.mark(
                        plot.at(1.0 / beyond, *micros),
                        style,
                        curve.row.left_out.is_some(),
                    )?;
                }
            }
            let start = plot.right() + 14.0;
            if let Some(&(x, y)) = places.last() {
                pen.line(&[(x + 2.0, y), (start - 3.0, label)], style.color(), 0.6)?;
            }
            pen.text(&cut(&curve.row.server), (start, label), HPos::Left, INK)
        },
    )
}

fn table_row(scenario: &ScenarioSummary, curve: &Curve<'_>) -> Vec<String> {
    let numbers = curve.named[1..]
        .iter()
        .map(|latency| latency.map_or("–".into(), micros));
    [scenario.name.clone(), curve.row.server.clone()]
        .into_iter()
        .chain(numbers)
        .collect()
}

fn caption(scenarios: &[ScenarioSummary]) -> Caption {
    let spans = scenarios.iter().filter_map(|scenario| {
        let judged = scenario
            .measured()
            .filter(|row| row.left_out.is_none() && row.withheld.is_none());
        let named = |row: &Row| {
            Some(Named {
                server: row.server.clone(),
                micros: row.numbers.get(P99).filter(|p99| !p99.at_least)?.value,
            })
        };
        Some((scenario, Named::ends(judged.filter_map(named))?))
    });
    let ratio = |(lowest, highest): &(Named, Named)| highest.micros / lowest.micros;
    let widest = spans.max_by(|a, b| ratio(&a.1).total_cmp(&ratio(&b.1)));
    widest.map_or(Caption::NoPercentiles, |(scenario, (lowest, highest))| {
        Caption::Percentiles {
            scenario: scenario.name.clone(),
            lowest,
            highest,
        }
    })
}
