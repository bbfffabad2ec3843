//! What a load is, in the words of the command line.

mod choices;
mod combine;
mod definition;
mod older;
mod size;
mod source;
mod stages;

pub use choices::{Arrivals, Engine, LoopKind, Transport, Wait};
pub use combine::{Difference, combine};
pub use definition::Plan;
pub use older::{older_mean_bytes, read_plan};
pub use size::{MessageSize, MessageSizeError};
pub use source::{SourceError, SourceRange};
pub use stages::{Stage, StageError, Stages};

#[cfg(test)]
mod tests;
