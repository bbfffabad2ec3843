//! What two runs differ in beside their results: it makes a comparison doubtful, and comes first.

use std::collections::{BTreeMap, BTreeSet};

use record::words::plain_line;
use record::{Plan, Run, Scenario};
use serde::Serialize;
use serde_json::Value;

type Facts = BTreeMap<String, Value>;

/// What a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// The machine, and what it allows.
    Machine,
    /// The kernel and its settings.
    Kernel,
    /// The compiler and the source.
    Build,
    /// How it was measured.
    Measurement,
}

impl Group {
    /// Its name in front of a difference.
    pub fn word(self) -> &'static str {
        match self {
            Group::Machine => "machine",
            Group::Kernel => "kernel",
            Group::Build => "build",
            Group::Measurement => "measurement",
        }
    }

    /// What a difference of it means for the ratios.
    pub fn meaning(self) -> &'static str {
        match self {
            Group::Machine => "The machine or its limits differ, and every ratio shows that, too.",
            Group::Kernel => {
                "The kernel or its settings differ: every echo passes through its network stack, so every ratio \
                 shows that, too."
            }
            Group::Build => {
                "The builds differ. If that is not what is compared, it is a part of every ratio, and the generator \
                 is built with the servers."
            }
            Group::Measurement => "The runs were measured in different ways, which can move every ratio.",
        }
    }
}

/// One thing in which two runs differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about.
    pub group: Group,
    /// What differs.
    pub what: String,
    /// Its value in BASE; `unknown` if that is not recorded.
    pub base: String,
    /// Its value in NEW.
    pub new: String,
}

const MEMORY: &str = "memory bytes";
/// Memory that differs by less is what a kernel keeps for itself.
const SAME_MEMORY: f64 = 0.01;

/// The facts of a host that are not the machine, by the first part of their key. What a later version
/// records is taken for a fact of the machine.
const HOST: [(&str, Group); 6] = [
    ("kernel", Group::Kernel),
    ("sysctls", Group::Kernel),
    ("mitigations", Group::Kernel),
    ("compiler", Group::Build),
    ("profile", Group::Build),
    ("commit", Group::Build),
];

/// The words of a plan that say how a load is made and for how long. Loads that differ only in these are
/// compared; all other words are the load.
const GENERATOR: [&str; 10] = [
    "duration",
    "warmup",
    "seed",
    "source",
    "connect_timeout",
    "answer_timeout",
    "threads",
    "cpus",
    "engine",
    "spin",
];

/// The keys of a scenario that are not its load.
const NOT_THE_LOAD: [&str; 5] = ["name", "title", "plan", "slice", "objectives"];

/// What differs, in the order of the groups.
pub fn differences(base: &Run, new: &Run) -> Vec<Difference> {
    let is_common = |scenario: &&Scenario| new.scenarios.iter().any(|other| other.name == scenario.name);
    let common: Vec<&str> = base
        .scenarios
        .iter()
        .filter(is_common)
        .map(|scenario| &scenario.name[..])
        .collect();
    let (of_base, of_new) = (of_run(base, &common), of_run(new, &common));
    differing(&of_base, &of_new)
        .filter(|((_, what), base, new)| what != MEMORY || !is_close(base, new))
        .map(|((group, what), base, new)| Difference {
            group: *group,
            what: plain_line(what),
            base: shown(base),
            new: shown(new),
        })
        .collect()
}

