//! What a figure consists of: drawings, a caption, and its numbers.

use std::fmt::{self, Display, Formatter};

use record::Trial;
use record::histogram::DecodeError;

use super::caption::Caption;
use super::style::Styles;
use crate::row::Unmetered;
use crate::summary::Summary;

/// The input of a figure.
pub struct Data<'a> {
    /// The numbers of the report.
    pub summary: &'a Summary,
    /// The records, for figures that need whole histograms.
    pub trials: &'a [Trial],
    /// Hue, dash and marker of each server.
    pub styles: &'a Styles,
}

/// A figure, ready for the page.
pub struct Figure {
    /// Its id in the page.
    pub id: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What it shows.
    pub caption: Caption,
    /// How to read it.
    pub reading: &'static str,
    /// The drawings.
    pub panels: Vec<Panel>,
    /// Servers that could not be drawn, and why.
    pub absent: Vec<Absent>,
    /// The drawn numbers.
    pub table: Table,
}

/// One drawing of a figure.
pub struct Panel {
    /// Its title; empty when the figure has one panel.
    pub title: String,
    /// The scenarios that it shows.
    pub scenarios: Vec<String>,
    /// `wide` or `narrow` for two drawings of the same data, of which the style sheet shows the
    /// one that fits; `small` for one of several side by side.
    pub class: &'static str,
    /// The drawing.
    pub svg: String,
}

/// A server that a panel cannot draw.
pub struct Absent {
    /// The scenario.
    pub scenario: String,
    /// Name of the server.
    pub server: String,
    /// Why it is not drawn.
    pub cause: Missing,
}

/// Why a server is not drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It echoed nothing, so its CPU time cannot be divided by echoes.
    Echoes,
    /// It is not known what it used.
    Cost(Unmetered),
    /// It has too few answers for a percentile.
    Answers,
    /// Connections arrive by a schedule, so their number is not fixed.
    Connections,
}

impl Display for Missing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Missing::Cost(reason) => return reason.fmt(f),
            Missing::Echoes => "echoed nothing, so it has no CPU time per echo",
            Missing::Answers => "has too few answers for a percentile",
            Missing::Connections => "has no fixed number of connections",
        })
    }
}

/// A table of text.
#[derive(Default)]
pub struct Table {
    /// Heads of the columns.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// Why a figure could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The drawing library failed.
    #[error("the drawing failed: {0}")]
    Draw(String),
    /// A histogram could not be decoded.
    #[error("{place}: {error}")]
    Histogram {
        /// Which trial.
        place: String,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// Two histograms could not be added.
    #[error("the histograms of {0} cannot be added")]
    Merge(String),
}
