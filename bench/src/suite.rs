//! Suites: which servers are measured under which loads, and how often. A suite is a TOML
//! file, or the built-in one.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use record::units::{Percent, Time};
use record::{Margins, Plan};
use serde::{Deserialize, Serialize};
use servers::models::{MODELS, Model};
use toml::Table;

use crate::external::External;
use crate::names::{check_distinct, model};
use crate::participant::Participant;
use crate::scenario::Scenario;
use crate::slicing::{self, Slicing};
use crate::target::Target;

/// The suites that are built in, by their names. The first is that of `cargo bench`.
const BUILT_IN: [(&str, &str); 2] = [
    ("quick", QUICK),
    ("standard", include_str!("../suites/standard.toml")),
];
const QUICK: &str = include_str!("../suites/quick.toml");

/// How a load of the user is measured: a suite without a scenario.
const OWN: &str = include_str!("../suites/own.toml");

/// Which servers are measured, under which loads, and how often.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Name in the report.
    pub name: String,
    /// The question that it answers.
    pub question: Option<String>,
    /// The most trials of each server under each load.
    pub blocks: u32,
    /// The numbers of blocks after which the verdicts are looked at. A scenario ends at the first look
    /// that decides them.
    pub looks: Vec<u32>,
    /// How far servers may differ and still be tied.
    pub margins: Margins,
    /// No block begins that would end after this time.
    pub budget: Option<Duration>,
    /// Names of models.
    servers: Vec<String>,
    /// Servers of the user.
    externals: Vec<External>,
    /// Servers that already run.
    targets: Vec<Target>,
    /// The loads.
    pub scenarios: Vec<Scenario>,
}

/// A suite as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuiteFile {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<String>,
    blocks: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    looks: Vec<u32>,
    /// How far servers may differ in rates, and in percentiles, and still be tied.
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<Percent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_margin: Option<Percent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Time>,
    /// Defaults of the scenarios.
    warmup: Time,
    duration: Time,
    #[serde(default)]
    servers: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    external: Vec<External>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    target: Vec<Target>,
    #[serde(default)]
    scenario: Vec<Table>,
}

/// The name of the scenario of the user.
const OWN_NAME: &str = "own-load";

/// Bytes of a suite file, at most.
const LONGEST_FILE: u64 = 1 << 20;

impl Suite {
    /// The suite that `cargo bench` runs.
    pub fn quick() -> anyhow::Result<Self> {
        Suite::parse(QUICK)
    }

    /// The suite of that name, if it is built in, else the one in that file.
    pub fn named(name: &Path) -> anyhow::Result<Self> {
        let built_in = { BUILT_IN.iter() }.find(|(known, _)| name.as_os_str() == *known);
        built_in.map_or_else(|| Suite::read(name), |(_, text)| Suite::parse(text))
    }

    /// A load of the user, by the keys of a scenario.
    pub fn own(keys: &Table) -> anyhow::Result<Self> {
        let mut file: SuiteFile = toml::from_str(OWN)?;
        let mut scenario = keys.clone();
        for (key, usual) in [("name", OWN_NAME), ("title", "Your load")] {
            scenario.entry(key).or_insert_with(|| usual.into());
        }
        file.scenario.push(scenario);
        Suite::of(file)
    }

