//! Synthetic runs that resemble real ones.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use record::histogram::{self, Encoded, Histogram, Quantiles};
use record::*;

/// How a synthetic server behaves.
#[derive(Clone)]
pub struct Model {
    pub name: String,
    pub family: String,
    /// Echoes per second without contention.
    pub rate: f64,
    /// CPU time of an echo in microseconds.
    pub cpu_us: f64,
    /// How much an echo slows down for each factor of ten in connections.
    pub strain: f64,
    /// Connections that it serves at once.
    pub serves: u64,
    /// Memory of a connection in bytes.
    pub memory: u64,
}

pub fn model(name: &str, family: &str, rate: f64, cpu_us: f64) -> Model {
    Model {
        name: name.into(),
        family: family.into(),
        rate,
        cpu_us,
        strain: 0.05,
        serves: u64::MAX,
        memory: 8 << 10,
    }
}

/// The models of the quick suite, and `poll`.
pub fn models() -> Vec<Model> {
    vec![
        Model {
            serves: 1,
            ..model("iterative", "process", 62_000.0, 7.2)
        },
        Model {
            strain: 0.12,
            memory: 220 << 10,
            ..model("fork", "process", 118_000.0, 9.8)
        },
        Model {
            strain: 0.09,
            memory: 26 << 10,
            ..model("thread", "thread", 126_000.0, 8.9)
        },
        Model {
            serves: 64,
            strain: 0.07,
            ..model("pool", "thread", 127_000.0, 8.7)
        },
        Model {
            strain: 0.33,
            ..model("poll", "readiness", 148_000.0, 5.6)
        },
        Model {
            strain: 0.02,
            ..model("epoll", "readiness", 158_000.0, 5.1)
        },
        Model {
            strain: 0.02,
            memory: 11 << 10,
            ..model("tokio", "async", 158_500.0, 5.9)
        },
    ]
}

/// Deterministic random numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Log-normal latencies about a median, with rare stalls.
pub fn latencies(random: &mut Random, median_ns: f64, count: u64) -> Histogram {
    const DRAWS: u64 = 4000;
    let mut histogram = histogram::empty();
    for draw in 0..DRAWS.min(count) {
        let stalled = if draw % 500 == 3 { 6.0 } else { 1.0 };
        let ns = median_ns * stalled * (random.normal() * 0.28).exp();
        histogram.saturating_record_n(ns.max(1.0) as u64, (count / DRAWS).max(1));
    }
    histogram
}

pub fn scenario(connections: usize) -> Scenario {
    let title = match connections {
        1 => "One client".to_owned(),
        many => format!("{many} busy clients"),
    };
    Scenario {
        name: format!("{connections}-connections"),
        title,
        plan: plan(connections),
        slice: None,
        setup: Setup::default(),
        objectives: Vec::new(),
    }
}

pub fn plan(connections: usize) -> Plan {
    Plan {
        connections: Some(connections),
        warmup: "500ms".parse().unwrap(),
        duration: Some("2s".parse().unwrap()),
        ..Plan::default()
    }
}

/// A plan of any loop; the open ones have a rate.
pub fn plan_of(kind: LoopKind, connections: usize) -> Plan {
    let rate = Some("500/s".parse().unwrap());
    let closed = plan(connections);
    match kind {
        LoopKind::Closed => closed,
        LoopKind::Open => Plan { rate, ..closed },
        LoopKind::PartlyOpen => Plan {
            connections: None,
            connect_rate: rate,
            ..closed
        },
    }
}

pub fn run(models: &[Model], connections: &[usize], blocks: u32) -> Run {
    let server = |model: &Model| Server {
        name: model.name.clone(),
        family: model.family.clone(),
        summary: format!("the {} model", model.name),
        transport: match model.family.as_str() {
            "datagram" => Transport::Udp,
            _ => Transport::Tcp,
        },
    };
    Run {
        schema_version: SCHEMA_VERSION,
        version: "0.1.0".into(),
        started_at: "2026-03-01T10:00:00Z".into(),
        command: ["echobench", "run", "quick.toml", "--blocks", "5"]
            .map(str::to_owned)
            .into(),
        suite: "quick".into(),
        question: None,
        scenarios: connections.iter().map(|&count| scenario(count)).collect(),
        servers: models.iter().map(server).collect(),
        blocks,
        looks: Vec::new(),
        margins: Margins::default(),
        seed: 42,
        placement: Placement {
            server_cpus: vec![0],
            generator_cpus: vec![1],
        },
        host: Host {
            kernel: "6.12.0".into(),
            architecture: "x86_64".into(),
            cpu_model: Some("Example CPU @ 2.80GHz".into()),
            cpus_online: 2,
            cpus_allowed: vec![0, 1],
            memory_bytes: Some(8 << 30),
            hypervisor: Some("KVM".into()),
            sysctls: [("net.core.somaxconn".to_owned(), "4096".to_owned())].into(),
            descriptor_limit: 1_048_576,
            compiler: "rustc 1.88.0".into(),
            commit: Some("0123456789abcdef".into()),
            ..Host::default()
        },
        host_checks: Vec::new(),
    }
}

