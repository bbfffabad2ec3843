//! A load of the user by the options of a plan: `echobench run --connections 5000 --work cpu:50us`.
//! The keys of a `[[scenario]]` are the options, so the two can say the same.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use record::Plan;
use toml::{Table, Value};

use crate::scenario::DECIDED;

/// The heading of these options in the help.
const HEADING: &str = "Your own load, instead of a suite";

/// Options that the run has for all loads.
const OF_THE_RUN: [&str; 3] = ["duration", "warmup", "seed"];

/// The keys of a scenario that are given as options.
#[derive(Debug, Clone, Default)]
pub struct OwnLoad {
    keys: Table,
}

impl OwnLoad {
    /// The keys of the scenario; `None` without any.
    pub fn keys(&self) -> Option<&Table> {
        (!self.keys.is_empty()).then_some(&self.keys)
    }
}

/// The options of the plan of a load that are options here, too.
fn options_of_plan() -> Vec<Arg> {
    let plan = Plan::augment_args(Command::new("plan"));
    let all = plan.get_arguments();
    let decided = DECIDED.map(|(key, _)| key);
    let is_elsewhere = |id: &str| OF_THE_RUN.contains(&id) || decided.contains(&id);
    all.filter(|option| !is_elsewhere(option.get_id().as_str()))
        .map(|option| option.clone().help_heading(HEADING))
        .collect()
}

/// The options for the other keys. Their values are checked with the scenario.
fn further_options() -> [Arg; 5] {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        let arg = Arg::new(name).long(name).value_name(value).help(help);
        arg.help_heading(HEADING)
    };
    [
        option(
            "active",
            "PERCENT",
            "Share of the connections that send messages; the others are idle",
        ),
        option(
            "work",
            "KIND:TIME",
            "Simulated work of the models for each message: cpu:50us uses CPU time, sleep:5ms waits as for a backend",
        ),
        option(
            "server_options",
            "OPTIONS",
            "Further options of the models, such as '--workers 8'; those that do not take them are skipped",
        )
        .long("server-options")
        .allow_hyphen_values(true),
        option(
            "slo",
            "CONDITION",
            "What a server has to achieve, such as 'p99<5ms' or 'errors<=0'; repeat for several",
        )
        .action(ArgAction::Append),
        option(
            "title",
            "TEXT",
            "Title of the load in the report [default: Your load]",
        ),
    ]
}

impl Args for OwnLoad {
    fn augment_args(command: Command) -> Command {
        command.args(options_of_plan()).args(further_options())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OwnLoad {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let is_given =
            |option: &&Arg| matches.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine);
        let raw = |option: &Arg| -> Vec<String> {
            let values = matches.get_raw(option.get_id().as_str()).into_iter().flatten();
            values.map(|value| value.to_string_lossy().into_owned()).collect()
        };
        // A plan of what is given, and of it the fields that are: values get the types that a suite has.
        let options = options_of_plan();
        let given: Vec<&Arg> = options.iter().filter(is_given).collect();
        let mut words = Vec::new();
        for option in &given {
            let name = format!("--{}", option.get_long().unwrap_or_default());
            match option.get_action().takes_values() {
                true => words.extend(raw(option).into_iter().flat_map(|value| [name.clone(), value])),
                false => words.push(name),
            }
        }
        let mut plan = Plan::augment_args(Command::new("plan").no_binary_name(true));
        let plan = Plan::from_arg_matches(&plan.try_get_matches_from_mut(words)?)?;
        let fields = Table::try_from(&plan).map_err(|error| Error::raw(ErrorKind::ValueValidation, error))?;
        let is_field = |name: &String| given.iter().any(|option| option.get_id().as_str() == name);
        let mut keys: Table = fields.into_iter().filter(|(name, _)| is_field(name)).collect();
        for option in further_options().iter().filter(is_given) {
            let mut values: Vec<Value> = raw(option).into_iter().map(Value::String).collect();
            let value = match (option.get_action(), values.len()) {
                (ArgAction::Append, _) | (_, 0) => Value::Array(values),
                _ => values.remove(0),
            };
            keys.insert(option.get_id().to_string(), value);
        }
        Ok(OwnLoad { keys })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        own: OwnLoad,
    }

    fn keys(options: &str) -> Table {
        let words = ["echobench"].map(str::to_owned).into_iter();
        let words = words.chain(shlex::split(options).unwrap());
        Only::try_parse_from(words).unwrap().own.keys
    }

    #[test]
    fn what_is_given_becomes_the_keys_of_a_scenario() {
        assert_eq!(keys(""), Table::new());
        let expected: Table = toml::from_str(
            "connections = 5000\nactive = \"10%\"\nsize = \"1KiB\"\nwork = \"cpu:50us\"\nrate = \"20k/s\"\n\
             slo = [\"p99<5ms\", \"errors<=0\"]\nspin = true\nsource = [\"127.0.0.2\", \"127.0.0.3\"]\n\
             server_options = \"--workers 8\"",
        )
        .unwrap();
        let typed = keys(
            "-c 5000 --active 10% --size 1KiB --work cpu:50us --rate 20k/s --slo 'p99<5ms' --slo 'errors<=0' \
             --spin --source 127.0.0.2,127.0.0.3 --server-options '--workers 8'",
        );
        assert_eq!(typed, expected);
    }

    #[test]
    fn a_value_that_is_the_default_is_given_nevertheless() {
        assert_eq!(keys("--size 64B").len(), 1);
    }

    #[test]
    fn a_wrong_value_is_refused_as_by_the_generator() {
        let error = Only::try_parse_from(["echobench", "--rate", "5"]).unwrap_err();
        assert!(error.to_string().contains("is not a rate"), "{error}");
    }
}
