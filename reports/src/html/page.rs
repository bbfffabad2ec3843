//! The report as one HTML file without any request.
//!
//! It is well-formed XML too, so that the check can read it with a strict parser.

use std::path::Path;
use std::{fs, io};

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use record::{Measured, Records, Run};
use sha2::{Digest, Sha256};

use crate::behaviour::Behaviour;
use crate::chart::style::Styles;
use crate::chart::{self, Figure, plot};
use crate::doubts;
use crate::format;
use crate::measure::{ECHOES, MEASURES, Measure};
use crate::stats::{Estimate, Interval};
use crate::summary::{Incident, Row, ScenarioSummary, Summary};
use crate::validate::{self, Invalid};

/// A report is sent by mail; one that is larger than this has gone wrong.
pub const LARGEST: usize = 3 << 20;

const STYLE: &str = include_str!("../templates/report.css");
const SCRIPT: &str = include_str!("../templates/report.js");

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The records are not what a run writes.
    #[error("the records cannot be right: {0}")]
    Invalid(#[from] Invalid),
    /// A figure failed.
    #[error(transparent)]
    Chart(#[from] chart::Error),
    /// The page could not be put together.
    #[error("the page could not be written: {0}")]
    Template(#[from] askama::Error),
    /// The page is too large.
    #[error(
        "the report would have {0} bytes; at most {LARGEST} are written: report fewer servers, scenarios or cases"
    )]
    TooLarge(usize),
}

/// The report of a run as HTML; of conformance cases alone where nothing was measured.
pub fn render(records: &Records) -> Result<String, Error> {
    validate::check(records)?;
    let behaviour = records.conformance.as_ref().map(Behaviour::of);
    let html = match &records.measured {
        Some(measured) => of_run(measured, behaviour)?,
        None => CasesPage {
            frame: Frame::new(),
            behaviour,
        }
        .render()?,
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
        tables: summary
            .scenarios
            .iter()
            .map(|scenario| TableView::of(scenario, summary.blocks))
            .collect(),
        measures: &MEASURES,
        figures,
        legend: legend(&summary, &styles)?,
        behaviour,
        machine: machine(run),
        seed: run.seed,
        command: command(&run.command),
        summary: &summary,
    };
    Ok(page.render()?)
}

/// Writes a report, beside the file first, so that a reader never sees half of one.
pub fn write(path: &Path, page: &str) -> io::Result<()> {
    let draft = path.with_extension("html.tmp");
    fs::write(&draft, page)?;
    fs::rename(&draft, path)
}

/// The Content Security Policy: nothing but this one style and this one script.
pub fn policy(style: &str, script: &str) -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(style),
        hash(script)
    )
}

/// What all pages have.
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
    measures: &'a [Measure],
    figures: Vec<FigureView>,
    legend: Vec<Key<'a>>,
    behaviour: Option<Behaviour>,
    machine: Vec<(&'static str, String)>,
    seed: u64,
    command: String,
}

/// What the template calls by name.
mod filters {
    use askama::{Result, Values};

    use crate::doubts::Weight;
    use crate::format;
    use crate::measure::ECHOES;
    use crate::summary::ScenarioSummary;

    #[askama::filter_fn]
    pub fn load(scenario: &ScenarioSummary, _: &dyn Values) -> Result<String> {
        let connections = format::counted(scenario.connections, "connection");
        Ok(format!(
            "{connections}, messages of {}",
            format::bytes(scenario.message_bytes)
        ))
    }

    #[askama::filter_fn]
    pub fn asked(measure: &str, _: &dyn Values) -> Result<&'static str> {
        Ok(if measure == ECHOES {
            "Most echoes per second"
        } else {
            "Lowest p99 at that load"
        })
    }

    #[askama::filter_fn]
    pub fn names(names: &[String], _: &dyn Values) -> Result<String> {
        serde_json::to_string(names).map_err(|error| askama::Error::Custom(error.into()))
    }

    #[askama::filter_fn]
    pub fn class(weight: &Weight, _: &dyn Values) -> Result<String> {
        Ok(weight.word().to_lowercase())
    }

    #[askama::filter_fn]
    pub fn icon(weight: &Weight, _: &dyn Values) -> Result<&'static str> {
        Ok(match weight {
            Weight::Warning => "▲",
            Weight::Note => "○",
            Weight::Good => "✓",
        })
    }
}

