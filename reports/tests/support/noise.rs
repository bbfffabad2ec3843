//! Simulated measurements of servers by slices, with the noise of a shared virtual machine.

use fastrand::Rng;
use reports::comparison::Blocks;

/// The noise of values, in shares of them.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    /// Standard deviation of a slice.
    pub slice: f64,
    /// How many slices are disturbed, and by how much at most.
    pub disturbed: f64,
    pub slowed: f64,
    /// Standard deviation between processes of one program.
    pub process: f64,
    /// Standard deviation of what is common to neighbouring slices, and its correlation from one slice
    /// to the next.
    pub common: f64,
    pub correlation: f64,
    /// Factor of the noise of every third server.
    pub noisy: f64,
}

impl Noise {
    /// Slices of 20 ms on a quiet virtual machine of two processors: the ratio of two servers varies
    /// by 8% (standard deviation) from turn to turn.
    pub const QUIET: Noise = Noise {
        slowed: 0.2,
        ..Noise::SHARED
    };

    /// The same while others use the machine, too: it varies by 11%, with heavier tails.
    pub const SHARED: Noise = Noise {
        slice: 0.035,
        disturbed: 0.05,
        slowed: 0.5,
        process: 0.01,
        common: 0.15,
        correlation: 0.98,
        noisy: 1.0,
    };
}

/// A run of servers whose true values are given, by block and turn.
pub fn run(values: &[f64], blocks: u32, turns: u32, noise: &Noise, seed: u64) -> Vec<Blocks> {
    let mut random = Rng::with_seed(seed);
    let mut servers = vec![Blocks::new(); values.len()];
    let mut order: Vec<usize> = (0..values.len()).collect();
    let mut common = normal(&mut random) * noise.common;
    let innovation = noise.common * (1.0 - noise.correlation.powi(2)).sqrt();
    for block in 0..blocks {
        let processes: Vec<f64> = values
            .iter()
            .map(|_| normal(&mut random) * noise.process)
            .collect();
        for turn in 0..turns {
            random.shuffle(&mut order);
            for &server in &order {
                common = noise.correlation * common + innovation * normal(&mut random);
                let factor = if server % 3 == 2 { noise.noisy } else { 1.0 };
                let mut log = common + processes[server] + normal(&mut random) * noise.slice * factor;
                if random.f64() < noise.disturbed {
                    log -= noise.slowed * random.f64();
                }
                let turns = servers[server].entry(block).or_default();
                turns.insert(turn, values[server] * log.exp());
            }
        }
    }
    servers
}

/// Close to a standard normal deviate: the sum of twelve uniform ones.
fn normal(random: &mut Rng) -> f64 {
    (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
}
