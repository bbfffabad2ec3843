//! Which processors run the server and the generator. Affinity is always set, never inherited.

use std::io;
use std::path::Path;

pub use loadgen::affinity::{allowed, pin, with};
use loadgen::quota::Quotas;
use record::Placement;

/// The processors that this program, with the servers that it starts, can use all the time: those that
/// it is allowed, as far as its quota goes.
pub fn usable() -> io::Result<Vec<usize>> {
    let mut cpus = allowed()?;
    if let Some(quotas) = quotas() {
        cpus.truncate(quotas.usable(cpus.len()));
    }
    Ok(cpus)
}

/// The processor quotas of this program, which the servers that it starts share.
pub fn quotas() -> Option<Quotas> {
    Quotas::of(Path::new("/proc/self"))
}

/// Halves the processors between server and generator, which share a single one.
pub fn split(allowed: &[usize]) -> Placement {
    let (server, generator) = match allowed {
        [only] => (vec![*only], vec![*only]),
        several => {
            let (server, generator) = several.split_at(several.len() / 2);
            (server.to_vec(), generator.to_vec())
        }
    };
    Placement {
        server_cpus: server,
        generator_cpus: generator,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_and_generator_get_different_processors() {
        for cpus in [vec![0, 1], vec![2, 5, 7], (0..16).collect()] {
            let placement = split(&cpus);
            assert!(!placement.shared());
            assert_eq!([placement.server_cpus, placement.generator_cpus].concat(), cpus);
        }
    }

    #[test]
    fn a_single_processor_is_shared() {
        assert!(split(&[3]).shared());
    }
}
