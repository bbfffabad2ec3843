//! Which processors do what: always set, never left to inheritance.

use std::io;

pub use loadgen::affinity::{allowed, pin};
use loadgen::record::Placement;

/// Runs `action` on other processors, so that a process that it starts is born there:
/// a runtime that counts its processors at the start must find the right ones.
pub fn with<T>(cpus: &[usize], action: impl FnOnce() -> T) -> io::Result<T> {
    let before = allowed()?;
    pin(cpus)?;
    let result = action();
    pin(&before)?;
    Ok(result)
}

/// Halves the processors between server and generator; a single one is shared.
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
    fn server_and_generator_are_apart_where_there_is_room() {
        for cpus in [vec![0, 1], vec![2, 5, 7], (0..16).collect()] {
            let placement = split(&cpus);
            assert!(!placement.shared());
            assert_eq!([placement.server_cpus, placement.generator_cpus].concat(), cpus);
        }
    }

    #[test]
    fn a_single_processor_is_shared_and_known_to_be() {
        assert!(split(&[3]).shared());
    }

    #[test]
    fn what_is_run_elsewhere_leaves_the_thread_where_it_was() {
        let before = allowed().unwrap();
        let inside = with(&before[..1], || allowed().unwrap()).unwrap();
        assert_eq!(inside, before[..1]);
        assert_eq!(allowed().unwrap(), before);
    }
}
