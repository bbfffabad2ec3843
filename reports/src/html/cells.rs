//! The numbers of the summary table: the value for programs and the text for people.

use record::LoopKind;

use crate::format;
use crate::metrics::{self, ECHOES};
use crate::row::Row;
use crate::stats::{ConfidenceInterval, Estimate};

/// A number in a cell.
pub struct Shown {
    /// In the base unit, in full precision.
    pub value: f64,
    /// Whether it is a lower bound.
    pub at_least: bool,
    /// Its interval, in the base unit.
    pub ends: Option<ConfidenceInterval>,
    /// The number as text.
    pub text: String,
    /// The interval as text.
    pub range: String,
}

impl Shown {
    fn of(estimate: &Estimate, scale: f64) -> Self {
        Shown {
            value: estimate.value,
            ends: estimate.interval,
            at_least: estimate.at_least,
            text: format::value(estimate, scale),
            range: estimate
                .interval
                .map_or(String::new(), |ends| format::range(&ends, scale)),
        }
    }
}

/// A cell of the summary table.
pub struct Cell {
    /// The key of its metric, or `to_best` for the ratio to the best.
    pub key: &'static str,
    /// Absent when there is no number.
    pub shown: Option<Shown>,
}

/// The cells of a row of a load of a kind, in the order of the columns.
pub fn cells(row: &Row, kind: LoopKind) -> Vec<Cell> {
    let mut cells: Vec<Cell> = metrics::of_loop(kind)
        .map(|metric| Cell {
            key: metric.key,
            shown: row
                .numbers
                .get(metric.key)
                .map(|estimate| Shown::of(estimate, metric.scale)),
        })
        .collect();
    let to_best = Cell {
        key: "to_best",
        shown: row
            .to_best
            .get(ECHOES)
            .map(|to_best| Shown::of(&to_best.ratio, 1.0)),
    };
    cells.insert(1, to_best);
    cells
}