    /// Reads a suite from a file.
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = record::bounded::read(path, LONGEST_FILE).with_context(|| {
            let names = BUILT_IN.map(|(name, _)| format!("`{name}`")).join(", ");
            format!("cannot read the suite {}; built in are {names}", path.display())
        })?;
        let text = text.with_context(|| {
            format!(
                "{} is longer than a suite, which has at most {LONGEST_FILE} bytes",
                path.display()
            )
        })?;
        Suite::parse(&text).with_context(|| format!("{} is not a suite", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        Suite::of(toml::from_str(text)?)
    }

    fn of(file: SuiteFile) -> anyhow::Result<Self> {
        let scenario = |table| Scenario::parse(table, file.warmup, file.duration);
        let scenarios = file.scenario.into_iter().map(scenario);
        let usual = Margins::default();
        let suite = Suite {
            scenarios: scenarios.collect::<anyhow::Result<_>>()?,
            name: file.name,
            question: file.question,
            blocks: file.blocks,
            looks: file.looks,
            margins: Margins {
                rates: file.margin.unwrap_or(usual.rates),
                percentiles: file.p99_margin.unwrap_or(usual.percentiles),
            },
            budget: file.budget.map(|budget| budget.0),
            servers: file.servers,
            externals: file.external,
            targets: file.target,
        };
        let ascend = suite.looks.is_sorted_by(|one, next| one < next);
        let last = suite.looks.last().copied().unwrap_or(suite.blocks);
        ensure!(
            ascend && last == suite.blocks && !suite.looks.contains(&0),
            "`looks` must be numbers of blocks in rising order, the last one {}, as `blocks` says",
            suite.blocks
        );
        suite.models()?;
        suite.check_names()?;
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

    /// The suite as a file.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        let usual = Margins::default();
        let unusual = |margin: Percent, usual| (margin != usual).then_some(margin);
        let time = |of: fn(&Plan) -> Time| self.scenarios.first().map(|first| of(&first.plan));
        let file = SuiteFile {
            name: self.name.clone(),
            question: self.question.clone(),
            blocks: self.blocks,
            looks: self.looks.clone(),
            margin: unusual(self.margins.rates, usual.rates),
            p99_margin: unusual(self.margins.percentiles, usual.percentiles),
            budget: self.budget.map(Time),
            // Each scenario has its own, too.
            warmup: time(|plan| plan.warmup).unwrap_or(Plan::default().warmup),
            duration: time(Plan::duration).unwrap_or(Plan::default().duration()),
            servers: self.servers.clone(),
            external: self.externals.clone(),
            target: self.targets.clone(),
            scenario: { self.scenarios.iter() }
                .map(Scenario::to_table)
                .collect::<anyhow::Result<_>>()?,
        };
        Ok(toml::to_string(&file)?)
    }

    /// Replaces the measured time of all loads, except of those whose stages have their own.
    pub fn set_duration(&mut self, duration: Duration) {
        let plans = self.scenarios.iter_mut().map(|scenario| &mut scenario.plan);
        for plan in plans.filter(|plan| plan.stages.is_none()) {
            plan.duration = Some(Time(duration));
        }
    }

    /// Replaces the time that all loads run before they are measured.
    pub fn set_warmup(&mut self, warmup: Duration) {
        for scenario in &mut self.scenarios {
            scenario.plan.warmup = Time(warmup);
        }
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
        self.externals = externals;
        self.check_names()
    }

    /// Replaces the targets of the suite.
    pub fn select_targets(&mut self, targets: Vec<Target>) -> anyhow::Result<()> {
        self.targets = targets;
        self.check_names()
    }

    fn check_names(&self) -> anyhow::Result<()> {
        let externals = self.externals.iter().map(External::name);
        check_distinct(externals.chain(self.targets.iter().map(Target::name)))
    }

    /// The servers to measure: the models in the order of the registry, then the external
    /// servers, whose programs must exist on this host, then the targets, which must accept
    /// connections. Targets on other hosts need `allow_remote`.
    pub fn participants(&self, allow_remote: bool) -> anyhow::Result<Vec<Participant>> {
        self.externals.iter().try_for_each(External::check)?;
        let targets = self.targets.iter().map(|target| target.resolve(allow_remote));
        let targets: Vec<_> = targets.collect::<anyhow::Result<_>>()?;
        let mut participants = self.local_participants()?;
        participants.extend(targets.into_iter().map(Participant::Target));
        ensure!(
            !participants.is_empty(),
            "no server is named: give models, an external server or a target"
        );
        Ok(participants)
    }

    /// The servers that a run would start on this host, whether or not they can.
    pub fn local_participants(&self) -> anyhow::Result<Vec<Participant>> {
        let models = self.models()?.into_iter().map(Participant::Model);
        let externals = self.externals.iter().cloned().map(Participant::External);
        Ok(models.chain(externals).collect())
    }

    fn models(&self) -> anyhow::Result<Vec<&'static dyn Model>> {
        for name in &self.servers {
            model(name)?;
        }
        let chosen = |model: &&dyn Model| self.servers.iter().any(|name| name == model.name());
        Ok(MODELS.iter().copied().filter(chosen).collect())
    }

    /// Replaces the number of blocks: the verdicts are looked at once, at the end.
    pub fn set_blocks(&mut self, blocks: u32) {
        self.blocks = blocks;
        self.looks.clear();
        self.budget = None;
    }

    /// Replaces whether and how the windows of all loads are sliced.
    pub fn set_slicing(&mut self, slicing: Slicing) {
        for scenario in &mut self.scenarios {
            scenario.slicing = slicing;
        }
    }

    /// The number of trials with that many servers.
    pub fn trials(&self, participants: usize) -> usize {
        participants * self.scenarios.len() * self.blocks as usize
    }

