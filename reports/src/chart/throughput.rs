//! Throughput over connections: where a model stops scaling.

use std::collections::BTreeMap;

use plotters::style::text_anchor::HPos;
use record::numbers::{number, short, thousands};

use super::axis::{Axis, Scale};
use super::caption::Caption;
use super::figure::{Absent, Data, Error, Figure, Missing, Panel, Table};
use super::label;
use super::plot::{LABEL_GAP, Margins, Plot, cut, text_width};
use super::style::INK;
use crate::format;
use crate::metrics::ECHOES;
use crate::row::Row;
use crate::scenario::ScenarioSummary;
use crate::workload;

/// The scenarios of one panel: they differ only in the number of connections.
type Group<'a> = Vec<&'a ScenarioSummary>;

/// One server at one number of connections.
struct Point<'a> {
    connections: f64,
    row: &'a Row,
}

/// Draws the figure.
pub fn draw(data: &Data<'_>) -> Result<Option<Figure>, Error> {
    let groups = groups(&data.summary.scenarios);
    let mut panels = Vec::new();
    for group in &groups {
        let title = match (groups.len(), group.first()) {
            (2.., Some(first)) => capitalised(&workload::messages(&first.plan, &first.setup)),
            _ => String::new(),
        };
        for (class, width) in [("wide", 760.0), ("narrow", 340.0)] {
            let svg = panel(data, group, width)?;
            panels.push(Panel {
                title: title.clone(),
                scenarios: group.iter().map(|scenario| scenario.name.clone()).collect(),
                class,
                svg,
            });
        }
    }
    let (false, Some(caption)) = (panels.is_empty(), caption(&data.summary.scenarios)) else {
        return Ok(None);
    };
    Ok(Some(Figure {
        id: "throughput",
        title: "Throughput over connections",
        caption,
        reading: "Points show the geometric mean over trials, whiskers the 99% interval.",
        panels,
        absent: absent(&data.summary.scenarios),
        table: table(&groups),
    }))
}

/// Groups of scenarios that differ only in connections, each number of connections once.
fn groups(scenarios: &[ScenarioSummary]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for scenario in scenarios
        .iter()
        .filter(|scenario| workload::has_connections(&scenario.plan))
        .filter(|scenario| scenario.measured().next().is_some())
    {
        let fits = |group: &&mut Group<'_>| {
            let mut others = group.iter();
            others.all(|other| {
                workload::differ_in_connections(
                    (&other.plan, &other.setup),
                    (&scenario.plan, &scenario.setup),
                )
            })
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(scenario),
            None => groups.push(vec![scenario]),
        }
    }
    for group in &mut groups {
        group.sort_by_key(|scenario| scenario.connections);
    }
    groups
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}

/// The servers of scenarios that the figure does not show.
fn absent(scenarios: &[ScenarioSummary]) -> Vec<Absent> {
    let others = scenarios
        .iter()
        .filter(|scenario| !workload::has_connections(&scenario.plan));
    others
        .flat_map(|scenario| {
            scenario.measured().map(|row| Absent {
                scenario: scenario.name.clone(),
                server: row.server.clone(),
                cause: Missing::Connections,
            })
        })
        .collect()
}

fn lines<'a>(data: &'a Data<'_>, group: &Group<'a>) -> Vec<(&'a str, Vec<Point<'a>>)> {
    let mut lines: BTreeMap<&str, Vec<Point<'_>>> = BTreeMap::new();
    for scenario in group {
        for row in scenario.measured().filter(|row| row.numbers.contains_key(ECHOES)) {
            let connections = scenario.connections.max(1) as f64;
            lines
                .entry(&row.server)
                .or_default()
                .push(Point { connections, row });
        }
    }
    let names = data.summary.servers.iter().map(|server| server.name.as_str());
    names.filter_map(|name| lines.remove_entry(name)).collect()
}

fn panel(data: &Data<'_>, group: &Group<'_>, width: f64) -> Result<String, Error> {
    let lines = lines(data, group);
    let mut plot = frame(group, &lines, width)?;
    let ends: Vec<f64> = lines
        .iter()
        .filter_map(|(_, points)| points.last())
        .map(|last| plot.at(last.connections, echoes(last.row)).1)
        .collect();
    let (top, bottom) = plot.vertical();
    let labels = label::spread(&ends, LABEL_GAP, top, bottom);
    for ((name, points), height) in lines.iter().zip(labels) {
        series(data, &mut plot, name, points, height)?;
    }
    Ok(plot.svg())
}

