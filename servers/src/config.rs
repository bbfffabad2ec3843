//! What every model is told: the options that all of them share.

use std::num::NonZero;
use std::thread;

use crate::work::Work;

/// The shared options, as far as a model needs them itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many workers were asked for; each [`Workers`] kind has its own default.
    pub workers: Option<NonZero<usize>>,
    /// Bytes read at once, and the most that is held for a client that does not read.
    pub buffer: usize,
    /// What to do with each piece of input before it is echoed.
    pub work: Work,
}

impl Default for Config {
    /// What a server has if nothing is asked for.
    fn default() -> Self {
        Config {
            workers: None,
            buffer: 64 * 1024,
            work: Work::None,
        }
    }
}

/// What a model's workers are, and so what `--workers` sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// The number follows from the model: `--workers` is refused.
    Fixed,
    /// A worker serves one connection at a time.
    PerConnection,
    /// A worker is an event loop.
    PerProcessor,
    /// A worker serves whichever connection is ready.
    Shared,
}

/// Workers of a kind that serves one connection each: enough that fifty clients, the
/// usual load of a comparison, are all served, and few enough that the limit shows.
const CONNECTION_WORKERS: usize = 64;

impl Workers {
    /// How many there will be.
    pub fn count(self, config: &Config) -> usize {
        let processors = || thread::available_parallelism().map_or(1, NonZero::get);
        let default = match self {
            Workers::Fixed => 1,
            Workers::PerConnection => CONNECTION_WORKERS,
            Workers::PerProcessor => processors(),
            // With one alone there would be nothing to share.
            Workers::Shared => processors().max(2),
        };
        config.workers.map_or(default, NonZero::get)
    }
}
