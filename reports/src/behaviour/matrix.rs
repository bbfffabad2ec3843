//! What came of the conformance cases, arranged once for text, Markdown and HTML: servers
//! down, cases across, and what many servers have in common said once.

mod markdown;
mod text;

use record::{CaseOutcome, CaseResult, Conformance};

use crate::format;

pub use markdown::markdown;
pub use text::text;

/// So many of the cases that took longest are named.
const SLOWEST: usize = 5;

/// The matrix of an outcome.
#[derive(Debug)]
pub struct Behaviour {
    /// The cases, in the order in which they were asked.
    pub columns: Vec<Column>,
    /// The servers, in the order in which they come.
    pub rows: Vec<Row>,
    /// When, by what and where it was made.
    pub made: String,
    /// What took longest.
    pub slowest: Vec<String>,
}

/// A case, and what was seen of it.
#[derive(Debug)]
pub struct Column {
    /// What it is called for short: `C1`.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// What was seen, worst first; each note once.
    pub notes: Vec<Note>,
}

/// What was seen of a case, and on which servers.
#[derive(Debug)]
pub struct Note {
    /// What it came to.
    pub mark: Mark,
    /// The evidence or the reason; may have several lines.
    pub text: String,
    /// Of whom it is true.
    pub servers: Vec<String>,
}

/// A server.
#[derive(Debug)]
pub struct Row {
    /// What it is called.
    pub server: String,
    /// A cell for each column; none where the case was not run.
    pub cells: Vec<Option<Cell>>,
}

/// What came of a case on a server.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    /// What it came to.
    pub mark: Mark,
    /// Which note of its column says more.
    pub note: usize,
}

/// What a case came to, from what a reader looks for first to what is usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// It does not hold.
    Fail,
    /// The host does not allow it.
    Skipped,
    /// The design answers the question differently.
    NotApplicable,
    /// It holds.
    Pass,
}

impl Mark {
    /// All of them, in the order in which counts are given.
    pub const ALL: [Mark; 4] = [Mark::Pass, Mark::Fail, Mark::NotApplicable, Mark::Skipped];

    /// The word for it in a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Mark::Fail => "fail",
            Mark::Skipped => "skipped",
            Mark::NotApplicable => "not applicable",
            Mark::Pass => "pass",
        }
    }

    /// The word for it in a narrow cell; also the name of its class.
    pub fn short(self) -> &'static str {
        match self {
            Mark::Fail => "fail",
            Mark::Skipped => "skip",
            Mark::NotApplicable => "n/a",
            Mark::Pass => "pass",
        }
    }

    /// Its name in a style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Mark::NotApplicable => "na",
            other => other.short(),
        }
    }

    /// The sign for it where there may be one.
    pub fn icon(self) -> &'static str {
        match self {
            Mark::Fail => "✗",
            Mark::Skipped => "○",
            Mark::NotApplicable => "–",
            Mark::Pass => "✓",
        }
    }
}

impl Behaviour {
    /// Arranges an outcome.
    pub fn of(conformance: &Conformance) -> Self {
        let servers = distinct(conformance.results.iter().map(|result| result.model.as_str()));
        let columns: Vec<Column> = conformance
            .cases
            .iter()
            .map(|case| Column {
                id: format::plain_line(&case.id),
                name: format::plain_line(&case.name),
                question: format::plain_line(&case.question),
                notes: notes(conformance.results.iter().filter(|result| result.case == case.id)),
            })
            .collect();
        let row = |server: &&str| {
            let server = format::plain_line(server);
            let cells = columns.iter().map(|column| column.cell(&server)).collect();
            Row { server, cells }
        };
        Behaviour {
            rows: servers.iter().map(row).collect(),
            columns,
            made: made(conformance),
            slowest: slowest(conformance),
        }
    }

    /// How often it came to what: `27 pass, 2 not applicable`.
    pub fn counts(&self) -> String {
        counts(self.rows.iter().flat_map(|row| row.cells.iter().flatten()))
    }

    /// Of whom a note is true; all of them need no names.
    pub fn whose(&self, note: &Note) -> String {
        match note.servers.len() {
            some @ 2.. if some == self.rows.len() => format!("all {some} servers"),
            _ => note.servers.join(", "),
        }
    }
}

impl Column {
    /// How often it came to what.
    pub fn counts(&self) -> String {
        let number = |mark| {
            let notes = self.notes.iter().filter(move |note| note.mark == mark);
            notes.map(|note| note.servers.len()).sum()
        };
        in_words(number)
    }

    /// Whether it failed anywhere.
    pub fn fails(&self) -> bool {
        self.notes.iter().any(|note| note.mark == Mark::Fail)
    }

    fn cell(&self, server: &str) -> Option<Cell> {
        let is_of = |note: &Note| note.servers.iter().any(|other| other == server);
        let note = self.notes.iter().position(is_of)?;
        let mark = self.notes[note].mark;
        Some(Cell { mark, note })
    }
}

impl Row {
    /// How often it came to what.
    pub fn counts(&self) -> String {
        counts(self.cells.iter().flatten())
    }
}

/// What was seen of one case; servers with the same to say share a note.
fn notes<'a>(results: impl Iterator<Item = &'a CaseResult>) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    for result in results {
        let (mark, text) = match &result.outcome {
            CaseOutcome::Pass { evidence } => (Mark::Pass, evidence),
            CaseOutcome::Fail { evidence } => (Mark::Fail, evidence),
            CaseOutcome::NotApplicable { reason } => (Mark::NotApplicable, reason),
            CaseOutcome::Skipped { reason } => (Mark::Skipped, reason),
        };
        let (text, server) = (
            format::plain_lines(text.trim()),
            format::plain_line(&result.model),
        );
        match notes
            .iter_mut()
            .find(|note| note.mark == mark && note.text == text)
        {
            Some(note) => note.servers.push(server),
            None => notes.push(Note {
                mark,
                text,
                servers: vec![server],
            }),
        }
    }
    notes.sort_by_key(|note| note.mark);
    notes
}

fn counts<'a>(cells: impl Iterator<Item = &'a Cell> + Clone) -> String {
    in_words(|mark| cells.clone().filter(|cell| cell.mark == mark).count())
}

fn in_words(number: impl Fn(Mark) -> usize) -> String {
    let counted = Mark::ALL.map(|mark| (number(mark), mark.word()));
    let each: Vec<String> = counted
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{} {word}", format::thousands(*number as f64)))
        .collect();
    match each.is_empty() {
        true => "nothing was run".into(),
        false => each.join(", "),
    }
}

fn made(conformance: &Conformance) -> String {
    let forms = match conformance.full {
        true => "full forms",
        false => "quick forms",
    };
    let host = &conformance.host;
    let line = format!(
        "{forms}, {}, echobench {}, Linux {} on {}, seed {}",
        conformance.started_at, conformance.version, host.kernel, host.architecture, conformance.seed
    );
    format::plain_line(&line)
}

fn slowest(conformance: &Conformance) -> Vec<String> {
    let mut results: Vec<&CaseResult> = conformance.results.iter().collect();
    results.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    let named = |result: &&CaseResult| {
        let line = format!("{} {} {:.1} s", result.case, result.model, result.seconds);
        format::plain_line(&line)
    };
    results.iter().take(SLOWEST).map(named).collect()
}

fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}