fn frame(group: &Group<'_>, lines: &[(&str, Vec<Point<'_>>)], width: f64) -> Result<Plot, Error> {
    let rows = || {
        lines
            .iter()
            .flat_map(|(_, points)| points.iter().map(|point| point.row))
    };
    let highest = rows().map(highest).fold(0.0, f64::max);
    let longest = lines
        .iter()
        .map(|(name, _)| text_width(&cut(name)))
        .fold(0.0, f64::max);
    let ticks = group.iter().map(|scenario| scenario.connections.max(1));
    let ticks: Vec<(f64, String)> = ticks.map(|count| (count as f64, short(count as f64))).collect();
    let (first, last) = (
        ticks.first().map_or(1.0, |tick| tick.0),
        ticks.last().map_or(1.0, |tick| tick.0),
    );
    let x = Axis::with_ticks(
        first / 1.25,
        last * 1.25,
        Scale::Log,
        ticks,
        "connections (log scale)",
    );
    let y = Axis::from_zero(highest, "echoes per second", short);
    let margins = Margins {
        top: 28.0,
        right: longest + 34.0,
        bottom: 46.0,
        left: 48.0,
    };
    // Room for the label of every line.
    let height = (lines.len() as f64 * LABEL_GAP + 90.0).max(380.0);
    let mut plot = Plot::new(width, height, margins, x, y);
    plot.frame()?;
    Ok(plot)
}

fn series(
    data: &Data<'_>,
    plot: &mut Plot,
    name: &str,
    points: &[Point<'_>],
    label: f64,
) -> Result<(), Error> {
    let style = data.styles.style(name);
    let color = style.color();
    let places: Vec<(f64, f64)> = points
        .iter()
        .map(|point| plot.at(point.connections, echoes(point.row)))
        .collect();
    let family = points.first().map_or("", |point| point.row.family.as_str());
    plot.series(
        name,
        &format!("{name} ({family})"),
        style.dash(),
        |pen, _| pen.line(&places, color, 1.8),
        |pen, plot| {
            for (point, &place) in points.iter().zip(&places) {
                if let Some(ends) = point
                    .row
                    .numbers
                    .get(ECHOES)
                    .and_then(|estimate| estimate.interval)
                {
                    let (low, high) = (
                        plot.at(point.connections, ends.low),
                        plot.at(point.connections, ends.high),
                    );
                    pen.whisker(low, high, color)?;
                }
                pen.mark(place, style, point.row.left_out.is_some())?;
            }
            let start = plot.right() + 14.0;
            if let Some(&(x, y)) = places.last() {
                pen.line(&[(x + 6.0, y), (start - 3.0, label)], color, 0.6)?;
            }
            pen.text(&cut(name), (start, label), HPos::Left, INK)
        },
    )
}

fn echoes(row: &Row) -> f64 {
    row.numbers.get(ECHOES).map_or(0.0, |estimate| estimate.value)
}

/// The top of a whisker. With two blocks it can be extremely long; it is cut at twice the point,
/// so that the other lines stay readable.
fn highest(row: &Row) -> f64 {
    row.numbers.get(ECHOES).map_or(0.0, |estimate| {
        let high = estimate.interval.map_or(estimate.value, |ends| ends.high);
        high.min(estimate.value * 2.0)
    })
}

fn caption(scenarios: &[ScenarioSummary]) -> Option<Caption> {
    let most = scenarios
        .iter()
        .filter(|scenario| workload::has_connections(&scenario.plan))
        .filter(|scenario| scenario.measured().next().is_some())
        .max_by_key(|scenario| scenario.connections)?;
    let verdict = most.verdicts.iter().find(|verdict| verdict.metric == ECHOES)?;
    let value = |name: &String| most.rows.iter().find(|row| row.server == *name).map(echoes);
    let starving = most
        .measured()
        .filter(|row| row.connections.is_some_and(|reach| !reach.all()))
        .map(|row| row.server.clone());
    Some(Caption::Throughput {
        connections: most.connections,
        decision: verdict.decision,
        leaders: verdict.leaders.clone(),
        echoes_per_s: verdict.leaders.first().and_then(value).unwrap_or(0.0),
        starving: starving.collect(),
    })
}

fn table(groups: &[Group<'_>]) -> Table {
    let head = [
        "Connections",
        "Load",
        "Server",
        "Echoes per second",
        "99% interval",
        "Connections answered",
    ];
    let mut rows = Vec::new();
    for scenario in groups.iter().flatten() {
        for row in scenario.measured() {
            let Some(estimate) = row.numbers.get(ECHOES) else {
                continue;
            };
            rows.push(vec![
                thousands(scenario.connections as f64),
                capitalised(&workload::messages(&scenario.plan, &scenario.setup)),
                row.server.clone(),
                number(estimate.value),
                estimate
                    .interval
                    .map_or("none".into(), |ends| format::interval(&ends, 1.0)),
                row.connections.map_or(String::new(), |reach| reach.to_string()),
            ]);
        }
    }
    Table {
        head: head.map(str::to_owned).into(),
        rows,
    }
}
