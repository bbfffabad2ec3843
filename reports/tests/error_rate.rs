//! How often verdicts are wrong, by simulation with known values.

#[path = "support/noise.rs"]
mod noise;

use noise::{Noise, run};
use record::Margins;
use reports::comparison::{Blocks, ERROR_RATE};
use reports::metrics::COMPARED;
use reports::verdict::{Verdict, decide};

fn verdict(servers: &[Blocks], error_rate: f64) -> Verdict {
    let names: Vec<String> = (0..servers.len()).map(|number| number.to_string()).collect();
    let candidates: Vec<(&str, &Blocks)> = names.iter().map(String::as_str).zip(servers).collect();
    decide(&COMPARED[0], &Margins::default(), &candidates, error_rate)
}

/// How many of `runs` runs of equal servers end with a claim that one is worse.
fn false_claims(runs: u64, servers: usize, blocks: u32, noise: &Noise) -> usize {
    let values = vec![100_000.0; servers];
    let claims = |seed: &u64| {
        let servers = run(&values, blocks, 7, noise, *seed);
        !verdict(&servers, ERROR_RATE).evidence.beaten.is_empty()
    };
    (0..runs).filter(claims).count()
}

/// Three standard deviations beyond 5% of 120 runs.
const RUNS: u64 = 120;
const MOST: usize = 13;

#[test]
fn equal_servers_are_rarely_called_different() {
    let heterogeneous = Noise {
        noisy: 2.5,
        ..Noise::SHARED
    };
    let strained = Noise {
        process: 0.04,
        disturbed: 0.15,
        ..Noise::SHARED
    };
    for noise in [Noise::SHARED, heterogeneous, strained] {
        for (servers, blocks) in [(2, 6), (7, 5), (7, 12)] {
            let claims = false_claims(RUNS, servers, blocks, &noise);
            assert!(
                claims <= MOST,
                "{claims} of {RUNS}: {servers} servers, {blocks} blocks, {noise:?}"
            );
        }
    }
}

/// How many of 60 runs find that the fifth of seven servers is slower.
fn found(slower: f64, noise: &Noise) -> usize {
    let mut values = [100_000.0; 7];
    values[4] *= 1.0 - slower;
    let is_found = |seed: &u64| {
        let servers = run(&values, 10, 7, noise, *seed);
        let verdict = verdict(&servers, ERROR_RATE);
        verdict.evidence.beaten.iter().any(|rival| rival.name == "4")
    };
    (0..60).filter(is_found).count()
}

#[test]
fn a_slower_server_is_found() {
    let tenth = found(0.1, &Noise::SHARED);
    assert!(tenth >= 54, "{tenth} of 60");
    let twentieth = found(0.05, &Noise::QUIET);
    assert!(twentieth >= 46, "{twentieth} of 60");
}

#[test]
fn equal_servers_are_tied_once_there_are_enough_blocks() {
    let tied = |seed: &u64| {
        let servers = run(&[100_000.0; 3], 40, 10, &Noise::SHARED, *seed);
        let verdict = verdict(&servers, ERROR_RATE);
        verdict.decision == reports::verdict::Decision::Tied && verdict.leaders.len() == 3
    };
    let tied = (0..30).filter(tied).count();
    assert!(tied >= 24, "{tied} of 30");
}
