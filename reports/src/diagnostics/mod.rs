//! Evidence for and against the numbers of a run: the view that comes before any number.

mod diagnostic;
mod gather;
mod sentences;

pub use diagnostic::{Diagnostic, Place, Weight};
pub use gather::of;
pub use sentences::cpus;