/// What a cell of the summary table says of a number.
pub struct Shown {
    /// In the base unit, in full.
    pub value: f64,
    /// The same for the interval.
    pub ends: Option<Interval>,
    /// As a person reads it.
    pub text: String,
    /// The interval as a person reads it.
    pub range: String,
}

impl Shown {
    fn of(estimate: &Estimate, scale: f64) -> Self {
        Shown {
            value: estimate.value,
            ends: estimate.interval,
            text: format::number(estimate.value / scale),
            range: estimate
                .interval
                .map_or(String::new(), |ends| format::range(&ends, scale)),
        }
    }
}

/// A cell of the summary table.
pub struct Cell {
    /// The key of its measure, or [`TO_BEST`].
    pub key: &'static str,
    /// What it says; absent when there is no number.
    pub shown: Option<Shown>,
}

/// The key of the column with the ratio to the best.
pub const TO_BEST: &str = "to_best";

/// The cells of a row, in the order of the columns.
pub fn cells(row: &Row) -> Vec<Cell> {
    let mut cells: Vec<Cell> = MEASURES
        .iter()
        .map(|measure| Cell {
            key: measure.key,
            shown: row
                .numbers
                .get(measure.key)
                .map(|estimate| Shown::of(estimate, measure.scale)),
        })
        .collect();
    let to_best = Cell {
        key: TO_BEST,
        shown: row
            .to_best
            .get(ECHOES)
            .map(|to_best| Shown::of(&to_best.ratio, 1.0)),
    };
    cells.insert(1, to_best);
    cells
}

/// How many connections were answered, in words.
pub fn answered(row: &Row) -> String {
    row.connections.map_or("–".into(), |reach| reach.words())
}

/// The errors by kind, in words.
pub fn errors(row: &Row) -> String {
    let each: Vec<String> = row
        .errors
        .iter()
        .map(|(kind, count)| format!("{} {}", format::thousands(*count as f64), kind.replace('_', " ")))
        .collect();
    if each.is_empty() {
        "none".into()
    } else {
        each.join(", ")
    }
}

struct RowView<'a> {
    row: &'a Row,
    best: bool,
    cells: Vec<Cell>,
    answered: String,
    errors: String,
    trials: String,
}

struct TableView<'a> {
    scenario: &'a ScenarioSummary,
    blocks: String,
    rows: Vec<RowView<'a>>,
}

