//! What the figures have in common: palette, axes, marks and labels.
//!
//! plotters writes SVG with whole coordinates and without classes. So everything is
//! drawn at [`ZOOM`] times its size and scaled by `viewBox`, each layer is drawn by
//! itself and put into a group with a class, and each colour is a sentinel that the
//! style sheet replaces by attribute: that is what makes themes and hiding possible.

pub mod axis;
pub mod cpu;
pub mod label;
pub mod percentiles;
pub mod plot;
pub mod style;
pub mod throughput;

use record::Trial;
use record::histogram::DecodeError;

use crate::summary::Summary;
use style::Styles;

/// How much larger than shown the figures are drawn.
pub const ZOOM: i32 = 10;

/// What a figure may draw from.
pub struct Data<'a> {
    /// The numbers, as everything else in the report shows them.
    pub summary: &'a Summary,
    /// The records, for what needs whole histograms.
    pub trials: &'a [Trial],
    /// Hue, dash and marker of each server.
    pub styles: &'a Styles,
}

/// A figure, ready for the page.
pub struct Figure {
    /// Its name in the page.
    pub id: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// What it finds, in a sentence.
    pub finding: String,
    /// How to read it.
    pub reading: &'static str,
    /// The drawings.
    pub panels: Vec<Panel>,
    /// Servers that could not be drawn, and why.
    pub absent: Vec<Absent>,
    /// What is drawn, in numbers.
    pub table: Table,
}

/// One drawing of a figure.
pub struct Panel {
    /// What it is about; empty when the figure has one panel.
    pub caption: String,
    /// The scenarios that it is about.
    pub scenarios: Vec<String>,
    /// `wide` or `narrow` for one of two drawings of the same, of which the style sheet
    /// shows the one that fits; `small` for one of several side by side.
    pub class: &'static str,
    /// The drawing.
    pub svg: String,
}

/// A server that a panel cannot draw.
pub struct Absent {
    /// The scenario.
    pub scenario: String,
    /// Its name.
    pub server: String,
    /// Why it is not drawn.
    pub reason: &'static str,
}

/// A table of text.
#[derive(Default)]
pub struct Table {
    /// Heads of the columns.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// A figure of the report; `None` when there is nothing to draw.
pub type Draw = fn(&Data<'_>) -> Result<Option<Figure>, Error>;

/// Every figure, in the order of the page.
pub const FIGURES: [Draw; 3] = [throughput::draw, percentiles::draw, cpu::draw];

/// Draws every figure that there is something to draw for.
pub fn draw(summary: &Summary, trials: &[Trial]) -> Result<Vec<Figure>, Error> {
    let styles = Styles::of(&summary.servers);
    let data = Data {
        summary,
        trials,
        styles: &styles,
    };
    FIGURES
        .iter()
        .filter_map(|draw| draw(&data).transpose())
        .collect()
}

/// Why a figure could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The drawing itself failed.
    #[error("the drawing failed: {0}")]
    Draw(String),
    /// A histogram could not be read.
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