/// One measured trial.
pub fn trial(random: &mut Random, model: &Model, connections: usize, block: u32) -> Trial {
    let asked = connections as u64;
    let served = asked.min(model.serves);
    let crowd = (served as f64).log10();
    let alone = if served == 1 { 0.32 } else { 1.0 };
    // The noise of a block affects all of its servers.
    let block_noise = (Random(u64::from(block) * 977 + asked).normal() * 0.04).exp();
    let noise = block_noise * (random.normal() * 0.008).exp();
    let rate = model.rate * alone * noise / (1.0 + model.strain * crowd * crowd);
    let echoes = (rate * 2.0) as u64;
    let histogram = latencies(random, 1e9 * served as f64 / rate, echoes);
    let outcome = Outcome::Measured {
        load: load(&histogram, connections, rate, echoes, served),
        cost: Some(Cost {
            cpu_s: model.cpu_us * echoes as f64 / 1e6,
            served: None,
            cpu_us_per_echo: Some(model.cpu_us * (1.0 + 0.1 * crowd) * (random.normal() * 0.02).exp()),
            voluntary_switches: echoes / (1 + served / 2),
            involuntary_switches: echoes / 100,
            processes: 1,
            threads: 1,
            pss_bytes: Some((2 << 20) + served * model.memory),
            throttling: None,
        }),
        slices: Vec::new(),
    };
    Trial {
        server: model.name.clone(),
        scenario: format!("{connections}-connections"),
        block,
        started_at: "2026-03-01T10:00:00Z".into(),
        outcome,
    }
}

pub fn load(histogram: &Histogram, connections: usize, rate: f64, echoes: u64, answered: u64) -> Load {
    Load {
        schema_version: SCHEMA_VERSION,
        target: "127.0.0.1:40000".into(),
        started_at: "2026-03-01T10:00:00Z".into(),
        parts: Vec::new(),
        plan: plan(connections),
        listed_mean_bytes: None,
        generator: Generator {
            version: "0.1.0".into(),
            engine: Engine::Epoll,
            wait: Wait::Sleep,
            cpus: vec![1],
            utilisation: (rate / 170_000.0).min(1.0),
            kept_waiting: 0.0,
            involuntary_switches: 0,
            steal: None,
            throttling: None,
        },
        window_s: 2.0,
        summary: Summary {
            echoes_per_s: rate,
            offered_per_s: None,
            echoes,
            latencies: [(Span::Service, Quantiles::of(histogram))].into(),
            connections_per_s: None,
            unanswered: 0,
            reconnects: None,
            connections: Connections {
                asked: connections as u64,
                open: connections as u64,
                answered,
                idle: 0,
                never_served: 0,
            },
            errors: BTreeMap::new(),
            cpu_us_per_echo: Some(3.0),
            findings: Findings::default(),
        },
        error_examples: BTreeMap::new(),
        histograms: [(Span::Service, Encoded::new(histogram))].into(),
        unfinished: None,
        intervals: Vec::new(),
    }
}

/// The trials of a whole run: every model in every scenario in every block.
pub fn trials(models: &[Model], connections: &[usize], blocks: u32) -> Vec<Trial> {
    let mut random = Random(1);
    let mut trials = Vec::new();
    for block in 0..blocks {
        for &count in connections {
            trials.extend(models.iter().map(|model| trial(&mut random, model, count, block)));
        }
    }
    trials
}

/// The records of a run, as read from its file.
pub fn records(run: &Run, trials: &[Trial]) -> Records {
    Records {
        measured: Some(Measured {
            run: run.clone(),
            trials: trials.to_vec(),
        }),
        conformance: None,
    }
}

/// Conformance outcomes; `outcome` takes the index of the server and that of the case.
pub fn conformance(
    servers: usize,
    cases: usize,
    outcome: impl Fn(usize, usize) -> Option<CaseOutcome>,
) -> Conformance {
    let case = |case: usize| CaseDescription {
        id: format!("C{}", case + 1),
        name: format!("case number {}", case + 1),
        question: format!("Does number {} hold?", case + 1),
    };
    let places = (0..servers).flat_map(|server| (0..cases).map(move |case| (server, case)));
    let results = places.filter_map(|(server, case)| {
        Some(CaseResult {
            case: format!("C{}", case + 1),
            model: format!("server-{}", server + 1),
            outcome: outcome(server, case)?,
            seconds: 0.25,
        })
    });
    Conformance {
        schema_version: SCHEMA_VERSION,
        version: "0.1.0".into(),
        started_at: "2026-03-01T09:00:00Z".into(),
        host: run(&[], &[], 1).host,
        full: false,
        seed: 7,
        cases: (0..cases).map(case).collect(),
        results: results.collect(),
    }
}

/// The records as the lines of a file.
pub fn lines(run: &Run, trials: &[Trial]) -> String {
    let mut text = serde_json::to_string(&Record::Run(run.clone())).unwrap();
    text.push('\n');
    for trial in trials {
        writeln!(
            text,
            "{}",
            serde_json::to_string(&Record::Trial(trial.clone())).unwrap()
        )
        .unwrap();
    }
    text
}

/// A trial that was not measured.
pub fn unmeasured(model: &Model, connections: usize, block: u32, outcome: Outcome) -> Trial {
    Trial {
        server: model.name.clone(),
        scenario: format!("{connections}-connections"),
        block,
        started_at: "2026-03-01T10:00:00Z".into(),
        outcome,
    }
}
