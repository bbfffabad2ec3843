//! `loadgen capacity`: the highest rate that meets objectives.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Args;

use super::load::LoadOptions;
use super::{Error, FAILED, Format, INVALID};
use crate::capacity::{self, Next, Survey, Terms};
use crate::progress::Progress;
use crate::{RunError, interrupt};
use record::condition::Condition;
use record::units::{self, Rate, Time};
use record::{Arrivals, Capacity, Limit, Plan, words};

/// The heading of the options for the search.
const SEARCH: &str = "Search";

/// Measured time of the longest trials, by default.
const LONGEST: Time = Time(Duration::from_secs(5));

/// Options of a plan that the search decides, or that need another loop, and why.
const DECIDED: [(&str, &str); 6] = [
    ("rate", "the search finds the rate; bound it with --from and --to"),
    (
        "stages",
        "the search finds the rate; bound it with --from and --to",
    ),
    ("connect_rate", "the search is for a rate of messages"),
    ("depth", "each trial is an open loop"),
    ("think", "each trial is an open loop"),
    (
        "messages_per_connection",
        "each trial is an open loop, which keeps its connections",
    ),
];

/// What a trial usually takes at most in addition to its window and warm-up: to connect, and to
/// wait for the last answers.
const AROUND: Duration = Duration::from_millis(500);

/// Find the highest rate at which a server meets objectives.
///
/// Each trial is an open loop with connections of its own: messages are due by a schedule, and
/// latency counts from when a message was due. The rate doubles until an objective is not met,
/// or halves until all are; bisection then narrows the gap to 5%, with longer trials. Several of
/// the longest trials verify the result; if most of them fail, the search steps down. A trial
/// that does not meet the objectives is repeated once.
///
/// If the generator is the limit, the result is a lower bound, and the exit code is 3. If no
/// rate meets the objectives it is 99.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    mut_arg("duration", |option| option.help("Measured time of the longest trials [default: 5s]").long_help(
        "Measured time of the longest trials; the first trials take a quarter of that, and at \
         least 1s [default: 5s]"
    )),
    mut_arg("warmup", |option| option.default_value("500ms")),
    mut_arg("arrivals", |option| option.help("How the schedule is drawn [default: poisson]")),
    mut_args(|option| match DECIDED.iter().any(|(field, _)| *field == option.get_id().as_str()) {
        true => option.hide(true),
        false => option,
    })
)]
pub struct CapacityOptions {
    #[command(flatten)]
    load: LoadOptions,

    /// An objective, such as 'p99<1ms' or 'errors<=0'; if there are several, all must be met.
    ///
    /// Times are p50, p90, p99, p99.9, max and mean of the response time, or of another latency,
    /// as in service.p99 and send_lag.p99. Counts are errors, errors.KIND, unanswered, starved
    /// (connections without an answer) and reconnects. A load that is not valid meets no objective.
    #[arg(long, required = true, value_name = "CONDITION", value_parser = capacity::objective, help_heading = SEARCH)]
    slo: Vec<Condition>,

    /// First rate to try; lower rates follow if it does not meet the objectives, down to 1/s.
    ///
    /// The search begins and ends higher if the longest trial would have too few messages
    /// there: p99 needs 1,000 messages, p99.9 10,000.
    #[arg(long, value_name = "RATE", default_value = "1k/s", help_heading = SEARCH)]
    from: Rate,

    /// Highest rate to try.
    #[arg(long, value_name = "RATE", default_value = "10M/s", help_heading = SEARCH)]
    to: Rate,

    /// Trials that verify the result; most of them must meet the objectives.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=1000),
        help_heading = SEARCH
    )]
    verify: u32,

    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Result")]
    format: Format,
}

