//! Plans of schema 1 to 3, which had plain numbers.

use std::net::IpAddr;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::choices::{Arrivals, LoopKind, Transport};
use super::definition::Plan;
use super::size::MessageSize;
use super::stages::{Stage, Stages};
use crate::units::{self, Bytes, Rate, Time};

/// Reads the plan of a record of any version. Plans of schema 1 to 3 do not have the engine,
/// the wait and the processors, which are in the record of the generator, nor the time limits.
pub fn read_plan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Plan, D::Error> {
    let value = Value::deserialize(deserializer)?;
    // Every older plan has this field, and no newer one.
    match value.get("discipline") {
        None => Plan::deserialize(value).map_err(D::Error::custom),
        Some(_) => OlderPlan::deserialize(value)
            .map_err(D::Error::custom)?
            .convert()
            .map_err(D::Error::custom),
    }
}

/// The mean size in a plan of schema 1 to 3. Newer plans do not have the mean of sizes that a file
/// lists: it is in the load.
pub fn older_mean_bytes(plan: &Value) -> Option<f64> {
    plan.get("message_bytes")?.as_f64()
}

/// A plan of schema 1 to 3.
#[derive(Debug, Deserialize)]
struct OlderPlan {
    discipline: LoopKind,
    connections: usize,
    threads: usize,
    message_bytes: u64,
    sizes: Option<String>,
    warmup_s: f64,
    duration_s: f64,
    #[serde(default)]
    transport: Transport,
    #[serde(default = "one")]
    depth: u32,
    #[serde(default)]
    think_s: f64,
    messages_per_connection: Option<u64>,
    #[serde(default)]
    stages: Vec<OlderStage>,
    arrivals: Option<Arrivals>,
    #[serde(default)]
    idle: usize,
    #[serde(default)]
    sources: Vec<IpAddr>,
    #[serde(default)]
    seed: u64,
}

#[derive(Debug, Deserialize)]
struct OlderStage {
    duration_s: f64,
    from_per_s: f64,
    to_per_s: f64,
}

fn one() -> u32 {
    1
}

impl OlderPlan {
    fn convert(self) -> Result<Plan, String> {
        let stages = self.stages.iter().map(OlderStage::convert);
        let stages = stages.collect::<Result<Vec<_>, _>>()?;
        let mut plan = Plan {
            connections: Some(self.connections),
            idle: self.idle,
            size: self.size(),
            duration: Some(time(self.duration_s)?),
            warmup: time(self.warmup_s)?,
            depth: self.depth,
            think: time(self.think_s)?,
            messages_per_connection: self.messages_per_connection,
            arrivals: self.arrivals,
            udp: self.transport == Transport::Udp,
            seed: self.seed,
            sources: self.sources.into_iter().map(Into::into).collect(),
            threads: Some(self.threads),
            ..Plan::default()
        };
        let steady = match stages[..] {
            [stage] if stage.from == stage.to => Some(stage.from),
            _ => None,
        };
        match (self.discipline, steady) {
            (LoopKind::Closed, _) => {}
            (LoopKind::Open, Some(rate)) => plan.rate = Some(rate),
            (LoopKind::Open, None) => {
                plan.stages = Some(Stages::new(stages).ok_or("an open loop without `stages`")?);
                plan.duration = None;
            }
            (LoopKind::PartlyOpen, Some(rate)) => {
                plan.connect_rate = Some(rate);
                plan.connections = None;
            }
            (LoopKind::PartlyOpen, None) => {
                return Err("a partly open loop whose `stages` are not one rate".into());
            }
        }
        Ok(plan)
    }

    /// The sizes by their description. It rounded to three digits, and is not read back where a
    /// later version may have described them otherwise.
    fn size(&self) -> MessageSize {
        let described = self.sizes.as_deref().and_then(described);
        described.unwrap_or(MessageSize::Fixed(Bytes(self.message_bytes)))
    }
}

/// `16 B to 4.0 KiB, each size as likely` or `the 3 sizes in PATH, in turn`.
fn described(text: &str) -> Option<MessageSize> {
    if let Some((_, path)) = text.split_once(" sizes in ") {
        return Some(MessageSize::Listed(path.strip_suffix(", in turn")?.into()));
    }
    let (first, last) = text.strip_suffix(", each size as likely")?.split_once(" to ")?;
    let size = |text| units::size(text).ok().map(Bytes);
    Some(MessageSize::Uniform(size(first)?, size(last)?))
}

impl OlderStage {
    fn convert(&self) -> Result<Stage, String> {
        let rate = |per_s| Rate::new(per_s).ok_or(format!("a rate of {per_s} per second"));
        Ok(Stage {
            duration: time(self.duration_s)?,
            from: rate(self.from_per_s)?,
            to: rate(self.to_per_s)?,
        })
    }
}

fn time(seconds: f64) -> Result<Time, String> {
    Duration::try_from_secs_f64(seconds)
        .map(Time)
        .map_err(|_| format!("a time of {seconds} seconds"))
}
