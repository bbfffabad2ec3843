//! Two runs compared: what differs beside the servers, what became of each number, and conditions on that.
//!
//! A run compares servers within fractions of a second. Two runs are hours or machines apart, and
//! nothing in their blocks is common to both: a ratio across runs is that of two samples, and no
//! statistic can tell a change of the machine from a change of all servers. So what differs between the
//! runs comes first, and ratios can be relative to servers that count as unchanged.

pub mod cell;
pub mod command;
pub mod condition;
pub mod differences;
pub mod judgement;
mod markdown;
mod pairing;
pub mod ratio;
pub mod runs;
mod sentences;
mod text;

pub use condition::Condition;
pub use judgement::{Judgement, Outcome, judge};
pub use markdown::markdown;
pub use runs::{Request, RequestError, RunComparison};
pub use text::text;
