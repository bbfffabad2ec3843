//! `cargo bench`: criterion on single connections, then the quick suite and its report.

mod arguments;
mod groups;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use bench::cli::RunOptions;
use bench::suite::Suite;
use clap::Parser;

use arguments::Arguments;

/// Exit code of wrong arguments.
const USAGE: u8 = 2;

/// With `--quick`: the whole takes less than a minute and a half.
const QUICK_WARMUP: Duration = Duration::from_millis(100);
const QUICK_DURATION: Duration = Duration::from_millis(250);

/// Options from `ECHOBENCH_*` only: the command line belongs to criterion.
#[derive(Parser)]
struct Environment {
    #[command(flatten)]
    options: RunOptions,
}

fn main() -> ExitCode {
    bench::reexec::dispatch().unwrap_or_else(|| {
        run().unwrap_or_else(|error| {
            record::complain!("echobench: {error:#}");
            ExitCode::FAILURE
        })
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let words = match arguments::words(env::args_os().skip(1)) {
        Ok(words) => words,
        Err(reason) => {
            record::complain!("echobench: {reason}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let arguments = Arguments::of(words)?;
    let options = record::arguments::parse_from::<Environment>(&["echobench".into()]).options;
    let mut suite = Suite::quick()?;
    let name = format!("suite/{}", suite.name);
    options.choose_servers(&mut suite)?;
    if arguments.quick() {
        suite.set_warmup(QUICK_WARMUP);
        suite.set_duration(QUICK_DURATION);
    }
    let mut candidates = suite.clone();
    if arguments.filters() || arguments.lists() {
        // A filter may select any model.
        candidates.select(&["all".into()])?;
    }
    let candidates = options.participants(&candidates)?;
    // Before the groups, so that an error shows at once.
    let prepared = match arguments.measures() && arguments.selects(&name) {
        true => Some(options.prepare(suite)?),
        false => None,
    };
    groups::run(&candidates, &arguments)?;
    if arguments.lists() && arguments.selects(&name) {
        println!("{name}: benchmark");
    }
    prepared.map_or(Ok(ExitCode::SUCCESS), bench::cli::carry_out)
}
