//! Suites: which servers are measured under which loads, and how often. A suite is a TOML
//! file, or the built-in one.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use loadgen::units;
use serde::{Deserialize, Deserializer};
use servers::models::{MODELS, Model};

use crate::external::External;
use crate::names::{check_distinct, model};
use crate::participant::Participant;

/// The suite of `cargo bench`.
const QUICK: &str = include_str!("../suites/quick.toml");

/// Time of a trial beside its load: starting and stopping the server, connecting.
const OVERHEAD: Duration = Duration::from_millis(120);

/// Which servers are measured, under which loads, and how often.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Name in the report.
    pub name: String,
    /// Trials of each server under each load.
    pub blocks: u32,
    /// Time of each load before the measurement.
    #[serde(deserialize_with = "time")]
    pub warmup: Duration,
    /// Measured time of each load.
    #[serde(deserialize_with = "time")]
    pub duration: Duration,
    /// Names of models.
    #[serde(default)]
    servers: Vec<String>,
    /// Servers of the user.
    #[serde(default, rename = "external")]
    externals: Vec<External>,
    /// The loads.
    #[serde(rename = "scenario")]
    pub scenarios: Vec<Scenario>,
}

/// A load that every server is measured under.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name, unique in the suite.
    pub name: String,
    /// Title in the report.
    pub title: String,
    /// Connections, all active.
    pub connections: usize,
    /// Bytes in a message.
    #[serde(deserialize_with = "size")]
    pub size: u64,
}

impl Suite {
    /// The suite that `cargo bench` runs.
    pub fn quick() -> anyhow::Result<Self> {
        Suite::parse(QUICK)
    }

    /// Reads a suite from a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the suite {}", path.display()))?;
        Suite::parse(&text).with_context(|| format!("{} is not a suite", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let suite: Suite = toml::from_str(text)?;
        suite.models()?;
        check_distinct(&suite.externals)?;
        ensure!(!suite.scenarios.is_empty(), "there is no [[scenario]] to measure");
        let mut names = HashSet::new();
        for scenario in &suite.scenarios {
            ensure!(
                names.insert(&scenario.name),
                "two scenarios have the name `{}`",
                scenario.name
            );
        }
        Ok(suite)
    }

    /// Replaces the models of the suite; `all` stands for every model, `none` for no model.
    pub fn select(&mut self, names: &[String]) -> anyhow::Result<()> {
        self.servers = match names {
            [only] if only == "none" => Vec::new(),
            names if names.iter().any(|name| name == "all") => {
                MODELS.iter().map(|model| model.name().to_owned()).collect()
            }
            names => names.to_vec(),
        };
        self.models().map(|_| ())
    }

    /// Replaces the external servers of the suite.
    pub fn select_external(&mut self, externals: Vec<External>) -> anyhow::Result<()> {
        check_distinct(&externals)?;
        self.externals = externals;
        Ok(())
    }

    /// The servers to measure: the models in the order of the registry, then the external
    /// servers, whose programs must exist on this host.
    pub fn participants(&self) -> anyhow::Result<Vec<Participant>> {
        let models = self.models()?.into_iter().map(Participant::Model);
        self.externals.iter().try_for_each(External::check)?;
        let participants: Vec<_> = models
            .chain(self.externals.iter().cloned().map(Participant::External))
            .collect();
        ensure!(
            !participants.is_empty(),
            "no server is named: give models or an external server"
        );
        Ok(participants)
    }

    fn models(&self) -> anyhow::Result<Vec<&'static dyn Model>> {
        for name in &self.servers {
            model(name)?;
        }
        let chosen = |model: &&dyn Model| self.servers.iter().any(|name| name == model.name());
        Ok(MODELS.iter().copied().filter(chosen).collect())
    }

    /// The number of trials with that many servers.
    pub fn trials(&self, participants: usize) -> usize {
        participants * self.scenarios.len() * self.blocks as usize
    }

    /// The approximate time that these take.
    pub fn time(&self, participants: usize) -> Duration {
        (self.warmup + self.duration + OVERHEAD) * self.trials(participants) as u32
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    units::time(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    units::size(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_suite_has_four_loads_and_takes_less_than_four_minutes() {
        let suite = Suite::quick().unwrap();
        let connections: Vec<_> = suite
            .scenarios
            .iter()
            .map(|scenario| scenario.connections)
            .collect();
        assert_eq!(connections, [1, 10, 100, 1000]);
        assert!(suite.blocks >= 5, "confidence intervals need blocks");
        let models = suite.models().unwrap().len();
        assert!(
            suite.time(models) < Duration::from_secs(240),
            "`cargo bench` takes at most five minutes"
        );
    }

    #[test]
    fn the_suite_of_all_models_is_valid() {
        let mut suite = Suite::parse(include_str!("../suites/models.toml")).unwrap();
        suite.select(&["all".into()]).unwrap();
        assert_eq!(suite.participants().unwrap().len(), MODELS.len());
    }

    #[test]
    fn an_invalid_suite_is_refused_with_the_reason() {
        let wrong = |from: &str, to: &str| {
            assert!(QUICK.contains(from), "{from} is not in the suite");
            format!("{:#}", Suite::parse(&QUICK.replace(from, to)).unwrap_err())
        };
        assert!(wrong("\"epoll\"", "\"epol\"").contains("did you mean `epoll`?"));
        assert!(wrong("blocks = 5", "blocks = 5\nblock = 6").contains("unknown field `block`"));
        assert!(wrong("\"1s\"", "\"1\"").contains("is not a time"));
        assert!(wrong("\"64B\"", "\"64\"").contains("is not a size"));
        let external = "[[external]]\nname = \"mine\"\ncommand = \"./mine {port}\"\n\n[[scenario]]";
        let twice = external.replace("\n[[scenario]]", external);
        assert!(wrong("[[scenario]]", &twice).contains("two servers have the name `mine`"));
        assert!(wrong("[[scenario]]", &external.replace("{port}", "80")).contains("put `{port}` there"));
        assert!(wrong("[[scenario]]", &external.replace("\"mine\"", "\"fork\"")).contains("of a model"));
        assert!(wrong("\"10-connections\"", "\"1-connection\"").contains("two scenarios"));
    }

    #[test]
    fn all_stands_for_every_model() {
        let mut suite = Suite::quick().unwrap();
        suite.select(&["all".into()]).unwrap();
        assert_eq!(suite.models().unwrap().len(), MODELS.len());
        assert!(suite.select(&["no-such-model".into()]).is_err());
    }

    #[test]
    fn external_servers_follow_the_models_or_stand_alone() {
        let mut suite = Suite::quick().unwrap();
        let names = |suite: &Suite| -> Vec<String> {
            let participants = suite.participants().unwrap();
            participants
                .iter()
                .map(|participant| participant.name().into())
                .collect()
        };
        let shell = || External::new("shell", "sh -c {port}").unwrap();
        suite.select(&["fork".into()]).unwrap();
        suite.select_external(vec![shell()]).unwrap();
        assert_eq!(names(&suite), ["fork", "shell"]);
        suite.select(&["none".into()]).unwrap();
        assert_eq!(names(&suite), ["shell"]);
        suite.select_external(Vec::new()).unwrap();
        assert!(suite.participants().is_err());
    }
}