const EXAMPLES: &str = "Examples:
    loadgen capacity 127.0.0.1:7007 --slo 'p99<1ms'
    loadgen capacity 127.0.0.1:7007 --slo 'p99<1ms' --slo 'p99.9 < 10ms' -c 1000 --spin --cpus 1
    loadgen capacity 127.0.0.1:7007 --slo 'p99<5ms' --slo 'errors<=0' --from 50k/s --to 200k/s -d 20s --verify 5
    loadgen capacity unix:/tmp/echo.sock --slo 'p99<1ms'
    loadgen capacity --udp 127.0.0.1:7007 --slo 'p99<1ms' --size 1KiB --format json";

impl CapacityOptions {
    /// Searches and prints the result; returns the exit code.
    pub(super) fn run(&self) -> Result<u8, Error> {
        self.refuse_what_is_decided()?;
        // The highest rate is checked now, and not after minutes.
        let plan = self.plan(self.to, self.duration(), 0);
        let target = self.load.check(&plan)?.target().to_string();
        let mut survey = Survey::new(target, self.terms())?;
        self.announce(&survey);
        let stop = interrupt::flag().map_err(RunError::Own)?;
        let mut made = 0;
        let failure = loop {
            let Some(Next { rate, duration }) = survey.next() else {
                break None;
            };
            let rate = Rate::new(rate).expect("the search keeps to rates above 0");
            let plan = self.load.check(&self.plan(rate, Time(duration), made))?;
            let result = crate::run(&plan, &mut Progress::start(), &stop);
            if stop.load(Relaxed) {
                break None;
            }
            let load = match result {
                Ok(load) => load,
                // Earlier trials were measured: the server does not bear this rate.
                Err(RunError::EndedInWarmUp(load)) if made > 0 => *load,
                Err(error) => break Some(error),
            };
            let trial = survey.record(&load);
            record::complain!("loadgen: {}", capacity::text::outcome(trial));
            made += 1;
        };
        match failure {
            Some(error) if made == 0 => return Err(error.into()),
            _ => (),
        }
        let capacity = survey.capacity();
        words::print(&match self.format {
            Format::Text => capacity::text::describe(&capacity),
            Format::Json => serde_json::to_string_pretty(&capacity).map_err(io::Error::from)? + "\n",
        })?;
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(exit_code(stop.load(Relaxed), &capacity)),
        }
    }

    /// The command line parses a whole plan. What the search decides is refused here.
    fn refuse_what_is_decided(&self) -> Result<(), Error> {
        let fields = |plan: &Plan| serde_json::to_value(plan).map_err(io::Error::from);
        let (given, default) = (fields(&self.load.plan)?, fields(&Plan::default())?);
        let given = |field: &str| given.get(field) != default.get(field);
        match DECIDED.into_iter().find(|(field, _)| given(field)) {
            Some((field, reason)) => Err(Error::Decided { field, reason }),
            None => Ok(()),
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            objectives: self.slo.clone(),
            first: self.from.per_second(),
            highest: self.to.per_second(),
            longest: self.duration().0,
            runs: self.verify,
        }
    }

    fn duration(&self) -> Time {
        self.load.plan.duration.unwrap_or(LONGEST)
    }

    /// The plan of a trial. Each trial draws its own arrivals, so that one unlucky schedule does
    /// not decide the result.
    fn plan(&self, rate: Rate, duration: Time, trial: u64) -> Plan {
        let plan = &self.load.plan;
        Plan {
            rate: Some(rate),
            duration: Some(duration),
            arrivals: Some(plan.arrivals.unwrap_or(Arrivals::Poisson)),
            seed: plan.seed.wrapping_add(trial),
            ..plan.clone()
        }
    }

    fn announce(&self, survey: &Survey) {
        if survey.first() > self.from.per_second() {
            record::complain!(
                "loadgen: the search begins at {}: at a lower rate a trial of {} has too few messages for the objectives",
                units::show_rate(survey.first()),
                self.duration()
            );
        }
        let time = survey.time(self.load.plan.warmup.0 + AROUND);
        record::complain!(
            "loadgen: this takes at most about {}, or more if the result is not verified; Ctrl-C ends the search and \
             prints its result so far",
            humantime::format_duration(Duration::from_secs(time.as_secs()))
        );
    }
}

