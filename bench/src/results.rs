//! Where results go: `target/echobench/RUN/`, each trial on disk as soon as it ends.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, ensure};
use loadgen::record::{Record, Run, Trial};

/// The folder of one run.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    records: File,
}

impl Results {
    /// Makes the folder, which must be new or empty.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        let taken = folder
            .read_dir()
            .is_ok_and(|mut entries| entries.next().is_some());
        ensure!(
            !taken,
            "{} is not empty: choose another folder, so that no result is lost",
            folder.display()
        );
        let made = fs::create_dir_all(folder.join("logs"));
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let records = File::create(folder.join("results.jsonl"))?;
        Ok(Results {
            folder: folder.to_owned(),
            records,
        })
    }

    /// Writes what the trials have in common; comes first.
    pub fn begin(&mut self, run: &Run) -> io::Result<()> {
        self.append(&Record::Run(run.clone()))
    }

    /// Writes a trial.
    pub fn add(&mut self, trial: &Trial) -> io::Result<()> {
        self.append(&Record::Trial(trial.clone()))
    }

    /// One write for each line: a crash leaves whole lines behind.
    fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.records.write_all(&line)
    }

    /// Where the server of a trial writes its standard error.
    pub fn log(&self, server: &str, scenario: &str, block: u32) -> PathBuf {
        self.folder
            .join("logs")
            .join(format!("{server}-{scenario}-{block}.log"))
    }

    /// Removes the log of a server that said nothing.
    pub fn forget_empty_log(&self, log: &Path) -> io::Result<()> {
        match fs::metadata(log) {
            Ok(found) if found.len() == 0 => fs::remove_file(log),
            _ => Ok(()),
        }
    }

    /// The folder of the run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Draws the report of a run into its folder.
pub fn write_report(folder: &Path, run: &Run, trials: &[Trial]) -> anyhow::Result<PathBuf> {
    let report = folder.join("report.html");
    let written = reports::html::write(&report, &reports::html::render(run, trials)?);
    written.with_context(|| format!("cannot write {}", report.display()))?;
    Ok(report)
}

/// The folder that holds all runs, inside of cargo's target folder.
pub fn home() -> PathBuf {
    target_folder().join("echobench")
}

/// A folder for a run that begins now, named by the time.
pub fn new_folder() -> PathBuf {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let name = now.replace(':', "-");
    let candidates = (1..).map(|n| {
        if n == 1 {
            name.clone()
        } else {
            format!("{name}-{n}")
        }
    });
    let mut free = candidates
        .map(|name| home().join(name))
        .filter(|folder| !folder.exists());
    free.next().unwrap_or_else(|| home().join(&name))
}

/// Lets `latest` point at a run.
pub fn point_latest_at(folder: &Path) -> io::Result<()> {
    let Some(name) = folder.file_name().filter(|_| folder.parent() == Some(&home())) else {
        return Ok(());
    };
    let fresh = home().join(format!(".latest-{}", std::process::id()));
    symlink(name, &fresh)?;
    fs::rename(&fresh, home().join("latest"))
}

/// Cargo marks its target folder, so it is found from the executable wherever a
/// setting or a variable has put it; cargo runs bench targets in another folder than
/// the one it was called in, so a path in a variable would not help.
fn target_folder() -> PathBuf {
    let executable = env::current_exe().unwrap_or_default();
    let marked = executable
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked.map_or_else(|| PathBuf::from("target"), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_results_is_not_written_into() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Results::create(folder.path()).is_ok());
        let error = Results::create(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
    }

    #[test]
    fn runs_are_kept_in_the_target_folder() {
        assert!(home().parent().unwrap().join("CACHEDIR.TAG").is_file());
        assert_eq!(new_folder().parent(), Some(home().as_path()));
    }
}
