//! Prints how often verdicts on simulated servers are wrong, and what they find: the error rate and
//! the power of the method, for several kinds of noise.
//!
//! `cargo run --release -p reports --example error_rates [NOISE]`; with a part of the name of a kind
//! of noise, of this kind alone.

#[path = "../tests/support/noise.rs"]
mod noise;

use noise::{Noise, run};
use record::Margins;
use reports::comparison::{Blocks, ERROR_RATE};
use reports::metrics::COMPARED;
use reports::verdict::{Decision, Verdict, decide};

const RUNS: u64 = 400;
const TURNS: u32 = 7;
const LOOKS: [u32; 4] = [5, 10, 20, 40];

fn verdict(servers: &[Blocks], error_rate: f64) -> Verdict {
    let names: Vec<String> = (0..servers.len()).map(|number| number.to_string()).collect();
    let candidates: Vec<(&str, &Blocks)> = names.iter().map(String::as_str).zip(servers).collect();
    decide(&COMPARED[0], &Margins::default(), &candidates, error_rate)
}

/// The first blocks of each server: `limits` of them if it was left out after these.
fn first(servers: &[Blocks], blocks: u32, limits: &[u32]) -> Vec<Blocks> {
    let own = |(all, limit): (&Blocks, &u32)| {
        all.range(..blocks.min(*limit))
            .map(|(block, turns)| (*block, turns.clone()))
            .collect()
    };
    servers.iter().zip(limits).map(own).collect()
}

struct Seen {
    claims: usize,
    found: usize,
    decided: usize,
    half_widths: Vec<f64>,
    blocks: u32,
}

/// Looks at the verdicts after each number of blocks, leaves out what is clearly behind, and stops at the
/// first that is decided.
fn study(servers: usize, slower: f64, looks: &[u32], noise: &Noise) -> Seen {
    let mut values = vec![100_000.0; servers];
    values[servers - 1] *= 1.0 - slower;
    let slow = (servers - 1).to_string();
    let mut seen = Seen {
        claims: 0,
        found: 0,
        decided: 0,
        half_widths: Vec::new(),
        blocks: 0,
    };
    let rate = ERROR_RATE / looks.len() as f64;
    for seed in 0..RUNS {
        let all = run(&values, looks[looks.len() - 1], TURNS, noise, seed);
        let mut limits = vec![u32::MAX; servers];
        for &look in looks {
            let verdict = verdict(&first(&all, look, &limits), rate);
            let is_last = look == looks[looks.len() - 1];
            if !verdict.decision.is_final() && !is_last {
                for (number, limit) in limits.iter_mut().enumerate() {
                    if !verdict.evidence.needs(&number.to_string()) {
                        *limit = (*limit).min(look);
                    }
                }
                continue;
            }
            let beaten = &verdict.evidence.beaten;
            let is_slow = |name: &str| slower > 0.0 && name == slow;
            seen.claims += usize::from(beaten.iter().any(|rival| !is_slow(&rival.name)));
            seen.found += usize::from(beaten.iter().any(|rival| is_slow(&rival.name)));
            seen.decided += usize::from(matches!(verdict.decision, Decision::Winner | Decision::Tied));
            let rivals = verdict.evidence.rivals();
            seen.half_widths
                .extend(rivals.filter_map(|rival| rival.ratio.half_width()));
            seen.blocks += look;
            break;
        }
    }
    seen
}

fn main() {
    println!(
        "| noise | servers | one slower by | looks after blocks | false claims | found | decided | half-width | blocks |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let kinds = [
        ("quiet machine", Noise::QUIET),
        ("shared machine", Noise::SHARED),
        (
            "every third server 2.5 times as noisy",
            Noise {
                noisy: 2.5,
                ..Noise::SHARED
            },
        ),
        (
            "processes differ by 3%",
            Noise {
                process: 0.03,
                ..Noise::SHARED
            },
        ),
        (
            "15% of slices disturbed",
            Noise {
                disturbed: 0.15,
                ..Noise::SHARED
            },
        ),
    ];
    let chosen = std::env::args_os().nth(1).unwrap_or_default();
    let chosen = chosen.to_string_lossy();
    for (name, noise) in { kinds }.into_iter().filter(|(name, _)| name.contains(&*chosen)) {
        for servers in [2, 7, 29] {
            for looks in [&[10][..], &LOOKS] {
                for slower in [0.0, 0.05, 0.1] {
                    let mut seen = study(servers, slower, looks, &noise);
                    seen.half_widths.sort_by(f64::total_cmp);
                    let percent = |count: usize| format!("{:.1}%", count as f64 * 100.0 / RUNS as f64);
                    println!(
                        "| {name} | {servers} | {:.0}% | {looks:?} | {} | {} | {} | {:.1}% | {:.0} |",
                        slower * 100.0,
                        percent(seen.claims),
                        if slower > 0.0 {
                            percent(seen.found)
                        } else {
                            "–".into()
                        },
                        percent(seen.decided),
                        seen.half_widths[seen.half_widths.len() / 2] * 100.0,
                        f64::from(seen.blocks) / RUNS as f64,
                    );
                }
            }
        }
    }
}
