//! A load that every server of a suite is measured under.

use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, Command};
use record::units::{Percent, Time};
use record::{Condition, Plan, Setup};
use servers::models::{MODELS, Model};
use servers::work::Work;
use toml::{Table, Value};

use crate::names::{check, suggestion};
use crate::slicing::Slicing;

/// A load, how the servers are started for it, and what they have to achieve.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Short name, unique in the suite.
    pub name: String,
    /// Title in the report.
    pub title: String,
    /// What is sent, and when. The run adds the processors and the transport of the server.
    pub plan: Plan,
    /// Whether the windows of a block are sliced.
    pub slicing: Slicing,
    /// How the servers are started.
    pub setup: Setup,
    /// What a server has to achieve.
    pub objectives: Vec<Condition>,
}

/// The keys of a scenario beside those of its plan.
const KEYS: [&str; 7] = [
    "name",
    "title",
    "slice",
    "active",
    "work",
    "server_options",
    "slo",
];

/// Keys of a plan that the run decides, and how.
pub const DECIDED: [(&str, &str); 3] = [
    (
        "cpus",
        "the run divides the processors between server and generator",
    ),
    ("threads", "the generator has a thread for each of its processors"),
    ("udp", "the server decides the transport"),
];

/// Options of servers that the run decides.
const DECIDED_OF_SERVERS: [&str; 4] = ["--listen", "--list", "--format", "--work"];

impl Scenario {
    /// Reads a `[[scenario]]`: its own keys, and the fields of its plan.
    pub fn parse(mut table: Table, warmup: Time, duration: Time) -> anyhow::Result<Self> {
        let name = text(&mut table, "name").context("in a [[scenario]]")?;
        check(&name).context("in a [[scenario]]")?;
        let title = text(&mut table, "title");
        let scenario = title.and_then(|title| Scenario::of(name.clone(), title, table, warmup, duration));
        scenario.with_context(|| format!("in the scenario `{name}`"))
    }

    fn of(
        name: String,
        title: String,
        mut table: Table,
        warmup: Time,
        duration: Time,
    ) -> anyhow::Result<Self> {
        if let Some((key, reason)) = DECIDED.into_iter().find(|(key, _)| table.contains_key(*key)) {
            bail!("`{key}` cannot be set in a suite: {reason}");
        }
        let known = keys();
        for key in table.keys() {
            ensure!(
                // What `source` was called before.
                known.contains(key) || key == "sources",
                "unknown field `{key}`{}",
                suggestion(key, known.iter().map(String::as_str))
            );
        }
        let slicing = match optional(&mut table, "slice")? {
            Some(slice) => slice.parse().context("`slice`")?,
            None => Slicing::Auto,
        };
        let setup = Setup {
            work: optional(&mut table, "work")?.map(work).transpose()?,
            options: optional(&mut table, "server_options")?
                .map_or_else(|| Ok(Vec::new()), |text| server_options(&text))?,
        };
        let objectives = objectives(table.remove("slo"))?;
        let active = optional(&mut table, "active")?;
        let has_stages = table.contains_key("stages");
        let has_warmup = table.contains_key("warmup");
        let has_idle = table.contains_key("idle");
        let mut plan: Plan = table.try_into()?;
        if let Some(active) = active {
            ensure!(
                !has_idle,
                "`active` is a share of the connections, and `idle` a number beside them: give one of them"
            );
            let share: Percent = active.parse().context("`active`")?;
            let all = plan.connections();
            let busy = (all as f64 * share.share()).round() as usize;
            ensure!(
                (1..=all).contains(&busy),
                "`active`: {active} of {all} connections are {busy}: at least one must be active, and at most all"
            );
            (plan.connections, plan.idle) = (Some(busy), all - busy);
        }
        if !has_warmup {
            plan.warmup = warmup;
        }
        if plan.duration.is_none() && !has_stages {
            plan.duration = Some(duration);
        }
        Ok(Scenario {
            name,
            title,
            plan,
            slicing,
            setup,
            objectives,
        })
    }

    /// The keys that say the same: what is as usual is left out.
    pub fn to_table(&self) -> anyhow::Result<Table> {
        let usual = Table::try_from(Plan::default())?;
        let mut table = Table::new();
        let mut add = |key: &str, value: String| table.insert(key.into(), value.into());
        add("name", self.name.clone());
        add("title", self.title.clone());
        match self.slicing {
            Slicing::Auto => None,
            slicing => add("slice", slicing.to_string()),
        };
        self.setup
            .work
            .iter()
            .for_each(|work| drop(add("work", work.clone())));
        if !self.setup.options.is_empty() {
            let words = self.setup.options.iter().map(String::as_str);
            add("server_options", shlex::try_join(words)?);
        }
        if !self.objectives.is_empty() {
            let objectives = self
                .objectives
                .iter()
                .map(|objective| Value::from(objective.to_string()));
            table.insert("slo".into(), Value::Array(objectives.collect()));
        }
        let plan = Table::try_from(&self.plan)?;
        table.extend(
            plan.into_iter()
                .filter(|(key, value)| usual.get(key) != Some(value)),
        );
        Ok(table)
    }
}

/// The names of all keys.
fn keys() -> Vec<String> {
    let plan = Plan::augment_args(Command::new("plan"));
    let fields = plan.get_arguments().map(|argument| argument.get_id().to_string());
    fields.chain(KEYS.map(str::to_owned)).collect()
}

fn work(text: String) -> anyhow::Result<String> {
    text.parse::<Work>()
        .map_err(|error| anyhow!(error))
        .context("`work`")?;
    Ok(text)
}

