//! What was taken from the generator while it was measured: by the hypervisor, and by a quota.

use std::path::Path;

use record::Throttling;

use super::usage::Steal;
use crate::quota::QuotaClock;

/// What was taken, as far as the kernel tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Taken {
    /// Share of the processors' time that the hypervisor took.
    pub steal: Option<f64>,
    /// What the processor quota did, if there is one.
    pub throttling: Option<Throttling>,
}

/// Counts what is taken from the time of its start on.
#[derive(Debug)]
pub struct TakenClock {
    cpus: Vec<usize>,
    steal: Option<Steal>,
    quota: Option<QuotaClock>,
}

impl TakenClock {
    /// Starts a clock for a generator on these processors.
    pub fn start(cpus: &[usize]) -> Self {
        TakenClock {
            cpus: cpus.into(),
            steal: Steal::of(cpus),
            quota: QuotaClock::start(Path::new("/proc/self")),
        }
    }

    /// What has been taken so far from a generator of this number of threads.
    pub fn read(&self, threads: usize) -> Taken {
        Taken {
            steal: self
                .steal
                .and_then(|before| Some(Steal::of(&self.cpus)?.since(before))),
            throttling: self.quota.as_ref().map(|quota| quota.read(threads)),
        }
    }
}
