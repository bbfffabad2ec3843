//! What a run does to this host before it measures: raise a limit, try processors and source addresses.

use std::io;
use std::net::{IpAddr, UdpSocket};

use crate::affinity;
use crate::limits::{self, TooFewDescriptors};
use crate::plan::CheckedPlan;

/// Why this host cannot carry out a plan. Nothing has been sent yet.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The limit of descriptors cannot be raised far enough.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// The workers cannot be pinned.
    #[error("{0}")]
    Pin(io::Error),
    /// A source is not an address of this host.
    #[error("connections cannot come from {address}: {error}; it must be an address of this host")]
    Source {
        /// The source.
        address: IpAddr,
        /// The error of the system.
        error: io::Error,
    },
}

/// Raises the limit of descriptors, and tries the processors and each source address.
pub fn prepare(plan: &CheckedPlan) -> Result<(), PrepareError> {
    limits::possible(plan.connections + plan.idle, plan.threads, limits::raise())?;
    // Each worker is pinned to one of them.
    for &cpu in plan.cpus.iter().take(plan.threads) {
        affinity::with(&[cpu], || ()).map_err(PrepareError::Pin)?;
    }
    for &address in &plan.sources {
        UdpSocket::bind((address, 0)).map_err(|error| PrepareError::Source { address, error })?;
    }
    Ok(())
}
