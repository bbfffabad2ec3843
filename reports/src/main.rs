//! `report`: draws the report of a run from its records.

mod cli;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use record::words::print;
use record::{Conformance, Measured, Records, arguments, bounded};
use reports::summary::Summary;
use reports::{html, text};
use serde::Serialize;

use cli::{Action, Cli};

fn main() -> ExitCode {
    match run(arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            record::complain!("report: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.action {
        Action::Compare { base, new, options } => return Ok(options.carry_out(&base, &new)?.into()),
        Action::Html { records, output } => {
            let output = output.unwrap_or_else(|| records.path.with_file_name("report.html"));
            let written = html::write(&output, &html::render(&reports::read(&records.path)?)?);
            written.with_context(|| {
                format!(
                    "cannot write {}: name another file with --output",
                    output.display()
                )
            })?;
            record::complain!("report: wrote {}", output.display());
        }
        Action::Text(records) => print(&text::describe(&reports::read(&records.path)?))?,
        Action::Json(records) => {
            let json = serde_json::to_string_pretty(&Shown::of(&reports::read(&records.path)?))?;
            print(&format!("{json}\n"))?;
        }
        Action::Check { html, records } => check(&html, &records.path)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The numbers of the report and the outcomes of the conformance cases.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    summary: Option<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conformance: Option<&'a Conformance>,
}

impl<'a> Shown<'a> {
    fn of(records: &'a Records) -> Self {
        let summarise = |measured: &Measured| Summary::of(&measured.run, &measured.trials);
        Shown {
            summary: records.measured.as_ref().map(summarise),
            conformance: records.conformance.as_ref(),
        }
    }
}

fn check(html: &Path, records: &Path) -> Result<()> {
    let read = reports::read(records)?;
    let page = bounded::read(html, html::LARGEST as u64).with_context(|| cannot_read(html))?;
    let Some(page) = page else {
        bail!(
            "{} is longer than a report, which has at most {} bytes",
            html.display(),
            html::LARGEST
        );
    };
    let problems = reports::check(&page, &read);
    for problem in &problems {
        record::complain!("report: {problem}");
    }
    if !problems.is_empty() {
        bail!("{} does not agree with {}", html.display(), records.display());
    }
    Ok(print(&format!(
        "{} agrees with {}\n",
        html.display(),
        records.display()
    ))?)
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}: give the report.html of a run", path.display())
}
