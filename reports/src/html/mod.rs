//! The report as one HTML file that needs no network.
//!
//! It is also well-formed XML, because the check reads it with a strict parser.

mod cells;
mod file;
mod filters;
mod incidents;
mod machine;
mod page;
mod policy;

pub use cells::{Cell, Shown, cells};
pub use file::{LARGEST, write};
pub use page::{Error, render};
pub use policy::policy;
