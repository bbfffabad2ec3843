//! The outcomes of the conformance cases as a matrix, for a terminal, Markdown and HTML.

mod markdown;
mod matrix;
mod text;

pub use markdown::markdown;
pub use matrix::{Behaviour, Cell, Column, Mark, Note, Row};
pub use text::text;
