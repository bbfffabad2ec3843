//! Evidence for and against the numbers of a run: the view that comes before any number.

mod diagnostic;
mod findings;
mod gather;
mod host;
mod loads;
mod places;
mod sentences;

pub use diagnostic::{Diagnostic, Found, Place, QuotaSide, Weight};
pub use gather::of;
pub use sentences::cpus;
