//! How a case is run: its scale and seed, and how its server starts.

use anyhow::Context;

use crate::server::conditions::Conditions;

/// The size of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Finds a bug in seconds; what `cargo test` runs.
    Quick,
    /// The number of connections, or the time, that the case is really about.
    Full,
}

/// How cases are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Their size.
    pub scale: Scale,
    /// Seed of everything random in them.
    pub seed: u64,
}

impl Settings {
    /// The quick forms with the default seed.
    pub const QUICK: Settings = Settings {
        scale: Scale::Quick,
        seed: SEED,
    };
}

/// The default seed: constant, so that runs are comparable.
pub const SEED: u64 = 1;

/// The environment variable with the seed of the cases.
pub const SEED_VARIABLE: &str = "ECHOBENCH_SEED";

/// Parses a seed: a number, or `random` for a different one each time.
pub fn seed(text: &str) -> anyhow::Result<u64> {
    match text.trim() {
        "random" => Ok(fastrand::u64(..1_000_000)),
        number => number
            .parse()
            .with_context(|| format!("`{text}` is not a seed: use a number or `random`")),
    }
}

/// How the server of a case starts.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Connections that are open at the same time: a server with one worker per connection
    /// starts as many workers.
    pub connections: usize,
    /// Arguments in addition to `--listen`.
    pub arguments: &'static [&'static str],
    /// Conditions that it starts under.
    pub conditions: Conditions,
    /// Client hosts in a network of its own; 0 for loopback.
    pub hosts: usize,
}

impl Setup {
    /// A server on loopback, started without further arguments.
    pub const PLAIN: Setup = Setup {
        connections: 0,
        arguments: &[],
        conditions: Conditions::NONE,
        hosts: 0,
    };
}

/// Something a case needs and this host does not have or allow. As the error of a case it
/// means that the case is skipped.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_seed_is_a_number_or_random() {
        assert_eq!(seed("42").unwrap(), 42);
        let several: HashSet<_> = (0..9).map(|_| seed("random").unwrap()).collect();
        assert!(several.len() > 1);
        assert!(seed("dice").unwrap_err().to_string().contains("`dice`"));
    }
}
