//! The target and the plan: the options of every command that makes a load.

use std::ffi::OsString;

use clap::Args;

use super::Error;
use crate::plan::{CheckedPlan, check_combinations};
use crate::target;
use record::Plan;

/// A load and where it goes.
#[derive(Debug, Args)]
pub struct LoadOptions {
    /// The server: HOST:PORT, or unix:PATH for a Unix socket.
    target: OsString,

    #[command(flatten)]
    pub(super) plan: Plan,

    /// Permit a target that is not this host. Load only what you may load.
    #[arg(long, help_heading = "Load")]
    allow_remote: bool,
}

impl LoadOptions {
    /// Checks a plan against the target, whose name is looked up. Options that contradict each
    /// other are reported even if the name is unknown.
    pub(super) fn check(&self, plan: &Plan) -> Result<CheckedPlan, Error> {
        check_combinations(plan)?;
        let target = target::resolve(&self.target, self.allow_remote)?;
        Ok(CheckedPlan::new(plan, target)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        load: LoadOptions,
    }

    fn parse(target: &str, options: &str) -> LoadOptions {
        let words = ["loadgen", target].into_iter().chain(options.split_whitespace());
        Only::try_parse_from(words).unwrap().load
    }

    fn plan(options: &str) -> Plan {
        parse("127.0.0.1:7", options).plan
    }

    #[test]
    fn a_contradiction_is_reported_before_an_unknown_target() {
        let check = |options| {
            let load = parse("host.invalid", options);
            load.check(&load.plan).unwrap_err()
        };
        assert!(matches!(check("--rate 1k/s --depth 2"), Error::Plan(_)));
        assert!(matches!(check("--rate 1k/s"), Error::Target(_)));
    }

    #[test]
    fn without_options_the_plan_is_the_default() {
        assert_eq!(plan(""), Plan::default());
    }

    /// An option for each field: what a suite can ask for, the command line can, and the other
    /// way round.
    #[test]
    fn every_field_of_a_plan_is_an_option() {
        let command = Only::command();
        let options = command.get_arguments().map(|option| option.get_id().as_str());
        let mut options: Vec<_> = options
            .filter(|id| !["target", "allow_remote", "help"].contains(id))
            .collect();
        options.sort();
        let schema = schemars::schema_for!(Plan);
        let mut fields: Vec<_> = schema
            .get("properties")
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
            .collect();
        fields.sort();
        assert_eq!(options, fields);
    }

    #[test]
    fn the_command_line_and_json_have_the_same_words() {
        let options = plan(
            "-c 9 --idle 3 --size uniform:1B..2B --seed 5 --source 127.0.0.2-127.0.0.3,127.0.0.9 \
             --source 127.0.0.7 --connect-timeout 2s --threads 4 --cpus 2,3 --engine uring --spin \
             -d 1m30s --warmup 250ms --depth 3 --think 20ms --messages-per-connection 7 --rate 50k/s \
             --stages 10s@1k/s..50k/s,30s@50k/s --connect-rate 0.5/s --arrivals poisson --udp \
             --answer-timeout 50ms --reconnect --lines",
        );
        let json = serde_json::json!({
            "connections": 9, "idle": 3, "size": "uniform:1B..2B", "seed": 5,
            "source": ["127.0.0.2-127.0.0.3", "127.0.0.9", "127.0.0.7"], "connect_timeout": "2s",
            "threads": 4, "cpus": [2, 3], "engine": "uring", "spin": true, "duration": "1m30s",
            "warmup": "250ms", "depth": 3, "think": "20ms", "messages_per_connection": 7,
            "rate": "50k/s", "stages": "10s@1k/s..50k/s,30s@50k/s", "connect_rate": "0.5/s",
            "arrivals": "poisson", "udp": true, "answer_timeout": "50ms", "reconnect": true, "lines": true,
        });
        assert_eq!(serde_json::from_value::<Plan>(json).unwrap(), options);
    }
}