/// The first that applies: interrupted, the generator was the limit, no rate is enough.
fn exit_code(interrupted: bool, capacity: &Capacity) -> u8 {
    match (capacity.limit, capacity.low_per_s) {
        _ if interrupted => interrupt::EXIT_CODE,
        (Limit::Generator, _) => INVALID,
        (_, None) => FAILED,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command, examples};
    use clap::Parser;

    fn parse(options: &str) -> Result<CapacityOptions, clap::Error> {
        let words = ["loadgen", "capacity", "127.0.0.1:7"].into_iter();
        match Cli::try_parse_from(words.chain(options.split_whitespace()))?.command {
            Command::Capacity(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_examples_of_the_help_are_accepted() {
        assert!(examples(EXAMPLES).count() > 3);
        for example in examples(EXAMPLES) {
            let parsed = Cli::try_parse_from(&example);
            assert!(parsed.is_ok(), "{example:?}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn every_trial_is_an_open_loop_with_its_own_arrivals() {
        let options = parse("--slo p99<1ms -c 9 --seed 5 --warmup 2s --arrivals constant").unwrap();
        let rate = Rate::new(2e3).unwrap();
        let plan = options.plan(rate, Time(Duration::from_secs(3)), 4);
        let expected = Plan {
            connections: Some(9),
            rate: Some(rate),
            duration: Some("3s".parse().unwrap()),
            warmup: "2s".parse().unwrap(),
            arrivals: Some(Arrivals::Constant),
            seed: 9,
            ..Plan::default()
        };
        assert_eq!(plan, expected);
    }

    #[test]
    fn a_trial_has_defaults_of_its_own() {
        let options = parse("--slo p99<1ms").unwrap();
        let plan = options.plan(options.from, options.duration(), 0);
        assert_eq!(plan.arrivals, Some(Arrivals::Poisson));
        assert_eq!(
            (plan.warmup.0, plan.duration().0),
            (Duration::from_millis(500), Duration::from_secs(5))
        );
    }

    #[test]
    fn options_that_the_search_decides_are_hidden_and_refused() {
        for (option, value) in [
            ("--rate", "1k/s"),
            ("--stages", "1s@1k/s"),
            ("--connect-rate", "1/s"),
            ("--depth", "2"),
            ("--think", "1s"),
            ("--messages-per-connection", "1"),
        ] {
            let options = parse(&format!("--slo p99<1ms {option} {value}")).unwrap();
            let error = options.run().unwrap_err();
            assert!(error.to_string().contains(option), "{error}");
            assert_eq!(error.exit_code(), crate::cli::USAGE);
            let help = parse("--help").unwrap_err().to_string();
            assert!(!help.contains(&format!("{option} <")), "{help}");
        }
    }

    #[test]
    fn the_most_serious_exit_code_wins() {
        let options = parse("--slo p99<1ms --from 1k/s --to 1k/s").unwrap();
        let blank = Survey::new("a server".into(), options.terms())
            .unwrap()
            .capacity();
        let capacity = |limit, low_per_s| Capacity {
            limit,
            low_per_s,
            ..blank.clone()
        };
        assert_eq!(exit_code(false, &capacity(Limit::Server, Some(1e3))), 0);
        assert_eq!(exit_code(false, &capacity(Limit::NotReached, Some(1e3))), 0);
        assert_eq!(exit_code(false, &capacity(Limit::Generator, Some(1e3))), 3);
        assert_eq!(exit_code(false, &capacity(Limit::Generator, None)), 3);
        assert_eq!(exit_code(false, &capacity(Limit::Server, None)), 99);
        assert_eq!(exit_code(true, &capacity(Limit::Generator, None)), 130);
    }
}
