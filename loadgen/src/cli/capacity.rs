//! `loadgen capacity`: the highest rate that meets objectives.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Args;

use super::load::{self, LOAD, LoadOptions};
use super::{Error, FAILED, Format, INVALID};
use crate::capacity::{self, Next, Survey, Terms};
use crate::condition::Condition;
use crate::plan::{Loop, Plan, Request};
use crate::progress::Progress;
use crate::{RunError, interrupt, units};
use record::words;
use record::{Arrivals, Capacity, Limit};

/// What is searched for, and how.
const SEARCH: &str = "Search";

/// What a trial takes beside its window and the warm-up, at most as a rule: to connect, and
/// to wait for the last answers.
const AROUND: Duration = Duration::from_millis(500);

/// Find the highest rate at which a server meets objectives.
///
/// Each trial is an open loop of its own, with connections of its own: messages are due by
/// a schedule, and latency counts from when one was due. The rate is doubled until an
/// objective is not met, or halved until all are; then the gap is bisected down to 5%, with
/// trials that get longer. What was found is verified by several of the longest trials; if
/// most of them fail, the search steps down. What does not hold is tried twice.
///
/// Where the generator gives out before the server does, the answer is a lower bound, and
/// the exit code is 3. Where the objectives are met at no rate it is 99.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CapacityOptions {
    #[command(flatten)]
    load: LoadOptions,

    /// Time that each trial runs before and does not count.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = units::time, help_heading = LOAD)]
    warmup: Duration,

    /// How the schedule is drawn.
    #[arg(long, default_value = "poisson", value_parser = load::arrivals(), help_heading = LOAD)]
    arrivals: Arrivals,

    /// What has to hold, such as 'p99<1ms' or 'errors<=0'; with several all have to.
    ///
    /// Times are p50, p90, p99, p99.9, max and mean of the response time, or of another as
    /// in service.p99 and send_lag.p99. Counts are errors, errors.KIND, unanswered and
    /// starved, which are connections without an answer. A load that is not valid never
    /// holds.
    #[arg(long, required = true, value_name = "CONDITION", value_parser = capacity::objective, help_heading = SEARCH)]
    slo: Vec<Condition>,

    /// The rate that is tried first; if it does not hold, lower ones are, down to 1/s.
    ///
    /// The search begins and ends higher if the longest trial would have too few messages
    /// there: p99 needs 1,000 of them, p99.9 10,000.
    #[arg(long, value_name = "RATE", default_value = "1k/s", value_parser = units::rate, help_heading = SEARCH)]
    from: f64,

    /// The highest rate that is tried.
    #[arg(long, value_name = "RATE", default_value = "10M/s", value_parser = units::rate, help_heading = SEARCH)]
    to: f64,

    /// Time that is counted in the longest trials; in the first ones it is a quarter of
    /// that, and at least 1s.
    #[arg(short, long, value_name = "TIME", default_value = "5s", value_parser = units::time, help_heading = SEARCH)]
    duration: Duration,

    /// Runs that verify the rate that was found; most of them have to hold.
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
    loadgen capacity --udp 127.0.0.1:7007 --slo 'p99<1ms' --size 1KiB --format json";

impl CapacityOptions {
    /// Searches, and prints what was found; returns the exit code.
    pub(super) fn run(&self) -> Result<u8, Error> {
        let request = self.load.request()?;
        let mut survey = Survey::new(request.target.to_string(), self.terms())?;
        // Now, and not after minutes: what is wrong with the highest rate.
        self.plan(&request, self.to, self.duration, 0)?;
        self.announce(&survey);
        let stop = interrupt::flag().map_err(RunError::Own)?;
        let mut made = 0;
        let failure = loop {
            let Some(Next { rate, duration }) = survey.next() else {
                break None;
            };
            let plan = self.plan(&request, rate, duration, made)?;
            let result = crate::run(&plan, &mut Progress::start(), &stop);
            if stop.load(Relaxed) {
                break None;
            }
            match result {
                Ok(load) => {
                    let trial = survey.record(&load);
                    eprintln!("loadgen: {}", capacity::text::outcome(trial));
                }
                Err(error) => break Some(error),
            }
            made += 1;
        };
        match failure {
            Some(error) if made == 0 => return Err(error.into()),
            _ => (),
        }
        let capacity = survey.capacity();
        words::print(&match self.format {
            Format::Text => capacity::text::describe(&capacity),
            Format::Json => serde_json::to_string_pretty(&capacity).map_err(std::io::Error::from)? + "\n",
        })?;
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(exit_code(stop.load(Relaxed), &capacity)),
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            objectives: self.slo.clone(),
            first: self.from,
            highest: self.to,
            longest: self.duration,
            runs: self.verify,
        }
    }

    /// Each trial draws its own arrivals, or all would stumble over the same ones.
    fn plan(&self, request: &Request, rate: f64, duration: Duration, trial: u64) -> Result<Plan, Error> {
        Ok(Request {
            discipline: Loop::open(rate, duration, self.arrivals),
            warmup: self.warmup,
            duration,
            seed: request.seed.wrapping_add(trial),
            ..request.clone()
        }
        .validate()?)
    }

    fn announce(&self, survey: &Survey) {
        if survey.first() > self.from {
            eprintln!(
                "loadgen: the search begins at {}: below it a trial of {:?} has too few messages for the objectives",
                units::show_rate(survey.first()),
                self.duration
            );
        }
        let time = survey.time(self.warmup + AROUND);
        eprintln!(
            "loadgen: this takes at most about {}, and more only if what was found does not hold when it is verified; \
             Ctrl-C ends it and prints what was found",
            humantime::format_duration(Duration::from_secs(time.as_secs()))
        );
    }
}

/// The first that applies: ended early, the generator was the limit, nothing holds.
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
    fn every_trial_is_an_open_loop_with_arrivals_of_its_own() {
        let options = parse("--slo p99<1ms -c 9 --seed 5 --warmup 2s --arrivals constant").unwrap();
        let request = options.load.request().unwrap();
        let duration = Duration::from_secs(3);
        let plan = options.plan(&request, 2e3, duration, 4).unwrap();
        let found = plan.request();
        assert_eq!(found.discipline, Loop::open(2e3, duration, Arrivals::Constant));
        assert_eq!((found.connections, found.seed), (9, 9));
        assert_eq!((found.warmup, found.duration), (Duration::from_secs(2), duration));
        assert_eq!(parse("--slo p99<1ms").unwrap().arrivals, Arrivals::Poisson);
    }

    #[test]
    fn of_several_exit_codes_the_gravest_is_taken() {
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
