//! The page: what the templates show, and rendering it.

use askama::Template;
use record::numbers::micros;
use record::words::{counted, list};
use record::{LoopKind, Margins, Measured, Records};

use super::cells::{Cell, cells};
use super::file::LARGEST;
use super::incidents::{IncidentView, incidents};
use super::policy::policy;
use super::{filters, machine};
use crate::behaviour::Behaviour;
use crate::chart::style::Styles;
use crate::chart::{self, Figure, plot};
use crate::metrics::{self, COMPARED, Compared, ECHOES, METRICS, Metric};
use crate::row::Row;
use crate::scenario::ScenarioSummary;
use crate::summary::Summary;
use crate::validate::{self, Invalid};

const STYLE: &str = include_str!("../../templates/report.css");
const SCRIPT: &str = include_str!("../../templates/report.js");

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The records contradict themselves.
    #[error("the records are not valid: {0}")]
    Invalid(Invalid),
    /// A figure failed.
    #[error(transparent)]
    Chart(#[from] chart::Error),
    /// A template failed.
    #[error("cannot write the page: {0}")]
    Template(askama::Error),
    /// The page is too large.
    #[error("the report has {0} bytes, more than {LARGEST}: report fewer servers, scenarios or cases")]
    TooLarge(usize),
}

/// The report of a run as HTML, or of conformance cases if nothing was measured.
pub fn render(records: &Records) -> Result<String, Error> {
    validate::check(records).map_err(Error::Invalid)?;
    let behaviour = records.conformance.as_ref().map(Behaviour::of);
    let html = match &records.measured {
        Some(measured) => of_run(measured, behaviour)?,
        None => CasesPage {
            frame: Frame::new(),
            behaviour,
        }
        .render()
        .map_err(Error::Template)?,
    };
    if html.len() > LARGEST {
        return Err(Error::TooLarge(html.len()));
    }
    Ok(html)
}

fn of_run(Measured { run, trials }: &Measured, behaviour: Option<Behaviour>) -> Result<String, Error> {
    let summary = Summary::of(run, trials);
    let styles = Styles::of(&summary.servers);
    let figures = chart::draw(&summary, trials)?
        .into_iter()
        .map(FigureView::of)
        .collect();
    let page = RunPage {
        frame: Frame::new(),
        extent: extent(&summary),
        measured: summary.measured_anything(),
        incidents: incidents(&summary),
        tables: summary.scenarios.iter().map(TableView::of).collect(),
        metrics: metrics_of(&summary),
        single_load: run.is_single_load(),
        figures,
        legend: legend(&summary, &styles)?,
        loops: Loops::of(&summary),
        compared: &COMPARED,
        margins: margins(&summary.margins),
        sliced: summary.scenarios.iter().any(|scenario| scenario.slice.is_some()),
        behaviour,
        machine: machine::facts(run),
        seed: run.seed,
        command: machine::command(&run.command),
        summary: &summary,
    };
    page.render().map_err(Error::Template)
}

/// The metrics that some load has.
fn metrics_of(summary: &Summary) -> Vec<&'static Metric> {
    let kinds = || { summary.scenarios.iter() }.map(|scenario| scenario.plan.loop_kind());
    let has = |metric: &&Metric| {
        kinds().any(|kind| metrics::of_loop(kind).any(|of_kind| of_kind.key == metric.key))
    };
    METRICS.iter().filter(has).collect()
}

/// What both pages share.
struct Frame {
    policy: String,
    style: &'static str,
    script: &'static str,
}

impl Frame {
    fn new() -> Self {
        Frame {
            policy: policy(STYLE, SCRIPT),
            style: STYLE,
            script: SCRIPT,
        }
    }
}

#[derive(Template)]
#[template(path = "cases.html")]
struct CasesPage {
    frame: Frame,
    behaviour: Option<Behaviour>,
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage<'a> {
    frame: Frame,
    summary: &'a Summary,
    extent: String,
    measured: bool,
    incidents: Vec<IncidentView<'a>>,
    tables: Vec<TableView<'a>>,
    metrics: Vec<&'static Metric>,
    single_load: bool,
    figures: Vec<FigureView>,
    legend: Vec<Key<'a>>,
    loops: Loops,
    compared: &'a [Compared],
    margins: String,
    sliced: bool,
    behaviour: Option<Behaviour>,
    machine: Vec<(&'static str, String)>,
    seed: u64,
    command: String,
}

/// The loops that the scenarios have.
struct Loops {
    closed: bool,
    open: bool,
    partly_open: bool,
}

impl Loops {
    fn of(summary: &Summary) -> Self {
        let has = |scenario: &ScenarioSummary, kind| scenario.plan.loop_kind() == kind;
        let any = |kind| summary.scenarios.iter().any(|scenario| has(scenario, kind));
        Loops {
            closed: any(LoopKind::Closed),
            open: any(LoopKind::Open),
            partly_open: any(LoopKind::PartlyOpen),
        }
    }
}

struct RowView<'a> {
    row: &'a Row,
    best: bool,
    cells: Vec<Cell>,
}

