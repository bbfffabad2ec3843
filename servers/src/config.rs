//! The options that all models share.

use std::num::NonZero;
use std::thread;

use crate::work::Work;

/// The shared options that a model itself needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The requested number of workers; each kind of [`Workers`] has its own default.
    pub workers: Option<NonZero<usize>>,
    /// Bytes per read, and the most that the server holds for a client that does not read.
    pub buffer: usize,
    /// The work for each read that returns data.
    pub work: Work,
}

impl Default for Config {
    /// The defaults of the command line.
    fn default() -> Self {
        Config {
            workers: None,
            buffer: 64 * 1024,
            work: Work::None,
        }
    }
}

/// What one worker of a model is, and what `--workers` therefore sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// The model determines the number: `--workers` is an error.
    Fixed,
    /// A worker serves one connection at a time.
    PerConnection,
    /// A worker is an event loop.
    PerProcessor,
    /// A worker serves any connection that is ready.
    Shared,
}

/// Default for workers that serve one connection each: enough for fifty clients, the usual
/// load of a comparison, and few enough to show the limit.
const CONNECTION_WORKERS: usize = 64;

impl Workers {
    /// The number of workers to start.
    pub fn count(self, config: &Config) -> usize {
        let processors = || thread::available_parallelism().map_or(1, NonZero::get);
        let default = match self {
            Workers::Fixed => 1,
            Workers::PerConnection => CONNECTION_WORKERS,
            Workers::PerProcessor => processors(),
            // A single worker has nothing to share.
            Workers::Shared => processors().max(2),
        };
        config.workers.map_or(default, NonZero::get)
    }
}