impl<'a> TableView<'a> {
    fn of(scenario: &'a ScenarioSummary, planned: u32) -> Self {
        let leaders = scenario.verdicts.iter().find(|verdict| verdict.measure == ECHOES);
        let rows = scenario.rows.iter().map(|row| RowView {
            row,
            best: leaders.is_some_and(|verdict| verdict.leaders.contains(&row.server)),
            cells: cells(row),
            answered: answered(row),
            errors: errors(row),
            trials: row.trials.words(),
        });
        TableView {
            scenario,
            blocks: format!("{} of {planned} blocks complete", scenario.blocks_complete),
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

/// The servers that any figure draws.
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

struct IncidentView<'a> {
    scenario: &'a str,
    server: &'a str,
    blocks: String,
    what: &'static str,
    reason: &'a str,
    stderr: &'a str,
}

/// What went wrong, alike things in one line.
fn incidents(summary: &Summary) -> Vec<IncidentView<'_>> {
    let mut views = Vec::new();
    for scenario in &summary.scenarios {
        for row in &scenario.rows {
            let kinds = [
                ("failed", &row.trials.failed),
                ("not valid", &row.trials.invalid),
                ("skipped", &row.trials.skipped),
            ];
            for (what, incidents) in kinds {
                views.extend(alike(incidents).into_iter().map(|(blocks, first)| IncidentView {
                    scenario: &scenario.name,
                    server: &row.server,
                    blocks,
                    what,
                    reason: &first.reason,
                    stderr: &first.stderr,
                }));
            }
        }
    }
    views
}

fn alike(incidents: &[Incident]) -> Vec<(String, &Incident)> {
    let mut groups: Vec<(Vec<String>, &Incident)> = Vec::new();
    for incident in incidents {
        let same = |other: &Incident| other.reason == incident.reason && other.stderr == incident.stderr;
        match groups.iter_mut().find(|(_, first)| same(first)) {
            Some((blocks, _)) => blocks.push(incident.block.to_string()),
            None => groups.push((vec![incident.block.to_string()], incident)),
        }
    }
    groups
        .into_iter()
        .map(|(blocks, first)| (blocks.join(", "), first))
        .collect()
}

fn extent(summary: &Summary) -> String {
    format!(
        "{}, {}, {} planned",
        format::counted(summary.servers.len(), "server"),
        format::counted(summary.scenarios.len(), "scenario"),
        format::counted(summary.blocks as usize, "block")
    )
}

fn machine(run: &Run) -> Vec<(&'static str, String)> {
    let host = &run.host;
    let known = |value: &Option<String>| value.as_deref().map_or("not known".into(), format::plain_line);
    let pairs = |map: &std::collections::BTreeMap<String, String>| {
        let each: Vec<String> = map
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        if each.is_empty() {
            "none recorded".into()
        } else {
            format::plain_line(&each.join("; "))
        }
    };
    vec![
        ("Processor", known(&host.cpu_model)),
        (
            "Processors",
            format!("{} online, {} allowed", host.cpus_online, host.cpus_allowed.len()),
        ),
        ("Server ran on", doubts::cpus(&run.placement.server_cpus)),
        ("Generator ran on", doubts::cpus(&run.placement.generator_cpus)),
        (
            "Memory",
            host.memory_bytes.map_or("not known".into(), format::bytes),
        ),
        (
            "Kernel",
            format::plain_line(&format!("{} on {}", host.kernel, host.architecture)),
        ),
        (
            "Hypervisor",
            host.hypervisor
                .as_deref()
                .map_or("none".into(), format::plain_line),
        ),
        ("Frequency governor", known(&host.governor)),
        (
            "Descriptors",
            format!(
                "at most {} for a process",
                format::thousands(host.descriptor_limit as f64)
            ),
        ),
        ("Kernel settings", pairs(&host.sysctls)),
        ("Mitigations", pairs(&host.mitigations)),
        ("Compiler", format::plain_line(&host.compiler)),
        ("Source", known(&host.commit)),
        ("echobench", format::plain_line(&run.version)),
    ]
}

/// A command line that can be pasted into a shell. Of `NAME=VALUE` the value alone is
/// quoted: in front of a command, a shell knows a variable by its bare name.
fn command(words: &[String]) -> String {
    let plain = |text: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
        !text.is_empty() && text.chars().all(allowed)
    };
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let typed = |word: &String| match word.split_once('=') {
        _ if plain(word) => word.clone(),
        Some((name, value)) if plain(name) => format!("{name}={}", quoted(value)),
        _ => quoted(word),
    };
    format::plain_line(&words.iter().map(typed).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::style::{DASHES, GRID, HUES, INK, MUTED, PAPER};

    #[test]
    fn the_style_sheet_knows_every_sentinel_and_dash() {
        for color in HUES.into_iter().chain([INK, MUTED, GRID, PAPER]) {
            let hex = format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2);
            assert!(STYLE.contains(&hex), "{hex}");
        }
        assert!((1..DASHES).all(|dash| STYLE.contains(&format!(".dash-{dash} "))));
    }

    #[test]
    fn style_and_script_are_well_formed_xml_as_they_stand() {
        assert!(!STYLE.contains(['<', '&']) && !SCRIPT.contains(['<', '&']));
    }

    #[test]
    fn a_command_survives_the_shell() {
        let words = ["run", "--server", "my echo=it's {port}", ""].map(str::to_owned);
        assert_eq!(command(&words), r"run --server 'my echo=it'\''s {port}' ''");
        let words = ["ECHOBENCH_SERVER=mine=run {port}", "echobench", "--seed=1"].map(str::to_owned);
        assert_eq!(
            command(&words),
            "ECHOBENCH_SERVER='mine=run {port}' echobench --seed=1"
        );
    }
}
