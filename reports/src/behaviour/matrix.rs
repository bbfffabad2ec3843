//! The outcomes of the conformance cases, arranged once for text, Markdown and HTML: a row for
//! each server, a column for each case, and one note where servers share an outcome.

use record::numbers::thousands;
use record::words::{plain_line, plain_lines};
use record::{CaseOutcome, CaseResult, Conformance};

/// How many of the slowest cases are listed.
const SLOWEST: usize = 5;

/// The matrix of servers and cases.
#[derive(Debug)]
pub struct Behaviour {
    /// The cases, in the order of the records.
    pub columns: Vec<Column>,
    /// The servers, in the order of the records.
    pub rows: Vec<Row>,
    /// When, by which version and where the cases ran.
    pub made: String,
    /// The slowest cases.
    pub slowest: Vec<String>,
}

/// A case and its outcomes.
#[derive(Debug)]
pub struct Column {
    /// Its id: `C1`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The question that it answers.
    pub question: String,
    /// The distinct outcomes, worst first.
    pub notes: Vec<Note>,
}

/// An outcome of a case, and the servers that have it.
#[derive(Debug)]
pub struct Note {
    /// Its kind.
    pub mark: Mark,
    /// The evidence or the reason; may have several lines.
    pub text: String,
    /// The servers.
    pub servers: Vec<String>,
}

/// A server.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub server: String,
    /// A cell for each column; `None` where the case was not run.
    pub cells: Vec<Option<Cell>>,
}

/// The outcome of a case on a server.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    /// Its kind.
    pub mark: Mark,
    /// The index of its note in the column.
    pub note: usize,
}

/// The kind of an outcome, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// The server does not do what the case asks.
    Fail,
    /// The host does not allow the case.
    Skipped,
    /// The server's design answers the question differently.
    NotApplicable,
    /// The server does what the case asks.
    Pass,
}

impl Mark {
    /// All of them, in the order of counts.
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

    /// The word for it in a narrow cell.
    pub fn short(self) -> &'static str {
        match self {
            Mark::Fail => "fail",
            Mark::Skipped => "skip",
            Mark::NotApplicable => "n/a",
            Mark::Pass => "pass",
        }
    }

    /// Its class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Mark::NotApplicable => "na",
            other => other.short(),
        }
    }

    /// Its sign.
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
    /// Arranges the outcomes.
    pub fn of(conformance: &Conformance) -> Self {
        let servers = distinct(conformance.results.iter().map(|result| result.model.as_str()));
        let columns: Vec<Column> = conformance
            .cases
            .iter()
            .map(|case| Column {
                id: plain_line(&case.id),
                name: plain_line(&case.name),
                question: plain_line(&case.question),
                notes: notes(conformance.results.iter().filter(|result| result.case == case.id)),
            })
            .collect();
        let row = |server: &&str| {
            let server = plain_line(server);
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

    /// How many cells have each mark: `27 pass, 2 not applicable`.
    pub fn counts(&self) -> String {
        counts(self.rows.iter().flat_map(|row| row.cells.iter().flatten()))
    }

    /// The servers of a note by name, or `all 4 servers`.
    pub fn servers_of(&self, note: &Note) -> String {
        match note.servers.len() {
            some @ 2.. if some == self.rows.len() => format!("all {some} servers"),
            _ => note.servers.join(", "),
        }
    }
}

impl Column {
    /// How many servers have each mark.
    pub fn counts(&self) -> String {
        let number = |mark| {
            let notes = self.notes.iter().filter(move |note| note.mark == mark);
            notes.map(|note| note.servers.len()).sum()
        };
        in_words(number)
    }

    /// Whether it failed on any server.
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
    /// How many cases have each mark.
    pub fn counts(&self) -> String {
        counts(self.cells.iter().flatten())
    }
}

/// The distinct outcomes of one case.
fn notes<'a>(results: impl Iterator<Item = &'a CaseResult>) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    for result in results {
        let (mark, text) = match &result.outcome {
            CaseOutcome::Pass { evidence } => (Mark::Pass, evidence),
            CaseOutcome::Fail { evidence } => (Mark::Fail, evidence),
            CaseOutcome::NotApplicable { reason } => (Mark::NotApplicable, reason),
            CaseOutcome::Skipped { reason } => (Mark::Skipped, reason),
        };
        let (text, server) = (plain_lines(text.trim()), plain_line(&result.model));
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
        .map(|(number, word)| format!("{} {word}", thousands(*number as f64)))
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
    plain_line(&line)
}

fn slowest(conformance: &Conformance) -> Vec<String> {
    let mut results: Vec<&CaseResult> = conformance.results.iter().collect();
    results.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    let named = |result: &&CaseResult| {
        let line = format!("{} {} {:.1} s", result.case, result.model, result.seconds);
        plain_line(&line)
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
