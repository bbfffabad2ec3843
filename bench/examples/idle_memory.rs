//! Measures the user-space memory of an idle connection for each model, and prints a table
//! in Markdown.
//!
//! ```text
//! cargo run --release -p bench --example idle_memory -- --models epoll,thread
//! ```

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use bench::idle_memory::{self, IdleMemory, MemoryPlan};
use bench::{names, reexec};
use clap::Parser;
use record::words::print;
use record::{arguments, units};
use servers::models::{MODELS, Model};
use servers::sys::process::raise_descriptor_limit;

/// The longest message: the kernel buffers this much of an echo, so the client can write the
/// whole message before it reads.
const LARGEST_MESSAGE: u64 = 1 << 20;

/// Measure the user-space memory of an idle connection for each model.
///
/// Compares a fresh server with one connection and a fresh server with many, after one echo on
/// each connection. Memory is the PSS of all processes of a server; the kernel's memory for
/// sockets, threads and processes is not included.
#[derive(Parser)]
#[command(name = "idle_memory")]
struct Options {
    /// Idle connections; at most 200 for models that start processes.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = connections)]
    connections: usize,

    /// Models to measure [default: all].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = names::model)]
    models: Vec<&'static dyn Model>,

    /// Size of the message that each connection echoes before it is idle.
    #[arg(long, value_name = "SIZE", default_value = "64B", value_parser = message)]
    size: usize,

    /// Measurements of each model.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: u16,
}

fn main() -> ExitCode {
    reexec::dispatch().unwrap_or_else(|| match run(&arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            record::complain!("idle_memory: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn run(options: &Options) -> anyhow::Result<()> {
    raise_descriptor_limit();
    let log = tempfile::NamedTempFile::new().context("cannot make a file for the servers' standard error")?;
    let models = match options.models.as_slice() {
        [] => MODELS,
        chosen => chosen,
    };
    print("| model | connections | bytes per idle connection | smallest to largest |\n")?;
    print("| --- | ---: | ---: | ---: |\n")?;
    for model in models {
        print(&row(model.name(), &measure(*model, options, log.path())))?;
    }
    Ok(())
}

fn measure(model: &dyn Model, options: &Options, log: &Path) -> anyhow::Result<IdleMemory> {
    idle_memory::measure(
        model,
        &MemoryPlan {
            connections: options.connections,
            message_bytes: options.size,
            repetitions: options.repetitions.into(),
            log,
        },
    )
}

fn row(name: &str, measured: &anyhow::Result<IdleMemory>) -> String {
    match measured {
        Ok(memory) => format!(
            "| `{name}` | {} | {:.0} | {:.0} to {:.0} |\n",
            memory.connections,
            memory.median_bytes(),
            memory.smallest_bytes(),
            memory.largest_bytes()
        ),
        Err(reason) => format!(
            "| `{name}` | | not measured: {} | |\n",
            one_line(&format!("{reason:#}"))
        ),
    }
}

/// Makes a text fit into a table cell, which ends at a newline or a bar.
fn one_line(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 2..) => Ok(number),
        _ => Err("give a whole number from 2 up: the figure is a difference".into()),
    }
}

fn message(text: &str) -> Result<usize, String> {
    match units::size(text).map_err(|error| error.to_string())? {
        size @ 1..=LARGEST_MESSAGE => Ok(size as usize),
        _ => Err("give a size from 1B to 1MiB".into()),
    }
}