struct TableView<'a> {
    scenario: &'a ScenarioSummary,
    blocks: String,
    metrics: Vec<&'static Metric>,
    rows: Vec<RowView<'a>>,
}

impl<'a> TableView<'a> {
    fn of(scenario: &'a ScenarioSummary) -> Self {
        let leaders = scenario.verdicts.iter().find(|verdict| verdict.metric == ECHOES);
        let kind = scenario.plan.loop_kind();
        let rows = scenario.rows.iter().map(|row| RowView {
            row,
            best: leaders.is_some_and(|verdict| verdict.leaders.contains(&row.server)),
            cells: cells(row, kind),
        });
        TableView {
            scenario,
            blocks: extent_of(scenario),
            metrics: metrics::of_loop(kind).collect(),
            rows: rows.collect(),
        }
    }
}

struct FigureView {
    many: bool,
    drawing: Figure,
}

impl FigureView {
    fn of(drawing: Figure) -> Self {
        FigureView {
            many: drawing.panels.iter().any(|panel| panel.class == "small"),
            drawing,
        }
    }
}

struct Key<'a> {
    name: &'a str,
    family: &'a str,
    svg: String,
}

/// The servers that a figure draws.
fn legend<'a>(summary: &'a Summary, styles: &Styles) -> Result<Vec<Key<'a>>, chart::Error> {
    let drawn = |name: &str| {
        summary
            .scenarios
            .iter()
            .flat_map(ScenarioSummary::measured)
            .any(|row| row.server == name)
    };
    let servers = summary.servers.iter().filter(|server| drawn(&server.name));
    servers
        .map(|server| {
            let svg = plot::key(styles.style(&server.name))?;
            Ok(Key {
                name: &server.name,
                family: &server.family,
                svg,
            })
        })
        .collect()
}

/// `10 of 10 blocks complete, in slices of at least 23 ms`.
fn extent_of(scenario: &ScenarioSummary) -> String {
    let (complete, planned) = (scenario.blocks_complete, scenario.blocks_planned);
    let slices = scenario.slice.map_or(String::new(), |slice| {
        format!(", in slices of at least {}", micros(slice.0.as_secs_f64() * 1e6))
    });
    format!("{complete} of {planned} blocks complete{slices}")
}

/// `5 blocks planned`, or `at most 40 blocks` if verdicts were looked at earlier.
fn blocks(summary: &Summary) -> String {
    let blocks = counted(summary.blocks as usize, "block");
    match summary.looks.is_empty() {
        true => format!("{blocks} planned"),
        false => format!("at most {blocks}"),
    }
}

/// `3% for echoes and 10% for p99`.
fn margins(margins: &Margins) -> String {
    let margin = |compared: &Compared| {
        let metric = METRICS.iter().find(|metric| metric.key == compared.key);
        let title = metric.map_or("", |metric| metric.title);
        format!("{} for {title}", (compared.margin)(margins))
    };
    list(&COMPARED.iter().map(margin).collect::<Vec<_>>())
}

fn extent(summary: &Summary) -> String {
    format!(
        "{}, {}, {}",
        counted(summary.servers.len(), "server"),
        counted(summary.scenarios.len(), "scenario"),
        blocks(summary)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::style::{DASHES, GRID, HUES, INK, MUTED, PAPER};

    #[test]
    fn the_style_sheet_has_every_placeholder_colour_and_dash() {
        for color in HUES.into_iter().chain([INK, MUTED, GRID, PAPER]) {
            let hex = format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2);
            assert!(STYLE.contains(&hex), "{hex}");
        }
        assert!((1..DASHES).all(|dash| STYLE.contains(&format!(".dash-{dash} "))));
    }

    #[test]
    fn style_and_script_need_no_escaping_in_xml() {
        assert!(!STYLE.contains(['<', '&']) && !SCRIPT.contains(['<', '&']));
    }
}