    /// The approximate time that these take; the scenarios are those of the run.
    pub fn time(&self, scenarios: &[record::Scenario], participants: usize) -> Duration {
        let trial = |scenario: &record::Scenario| {
            let plan = &scenario.plan;
            let window = scenario
                .slice
                .map_or(plan.duration().0, |slice| slicing::time(plan, slice.0));
            plan.warmup.0 + window + record::Trial::BESIDE
        };
        let block: Duration = scenarios.iter().map(trial).sum();
        let time = block * participants as u32 * self.blocks;
        self.budget.map_or(time, |budget| budget.min(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_suite_has_four_loads_and_takes_at_most_four_minutes() {
        let suite = Suite::quick().unwrap();
        let connections: Vec<_> = suite
            .scenarios
            .iter()
            .map(|scenario| scenario.plan.connections())
            .collect();
        assert_eq!(connections, [100, 1000, 50, 10]);
        let works = suite
            .scenarios
            .iter()
            .any(|scenario| scenario.setup.work.is_some());
        let crowd = suite.scenarios.iter().any(|scenario| scenario.plan.idle >= 990);
        assert!(works && crowd, "loads that turn the order of the models round");
        assert!(suite.blocks >= 5, "confidence intervals need blocks");
        let models = suite.models().unwrap().len();
        let scenario = |scenario: &Scenario| record::Scenario {
            name: scenario.name.clone(),
            title: scenario.title.clone(),
            plan: scenario.plan.clone(),
            slice: Some(Time(Duration::from_millis(50))),
            setup: scenario.setup.clone(),
            objectives: scenario.objectives.clone(),
        };
        let scenarios: Vec<_> = suite.scenarios.iter().map(scenario).collect();
        assert!(
            suite.time(&scenarios, models) <= Duration::from_secs(240),
            "`cargo bench` takes at most five minutes"
        );
    }

    #[test]
    fn every_suite_that_is_built_in_has_a_question_and_is_read_again_as_it_is_printed() {
        for (name, _) in BUILT_IN {
            let suite = Suite::named(Path::new(name)).unwrap();
            assert_eq!(suite.name, name);
            assert!(suite.question.is_some(), "{name}");
            let printed = suite.to_toml().unwrap();
            let again = Suite::parse(&printed).unwrap();
            assert_eq!(format!("{again:?}"), format!("{suite:?}"), "{printed}");
        }
    }

    #[test]
    fn a_load_of_the_user_is_measured_on_the_servers_of_the_quick_suite() {
        let keys = toml::from_str("connections = 500\nwork = \"sleep:1ms\"\nslo = \"p99<10ms\"").unwrap();
        let suite = Suite::own(&keys).unwrap();
        assert_eq!(suite.servers, Suite::quick().unwrap().servers);
        let [scenario] = suite.scenarios.as_slice() else {
            panic!("{suite:?}")
        };
        assert_eq!(scenario.plan.connections(), 500);
        assert_eq!(scenario.objectives.len(), 1);
        let wrong = toml::from_str("active = \"0%\"").unwrap();
        assert!(Suite::own(&wrong).is_err());
    }

    #[test]
    fn a_missing_file_is_reported_with_the_names_of_suites() {
        let error = format!("{:#}", Suite::named(Path::new("standart")).unwrap_err());
        assert!(error.contains("built in are `quick`, `standard`"), "{error}");
    }

    #[test]
    fn the_suite_of_all_models_is_valid() {
        let mut suite = Suite::parse(include_str!("../suites/models.toml")).unwrap();
        suite.select(&["all".into()]).unwrap();
        assert_eq!(suite.participants(false).unwrap().len(), MODELS.len());
    }

    /// A suite of one scenario with these keys.
    fn with(keys: &str) -> anyhow::Result<Suite> {
        Suite::parse(&format!(
            "name = \"s\"\nblocks = 2\nwarmup = \"200ms\"\nduration = \"1s\"\nservers = [\"epoll\"]\n\
             [[scenario]]\nname = \"one\"\ntitle = \"One\"\n{keys}"
        ))
    }

    fn plan(keys: &str) -> Plan {
        with(keys).unwrap().scenarios.remove(0).plan
    }

    #[test]
    fn a_scenario_is_a_plan_with_the_times_of_the_suite_as_defaults() {
        let defaults = Plan {
            warmup: "200ms".parse().unwrap(),
            duration: Some("1s".parse().unwrap()),
            ..Plan::default()
        };
        assert_eq!(plan(""), defaults);
        let open = plan(
            "rate = \"50k/s\"\narrivals = \"poisson\"\nsize = \"uniform:16B..4KiB\"\nspin = true\nlines = true",
        );
        let expected = Plan {
            rate: Some("50k/s".parse().unwrap()),
            arrivals: Some(record::Arrivals::Poisson),
            size: "uniform:16B..4KiB".parse().unwrap(),
            spin: true,
            lines: true,
            ..defaults.clone()
        };
        assert_eq!(open, expected);
        let stages = plan("stages = \"1s@1k/s..2k/s,2s@2k/s\"\nwarmup = \"3s\"");
        assert_eq!((stages.duration, stages.duration().seconds()), (None, 3.0));
        assert_eq!(stages.warmup.seconds(), 3.0);
        let sessions = plan("connect_rate = \"500/s\"\nthink = \"1ms\"\nsource = [\"127.0.0.2-127.0.0.9\"]");
        assert_eq!(sessions.loop_kind(), record::LoopKind::PartlyOpen);
    }

    #[test]
    fn a_wrong_key_is_refused_with_its_scenario() {
        let error = |keys| format!("{:#}", with(keys).unwrap_err());
        for (keys, parts) in [
            ("block = 6", ["unknown field `block`", "scenario `one`"]),
            ("rate = \"50k\"", ["`50k` is not a rate", "scenario `one`"]),
            ("size = 64", ["a size such as 64B", "scenario `one`"]),
            (
                "cpus = [1]",
                ["`cpus` cannot be set in a suite", "scenario `one`"],
            ),
            (
                "threads = 2",
                ["`threads` cannot be set in a suite", "scenario `one`"],
            ),
            (
                "udp = true",
                ["the server decides the transport", "scenario `one`"],
            ),
        ] {
            for part in parts {
                assert!(error(keys).contains(part), "{keys}: {}", error(keys));
            }
        }
        let suite = "name = \"s\"\nblocks = 1\nwarmup = \"1s\"\nduration = \"1s\"\n[[scenario]]\n";
        let error = |keys: &str| format!("{:#}", Suite::parse(&(suite.to_owned() + keys)).unwrap_err());
        assert!(error("title = \"t\"").contains("`name` is missing"));
        assert!(error("name = \"a\"").contains("scenario `a`: `title` is missing"));
        assert!(error("name = 5").contains("must be a text"));
    }

    #[test]
    fn times_of_the_command_line_replace_those_of_every_scenario() {
        for (keys, duration) in [
            ("", 5.0),
            ("duration = \"2s\"", 5.0),
            ("stages = \"3s@1k/s\"", 3.0),
        ] {
            let mut suite = with(keys).unwrap();
            suite.set_duration(Duration::from_secs(5));
            suite.set_warmup(Duration::from_secs(4));
            let plan = &suite.scenarios[0].plan;
            assert_eq!(
                (plan.duration().seconds(), plan.warmup.seconds()),
                (duration, 4.0)
            );
        }
    }

    #[test]
    fn an_invalid_suite_is_refused_with_the_reason() {
        let wrong = |from: &str, to: &str| {
            assert!(QUICK.contains(from), "{from} is not in the suite");
            format!("{:#}", Suite::parse(&QUICK.replace(from, to)).unwrap_err())
        };
        assert!(wrong("\"epoll\"", "\"epol\"").contains("did you mean `epoll`?"));
        assert!(wrong("blocks = 40", "blocks = 40\nblock = 6").contains("unknown field `block`"));
        assert!(wrong("\"400ms\"", "\"400\"").contains("is not a time"));
        assert!(wrong("\"64B\"", "\"64\"").contains("is not a size"));
        for looks in ["10, 5, 20, 40", "5, 10", "0, 40", "5, 5, 20, 40"] {
            assert!(wrong("5, 10, 20, 40", looks).contains("rising order"), "{looks}");
        }
        let external = "[[external]]\nname = \"mine\"\ncommand = \"./mine {port}\"\n\n[[scenario]]";
        let twice = external.replace("\n[[scenario]]", external);
        assert!(wrong("[[scenario]]", &twice).contains("two servers have the name `mine`"));
        assert!(wrong("[[scenario]]", &external.replace("{port}", "80")).contains("put `{port}` there"));
        assert!(wrong("[[scenario]]", &external.replace("\"mine\"", "\"fork\"")).contains("of a model"));
        assert!(wrong("\"100-connections\"", "\"1000-connections\"").contains("two scenarios"));
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
            let participants = suite.participants(false).unwrap();
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
        assert!(suite.participants(false).is_err());
    }
}