/// The options of servers in words, as by a shell; an error if no model takes them.
fn server_options(text: &str) -> anyhow::Result<Vec<String>> {
    let words = shlex::split(text).context("`server_options` ends within a quotation")?;
    let decided = |word: &&String| {
        let name = word.split('=').next().unwrap_or_default();
        DECIDED_OF_SERVERS.contains(&name)
    };
    if let Some(word) = words.iter().find(decided) {
        bail!("`server_options` cannot have `{word}`: the run or a key of its own decides it");
    }
    let check = |model: &dyn Model| servers::cli::check(model, &words);
    if !MODELS.iter().any(|model| check(*model).is_ok()) {
        check(MODELS[0]).context("no model takes these `server_options`")?;
    }
    Ok(words)
}

/// One condition, or a list of them.
fn objectives(value: Option<Value>) -> anyhow::Result<Vec<Condition>> {
    let texts = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(texts)) => texts,
        Some(text) => vec![text],
    };
    let condition = |value: Value| match value {
        Value::String(text) => Ok(text.parse::<Condition>()?),
        other => Err(anyhow!("not a value of type {}", other.type_str())),
    };
    let conditions = texts.into_iter().map(condition);
    conditions
        .collect::<anyhow::Result<_>>()
        .context("`slo` is a condition such as \"p99<10ms\", or a list of them")
}

/// Takes a text out of a table.
fn text(table: &mut Table, key: &str) -> anyhow::Result<String> {
    optional(table, key)?.with_context(|| format!("`{key}` is missing"))
}

/// The same, of a key that may be absent.
fn optional(table: &mut Table, key: &str) -> anyhow::Result<Option<String>> {
    match table.remove(key) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(anyhow!(
            "`{key}` must be a text, not a value of type {}",
            other.type_str()
        )),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parse(keys: &str) -> anyhow::Result<Scenario> {
        let table = toml::from_str(&format!("name = \"one\"\ntitle = \"One\"\n{keys}"))?;
        let time = |ms| Time(Duration::from_millis(ms));
        Scenario::parse(table, time(200), time(1000))
    }

    fn error(keys: &str) -> String {
        format!("{:#}", parse(keys).unwrap_err())
    }

    #[test]
    fn the_servers_are_set_up_by_work_and_options() {
        let scenario = parse("work = \"sleep:1ms\"\nserver_options = \"--workers 8 --buffer=4KiB\"").unwrap();
        let expected = ["--work", "sleep:1ms", "--workers", "8", "--buffer=4KiB"];
        assert_eq!(scenario.setup.arguments(), expected);
        assert!(parse("").unwrap().setup.is_usual());
    }

    #[test]
    fn what_no_server_can_do_is_refused() {
        for (keys, part) in [
            ("work = \"sleep\"", "`work`: `sleep` is not"),
            ("work = 1", "must be a text"),
            ("server_options = \"--worker 8\"", "no model takes"),
            ("server_options = \"--workers 0\"", "no model takes"),
            ("server_options = \"--listen [::]:7\"", "decides it"),
            ("server_options = \"--work=cpu:1us\"", "decides it"),
            ("server_options = \"'8\"", "within a quotation"),
        ] {
            assert!(error(keys).contains(part), "{keys}: {}", error(keys));
        }
    }

    #[test]
    fn objectives_are_one_condition_or_several() {
        let of = |keys| -> Vec<String> {
            let objectives = parse(keys).unwrap().objectives;
            objectives.iter().map(Condition::to_string).collect()
        };
        assert_eq!(of("slo = \"p99<10ms\""), ["p99<10ms"]);
        assert_eq!(
            of("slo = [\"p99<10ms\", \"errors<=0\"]"),
            ["p99<10ms", "errors<=0"]
        );
        assert!(error("slo = \"p99=10ms\"").contains("`slo`"));
        assert!(error("slo = 5").contains("`slo`"));
    }

    #[test]
    fn a_share_of_active_connections_leaves_the_others_idle() {
        let plan = parse("connections = 5000\nactive = \"10%\"").unwrap().plan;
        assert_eq!((plan.connections, plan.idle), (Some(500), 4500));
        assert!(error("connections = 10\nactive = \"1%\"").contains("at least one"));
        assert!(error("active = \"200%\"").contains("`active`"));
        assert!(error("active = \"10\"").contains("`active`"));
        assert!(error("active = \"10%\"\nidle = 5").contains("give one of them"));
    }

    #[test]
    fn a_mistyped_key_is_refused_with_the_nearest() {
        assert!(error("conections = 5").contains("did you mean `connections`?"));
        assert!(error("server_option = \"\"").contains("did you mean `server_options`?"));
        assert!(error("title2 = 5").contains("unknown field `title2`"));
    }

    #[test]
    fn a_scenario_becomes_the_keys_that_it_was_read_from() {
        for keys in [
            "",
            "slice = \"off\"",
            "slice = \"20ms\"\nwarmup = \"0s\"",
            "connections = 5000\nactive = \"10%\"\nwork = \"cpu:50us\"\nserver_options = \"--workers 8\"",
            "rate = \"20k/s\"\nslo = [\"p99<5ms\", \"errors<=0\"]\nsize = \"uniform:16B..4KiB\"\nspin = true",
            "stages = \"1s@1k/s..2k/s\"\nsource = [\"127.0.0.2-127.0.0.9\"]\narrivals = \"poisson\"",
            "connect_rate = \"500/s\"\nmessages_per_connection = 3\nthink = \"1ms\"",
        ] {
            let read = parse(keys).unwrap();
            let written = toml::to_string(&read.to_table().unwrap()).unwrap();
            // Other defaults: all that the suite has decided must be in the text.
            let other = Time(Duration::from_secs(77));
            let again = Scenario::parse(toml::from_str(&written).unwrap(), other, other).unwrap();
            assert_eq!(format!("{again:?}"), format!("{read:?}"), "{written}");
        }
    }
}
