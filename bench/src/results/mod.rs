//! Results on disk: each record is written as soon as it exists.

pub mod baselines;
mod folders;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use record::{Conformance, Record, Records, Run, Trial};

pub use folders::{claim, conformance_home, home, make, new_folder, point_latest_at};

/// The name of a file of records.
pub const RECORDS: &str = "results.jsonl";

/// The folder of one run.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    records: File,
}

impl Results {
    /// Makes the folder, which must be new or empty.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        claim(folder)?;
        make(&folder.join("logs"))?;
        let path = folder.join(RECORDS);
        // Append mode: `echobench report` may add to the same file during the run.
        let records = File::options().append(true).create_new(true).open(&path);
        Ok(Results {
            folder: folder.to_owned(),
            records: records.with_context(|| cannot_write(&path))?,
        })
    }

    /// Writes what the trials have in common; this record comes first.
    pub fn begin(&mut self, run: &Run) -> anyhow::Result<()> {
        self.append(&Record::Run(run.clone()))
    }

    /// Writes the outcome of the conformance cases.
    pub fn add_conformance(&mut self, conformance: &Conformance) -> anyhow::Result<()> {
        self.append(&Record::Conformance(conformance.clone()))
    }

    /// Writes a trial.
    pub fn add(&mut self, trial: &Trial) -> anyhow::Result<()> {
        self.append(&Record::Trial(trial.clone()))
    }

    /// Writes each line at once, so that a crash leaves whole lines.
    fn append(&mut self, record: &Record) -> anyhow::Result<()> {
        let written = self.records.write_all(&line(record)?);
        written.with_context(|| cannot_write(&self.folder.join(RECORDS)))
    }

    /// The file for the standard error of a trial's server.
    pub fn log(&self, server: &str, scenario: &str, block: u32) -> PathBuf {
        self.folder
            .join("logs")
            .join(format!("{server}-{scenario}-{block}.log"))
    }

    /// Removes a log if it is empty.
    pub fn remove_empty_log(&self, log: &Path) -> anyhow::Result<()> {
        match fs::metadata(log) {
            Ok(found) if found.len() == 0 => {
                fs::remove_file(log).with_context(|| format!("cannot remove {}", log.display()))
            }
            _ => Ok(()),
        }
    }

    /// The folder of the run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Appends a record to a file that may still be written to. Removes an incomplete last line,
/// which readers ignore.
pub fn append(path: &Path, record: &Record) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let mut file = File::options().read(true).append(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        // Not otherwise, as a run may have appended a line since.
        if whole < text.len() {
            file.set_len(whole as u64)?;
        }
        file.write_all(&line(record)?)
    };
    write().with_context(|| format!("cannot append to {}", path.display()))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

/// Writes the report of records into their folder.
pub fn write_report(folder: &Path, records: &Records) -> anyhow::Result<PathBuf> {
    let report = folder.join("report.html");
    let written = reports::html::write(&report, &reports::html::render(records)?);
    written.with_context(|| cannot_write(&report))?;
    Ok(report)
}

/// The current time in the format of records.
pub fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::{Host, SCHEMA_VERSION};

    #[test]
    fn a_folder_with_results_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Results::create(folder.path()).is_ok());
        let error = Results::create(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
    }

    fn outcome(seed: u64) -> Conformance {
        Conformance {
            schema_version: SCHEMA_VERSION,
            version: String::new(),
            started_at: now(),
            host: Host::default(),
            full: false,
            seed,
            cases: Vec::new(),
            results: Vec::new(),
        }
    }

    fn seeds(path: &Path) -> Vec<u64> {
        let seed = |line| match serde_json::from_str(line).unwrap() {
            Record::Conformance(outcome) => outcome.seed,
            other => panic!("{other:?}"),
        };
        fs::read_to_string(path).unwrap().lines().map(seed).collect()
    }

    #[test]
    fn a_run_and_a_report_append_to_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RECORDS);
        let mut run = Results::create(folder.path()).unwrap();
        run.add_conformance(&outcome(1)).unwrap();
        append(&path, &Record::Conformance(outcome(2))).unwrap();
        run.add_conformance(&outcome(3)).unwrap();
        assert_eq!(seeds(&path), [1, 2, 3]);
    }

    #[test]
    fn an_incomplete_last_line_is_removed_before_appending() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RECORDS);
        let whole = line(&Record::Conformance(outcome(1))).unwrap();
        fs::write(&path, [&whole[..], br#"{"record":"conf"#].concat()).unwrap();
        append(&path, &Record::Conformance(outcome(2))).unwrap();
        assert_eq!(seeds(&path), [1, 2]);
    }
}
