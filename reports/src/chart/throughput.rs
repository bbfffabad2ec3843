//! Throughput against connections: where a model stops scaling.

use std::collections::BTreeMap;

use plotters::style::text_anchor::HPos;

use super::axis::{Axis, Scale};
use super::label;
use super::plot::{LABEL_GAP, Margins, Plot, cut, text_width};
use super::{Data, Error, Figure, Panel, Table};
use crate::format;
use crate::measure::ECHOES;
use crate::summary::{Row, ScenarioSummary};
use crate::verdict::Decision;

/// The scenarios of one panel: they differ in the number of connections alone.
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
        let caption = match (groups.len(), group.first()) {
            (2.., Some(first)) => format!("Messages of {}", format::bytes(first.message_bytes)),
            _ => String::new(),
        };
        for (class, width) in [("wide", 760.0), ("narrow", 340.0)] {
            let svg = panel(data, group, width)?;
            panels.push(Panel {
                caption: caption.clone(),
                scenarios: group.iter().map(|scenario| scenario.name.clone()).collect(),
                class,
                svg,
            });
        }
    }
    if panels.is_empty() {
        return Ok(None);
    }
    Ok(Some(Figure {
        id: "throughput",
        title: "Throughput against connections",
        finding: finding(&data.summary.scenarios),
        reading: "Each point is the geometric mean over trials, its whisker the 99% interval.",
        panels,
        absent: Vec::new(),
        table: table(&groups),
    }))
}

/// Scenarios with the same messages, each number of connections once.
fn groups(scenarios: &[ScenarioSummary]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for scenario in scenarios
        .iter()
        .filter(|scenario| scenario.measured().next().is_some())
    {
        let fits = |group: &&mut Group<'_>| {
            group.iter().all(|other| {
                other.message_bytes == scenario.message_bytes && other.connections != scenario.connections
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
    let ticks: Vec<(f64, String)> = ticks
        .map(|count| (count as f64, format::short(count as f64)))
        .collect();
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
    let y = Axis::from_zero(highest, "echoes per second", format::short);
    let margins = Margins {
        top: 28.0,
        right: longest + 34.0,
        bottom: 46.0,
        left: 48.0,
    };
    // Room for every label, however many there are.
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
            pen.text(&cut(name), (start, label), HPos::Left, super::style::INK)
        },
    )
}

fn echoes(row: &Row) -> f64 {
    row.numbers.get(ECHOES).map_or(0.0, |estimate| estimate.value)
}

/// The top of what is drawn: a whisker of two blocks may reach to the stars, and is cut
/// at twice its point, so that the others remain readable.
fn highest(row: &Row) -> f64 {
    row.numbers.get(ECHOES).map_or(0.0, |estimate| {
        let high = estimate.interval.map_or(estimate.value, |ends| ends.high);
        high.min(estimate.value * 2.0)
    })
}

fn finding(scenarios: &[ScenarioSummary]) -> String {
    let most = scenarios
        .iter()
        .filter(|scenario| scenario.measured().next().is_some());
    let Some(most) = most.max_by_key(|scenario| scenario.connections) else {
        return String::new();
    };
    let Some(verdict) = most.verdicts.iter().find(|verdict| verdict.measure == ECHOES) else {
        return String::new();
    };
    let at = format::counted(most.connections, "connection");
    let value = |name: &String| most.rows.iter().find(|row| row.server == *name).map(echoes);
    let rate = format::rounded(verdict.leaders.first().and_then(value).unwrap_or(0.0));
    let leaders = format::list(&verdict.leaders);
    let first = match verdict.decision {
        Decision::Winner => format!("At {at} {leaders} echoes the most, {rate} per second."),
        Decision::Tied => format!("At {at} {leaders} are tied for the most echoes, about {rate} per second."),
        Decision::Inconclusive => format!("At {at} it is inconclusive which of {leaders} echoes the most."),
        Decision::NoInterval => {
            format!("At {at} {leaders} is ahead with {rate} echoes per second, without an interval.")
        }
        Decision::Alone => format!("At {at} {leaders} echoes {rate} per second, with nothing to compare."),
        Decision::Nothing => format!("At {at} no server can be judged."),
    };
    let starved: Vec<&str> = most
        .measured()
        .filter(|row| row.connections.is_some_and(|reach| !reach.all()))
        .map(|row| row.server.as_str())
        .collect();
    match starved.as_slice() {
        [] => first,
        some => format!(
            "{first} Not every connection was answered there by {}.",
            format::list(some)
        ),
    }
}

fn table(groups: &[Group<'_>]) -> Table {
    let head = [
        "Connections",
        "Message",
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
                format::thousands(scenario.connections as f64),
                format::bytes(scenario.message_bytes),
                row.server.clone(),
                format::number(estimate.value),
                estimate
                    .interval
                    .map_or("none".into(), |ends| format::interval(&ends, 1.0)),
                row.connections.map_or(String::new(), |reach| reach.words()),
            ]);
        }
    }
    Table {
        head: head.map(str::to_owned).into(),
        rows,
    }
}
