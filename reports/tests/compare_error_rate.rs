//! How often a comparison of two runs errs, by simulation with known values.

#[path = "support/noise.rs"]
mod noise;

use noise::{Noise, run};
use reports::compare::ratio::ratio;
use reports::comparison::{Blocks, ERROR_RATE, differences, levels};
use reports::stats::{Estimate, Relation};

/// Servers of each run; the last one is the reference, if there is one.
const SERVERS: usize = 7;
const TURNS: u32 = 7;
const RUNS: u64 = 400;

/// Three standard deviations beyond 5% of the runs.
const MOST: usize = 33;

/// Blocks that have nothing in common with their neighbours, so that nothing differs from one run to the next.
const INDEPENDENT: Noise = Noise {
    common: 0.0,
    ..Noise::SHARED
};

/// A run: its blocks, its noise, and what all its values are multiplied by.
#[derive(Clone, Copy)]
struct Simulated {
    blocks: u32,
    noise: Noise,
    machine: f64,
    /// What the values of the first server are multiplied by.
    first: f64,
}

impl Simulated {
    /// On the same machine, with the same servers.
    fn of(blocks: u32, noise: Noise) -> Self {
        let (machine, first) = (1.0, 1.0);
        Simulated {
            blocks,
            noise,
            machine,
            first,
        }
    }

    fn run(&self, seed: u64) -> Vec<Blocks> {
        let mut values = [100_000.0 * self.machine; SERVERS];
        values[0] *= self.first;
        run(&values, self.blocks, TURNS, &self.noise, seed)
    }
}

/// The ratio of each server, with intervals that hold together; with a reference, relative to it.
fn ratios(base: &[Blocks], new: &[Blocks], has_reference: bool) -> Vec<Estimate> {
    let compared = if has_reference { SERVERS - 1 } else { SERVERS };
    let logs = |run: &[Blocks], server: usize| match has_reference {
        true => differences(&run[server], &[&run[SERVERS - 1]]).unwrap(),
        false => levels(&run[server]).unwrap(),
    };
    (0..compared)
        .map(|server| {
            ratio(
                &logs(base, server),
                &logs(new, server),
                ERROR_RATE / compared as f64,
            )
            .unwrap()
        })
        .collect()
}

/// Without a margin: any change counts.
fn is_changed(ratio: &Estimate) -> bool {
    matches!(ratio.relation(0.0), Some(Relation::Greater | Relation::Less))
}

/// How many pairs of runs end with a claim that any of these servers changed.
fn claims(base: Simulated, new: Simulated, has_reference: bool, servers: std::ops::Range<usize>) -> usize {
    let claims = |seed: &u64| {
        let (base, new) = (base.run(2 * seed), new.run(2 * seed + 1));
        ratios(&base, &new, has_reference)[servers.clone()]
            .iter()
            .any(is_changed)
    };
    (0..RUNS).filter(claims).count()
}

#[test]
fn servers_that_did_not_change_are_rarely_called_changed() {
    let noisy = Noise {
        process: 0.04,
        ..INDEPENDENT
    };
    for (base, new) in [
        (Simulated::of(5, INDEPENDENT), Simulated::of(5, INDEPENDENT)),
        (Simulated::of(20, INDEPENDENT), Simulated::of(20, INDEPENDENT)),
        (Simulated::of(20, INDEPENDENT), Simulated::of(5, noisy)),
        (Simulated::of(2, noisy), Simulated::of(12, INDEPENDENT)),
    ] {
        let claims = claims(base, new, false, 0..SERVERS);
        let blocks = (base.blocks, new.blocks);
        assert!(claims <= MOST, "{claims} of {RUNS}: {blocks:?} blocks");
    }
}

#[test]
fn a_reference_takes_a_change_of_the_machine_out() {
    // The noise of the machine lasts for many slices, and NEW ran while it was slower.
    for noise in [Noise::SHARED, Noise::QUIET] {
        let base = Simulated::of(10, noise);
        let new = Simulated { machine: 0.7, ..base };
        let without = claims(base, new, false, 0..SERVERS);
        assert!(
            without > RUNS as usize * 3 / 4,
            "{without}: nothing could tell the machine from the servers"
        );
        let with = claims(base, new, true, 0..SERVERS - 1);
        assert!(with <= MOST, "{with} of {RUNS}: {noise:?}");
    }
}

#[test]
fn a_change_is_found_and_others_are_not_blamed_for_it() {
    let base = Simulated::of(10, Noise::SHARED);
    let new = Simulated {
        machine: 0.7,
        first: 0.9,
        ..base
    };
    let found = claims(base, new, true, 0..1);
    assert!(found > RUNS as usize * 9 / 10, "{found} of {RUNS}");
    let others = claims(base, new, true, 1..SERVERS - 1);
    assert!(others <= MOST, "{others} of {RUNS}");
}
