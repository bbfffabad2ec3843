//! CPU time per echo: the cost of a model under load.

use plotters::style::text_anchor::HPos;
use record::numbers::{number, short};

use super::axis::{Axis, Scale};
use super::caption::{Caption, Named};
use super::figure::{Absent, Data, Error, Figure, Missing, Panel, Table};
use super::plot::{Margins, Plot, cut, text_width};
use super::style::{GRID, INK, MUTED};
use crate::format;
use crate::metrics::CPU;
use crate::row::Row;
use crate::scenario::ScenarioSummary;
use crate::stats::Estimate;
use crate::workload;

/// Height of a row.
const ROW: f64 = 22.0;

/// From this ratio of largest to smallest on, the axis is logarithmic: on a linear one most
/// servers would share its first twentieth.
const LOG_FROM: f64 = 20.0;

/// Draws the figure.
pub fn draw(data: &Data<'_>) -> Result<Option<Figure>, Error> {
    let known = |row: &&Row| row.numbers.contains_key(CPU);
    let scenarios: Vec<&ScenarioSummary> = data.summary.scenarios.iter().collect();
    let (Some(_), Some(caption)) = (estimates(&scenarios).next(), caption(&scenarios)) else {
        return Ok(None);
    };
    let axis = axis(&scenarios);
    let mut panels = Vec::new();
    let mut absent = Vec::new();
    for scenario in &scenarios {
        let (rows, without): (Vec<&Row>, Vec<&Row>) = scenario.measured().partition(known);
        absent.extend(without.iter().map(|row| Absent {
            scenario: scenario.name.clone(),
            server: row.server.clone(),
            cause: row.unmetered.map_or(Missing::Echoes, Missing::Cost),
        }));
        if rows.is_empty() {
            continue;
        }
        panels.push(Panel {
            title: scenario.title.clone(),
            scenarios: vec![scenario.name.clone()],
            class: "small",
            svg: panel(data, &rows, &axis)?,
        });
    }
    Ok(Some(Figure {
        id: "cpu",
        title: "CPU time per echo",
        caption,
        reading: "User and system time of the server's process tree, divided by echoes; less is better. Whiskers show \
                  the 99% interval over trials. All panels have the same axis.",
        panels,
        absent,
        table: table(&scenarios),
    }))
}

fn estimates<'a>(scenarios: &[&'a ScenarioSummary]) -> impl Iterator<Item = &'a Estimate> {
    scenarios
        .iter()
        .flat_map(|scenario| scenario.measured())
        .filter_map(|row| row.numbers.get(CPU))
}

/// One axis for all panels, to make them comparable.
fn axis(scenarios: &[&ScenarioSummary]) -> Axis {
    let highest = estimates(scenarios)
        .map(|estimate| {
            estimate
                .interval
                .map_or(estimate.value, |ends| ends.high.min(estimate.value * 2.0))
        })
        .fold(0.0, f64::max);
    let lowest = estimates(scenarios)
        .map(|estimate| {
            estimate
                .interval
                .map_or(estimate.value, |ends| ends.low.max(estimate.value / 2.0))
        })
        .filter(|value| *value > 0.0)
        .fold(highest, f64::min);
    if highest / lowest >= LOG_FROM {
        return Axis::log(lowest, highest, "µs of CPU per echo (log scale)", short);
    }
    Axis::from_zero(highest, "µs of CPU per echo", short)
}

fn panel(data: &Data<'_>, rows: &[&Row], axis: &Axis) -> Result<String, Error> {
    let longest = rows
        .iter()
        .map(|row| text_width(&cut(&row.server)))
        .fold(0.0, f64::max);
    let margins = Margins {
        top: 8.0,
        right: 54.0,
        bottom: 46.0,
        left: longest + 14.0,
    };
    let height = rows.len() as f64 * ROW + margins.top + margins.bottom;
    let y = Axis::with_ticks(0.0, rows.len() as f64, Scale::Linear, Vec::new(), "");
    let mut plot = Plot::new(400.0, height, margins, axis.clone(), y);
    plot.frame()?;
    for (index, row) in rows.iter().enumerate() {
        let height = (rows.len() - index) as f64 - 0.5;
        series(data, &mut plot, row, height)?;
    }
    Ok(plot.svg())
}

fn series(data: &Data<'_>, plot: &mut Plot, row: &Row, height: f64) -> Result<(), Error> {
    let Some(estimate) = row.numbers.get(CPU) else {
        return Ok(());
    };
    let style = data.styles.style(&row.server);
    let place = plot.at(estimate.value, height);
    let label = number(estimate.value);
    plot.series(
        &row.server,
        &format!("{} ({}): {label} µs", row.server, row.family),
        0,
        |pen, plot| {
            let start = plot.at(f64::MIN_POSITIVE, height);
            pen.line(&[start, (plot.right(), place.1)], GRID, 1.0)
        },
        |pen, plot| {
            if let Some(ends) = estimate.interval {
                pen.whisker(
                    plot.at(ends.low, height),
                    plot.at(ends.high, height),
                    style.color(),
                )?;
            }
            pen.mark(place, style, row.left_out.is_some())?;
            let left = plot.at(f64::MIN_POSITIVE, height).0;
            pen.text(&cut(&row.server), (left - 8.0, place.1), HPos::Right, INK)?;
            pen.text(&label, (plot.right() + 48.0, place.1), HPos::Right, MUTED)
        },
    )
}

fn caption(scenarios: &[&ScenarioSummary]) -> Option<Caption> {
    let most = scenarios.iter().max_by_key(|scenario| scenario.connections)?;
    let judged = most.measured().filter(|row| row.left_out.is_none());
    let named = |row: &Row| {
        Some(Named {
            server: row.server.clone(),
            micros: row.numbers.get(CPU)?.value,
        })
    };
    Some(Caption::Cpu {
        scenario: most.name.clone(),
        connections: workload::has_connections(&most.plan).then_some(most.connections),
        ends: Named::ends(judged.filter_map(named)),
    })
}

fn table(scenarios: &[&ScenarioSummary]) -> Table {
    let head = ["Scenario", "Server", "CPU per echo (µs)", "99% interval (µs)"];
    let mut rows = Vec::new();
    for scenario in scenarios {
        for row in scenario.measured() {
            let Some(estimate) = row.numbers.get(CPU) else {
                continue;
            };
            rows.push(vec![
                scenario.name.clone(),
                row.server.clone(),
                number(estimate.value),
                estimate
                    .interval
                    .map_or("none".into(), |ends| format::interval(&ends, 1.0)),
            ]);
        }
    }
    Table {
        head: head.map(str::to_owned).into(),
        rows,
    }
}
