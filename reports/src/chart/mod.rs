//! The figures, one file each.
//!
//! plotters writes SVG with whole coordinates and without classes. A figure is therefore drawn
//! at [`plot::ZOOM`] times its size and scaled by `viewBox`. Each layer is drawn separately and
//! put into a group with a class. Each colour is a placeholder that the style sheet replaces,
//! which makes themes and hiding possible.

pub mod axis;
pub mod caption;
pub mod cpu;
pub mod figure;
pub mod label;
pub mod percentiles;
pub mod plot;
pub mod style;
pub mod throughput;

use record::Trial;

pub use caption::{Caption, Named};
pub use figure::{Absent, Data, Error, Figure, Missing, Panel, Table};

use crate::summary::Summary;
use style::Styles;

/// Draws a figure; `None` when there is nothing to draw.
pub type Draw = fn(&Data<'_>) -> Result<Option<Figure>, Error>;

/// Every figure, in the order of the page.
pub const FIGURES: [Draw; 3] = [throughput::draw, percentiles::draw, cpu::draw];

/// Draws every figure that has data.
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