/// The facts of a run beside its results, and how it measured these scenarios.
fn of_run(run: &Run, scenarios: &[&str]) -> BTreeMap<(Group, String), Value> {
    let mut found = BTreeMap::new();
    for (key, value) in facts(&run.host) {
        let first = key.split('.').next().unwrap_or_default();
        let other = HOST.iter().find(|(name, _)| *name == first);
        let group = other.map_or(Group::Machine, |(_, group)| *group);
        // Names of settings are not words.
        let what = match key.split_once('.') {
            Some(("sysctls", name)) => name.to_owned(),
            Some(_) => key,
            None => key.replace('_', " "),
        };
        found.insert((group, what), value);
    }
    found.insert((Group::Build, "echobench".into()), run.version.as_str().into());
    let mut add = |what: String, value| found.insert((Group::Measurement, what), value);
    add("suite".into(), run.suite.as_str().into());
    for (key, value) in facts(&run.placement) {
        add(key.replace('_', " "), value);
    }
    for scenario in run
        .scenarios
        .iter()
        .filter(|scenario| scenarios.contains(&&scenario.name[..]))
    {
        let slice = facts(scenario).remove("slice").unwrap_or_default();
        let words = words(&scenario.plan).into_iter();
        let ways = words.filter(|(word, _)| GENERATOR.contains(&&word[..]));
        for (word, value) in ways.chain([("slice".into(), slice)]) {
            add(format!("{word} of {}", scenario.name), value);
        }
    }
    found
}

/// Why the loads of two scenarios cannot be compared; `None` if they can.
pub fn different_load(base: &Scenario, new: &Scenario) -> Option<String> {
    let load = |scenario: &Scenario| {
        let mut load = words(&scenario.plan);
        load.retain(|word, _| !GENERATOR.contains(&&word[..]));
        let more = facts(scenario).into_iter();
        load.extend(
            more.filter(|(key, _)| !NOT_THE_LOAD.contains(&key.split('.').next().unwrap_or_default())),
        );
        load
    };
    let (of_base, of_new) = (load(base), load(new));
    let each = differing(&of_base, &of_new)
        .map(|(word, base, new)| format!("{word} is {} in BASE and {} in NEW", shown(base), shown(new)));
    let each: Vec<String> = each.collect();
    if !each.is_empty() {
        return Some(format!("the loads differ: {}", each.join(", ")));
    }
    // A value of a slice and one of a window, with its stalls, are two quantities.
    let way = |scenario: &Scenario| match scenario.slice {
        Some(_) => "in slices",
        None => "in whole windows",
    };
    (base.slice.is_some() != new.slice.is_some()).then(|| {
        let (base, new) = (way(base), way(new));
        format!("the servers had the load {base} in BASE and {new} in NEW")
    })
}

/// A plan as its words, with the defaults filled in.
fn words(plan: &Plan) -> Facts {
    facts(&plan.complete())
}

/// A record as facts: the values of maps in it have keys with dots.
fn facts(record: &impl Serialize) -> Facts {
    let mut facts = Facts::new();
    if let Ok(Value::Object(fields)) = serde_json::to_value(record) {
        for (key, value) in fields {
            match value {
                Value::Object(inner) => {
                    facts.extend(
                        inner
                            .into_iter()
                            .map(|(name, value)| (format!("{key}.{name}"), value)),
                    );
                }
                value => drop(facts.insert(key, value)),
            }
        }
    }
    facts
}

/// The facts that differ, with both values; one that is absent is null.
fn differing<'a, K: Ord>(
    base: &'a BTreeMap<K, Value>,
    new: &'a BTreeMap<K, Value>,
) -> impl Iterator<Item = (&'a K, &'a Value, &'a Value)> {
    let keys: BTreeSet<&K> = base.keys().chain(new.keys()).collect();
    let of = |facts: &'a BTreeMap<K, Value>, key: &K| facts.get(key).unwrap_or(&Value::Null);
    { keys.into_iter() }
        .map(move |key| (key, of(base, key), of(new, key)))
        .filter(|(_, base, new)| base != new)
}

fn is_close(one: &Value, other: &Value) -> bool {
    let bytes = one.as_f64().zip(other.as_f64());
    bytes.is_some_and(|(one, other)| (one / other - 1.0).abs() < SAME_MEMORY)
}

/// A value as text, without the quotes and brackets of JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "unknown".into(),
        Value::String(text) => plain_line(text),
        Value::Array(values) if values.is_empty() => "none".into(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(","),
        other => plain_line(&other.to_string()),
    }
}
