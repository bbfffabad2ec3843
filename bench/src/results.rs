//! Where results go: `target/echobench/RUN/`, each trial on disk as soon as it ends.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, ensure};
use loadgen::record::{Conformance, Record, Records, Run, Trial};

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
        // A report that is drawn meanwhile may add to the same file.
        let records = File::options()
            .append(true)
            .create_new(true)
            .open(folder.join(RECORDS))?;
        Ok(Results {
            folder: folder.to_owned(),
            records,
        })
    }

    /// Writes what the trials have in common; comes first.
    pub fn begin(&mut self, run: &Run) -> io::Result<()> {
        self.append(&Record::Run(run.clone()))
    }

    /// Writes what came of the conformance cases.
    pub fn add_conformance(&mut self, conformance: &Conformance) -> io::Result<()> {
        self.append(&Record::Conformance(conformance.clone()))
    }

    /// Writes a trial.
    pub fn add(&mut self, trial: &Trial) -> io::Result<()> {
        self.append(&Record::Trial(trial.clone()))
    }

    /// One write for each line: a crash leaves whole lines behind.
    fn append(&mut self, record: &Record) -> io::Result<()> {
        self.records.write_all(&line(record)?)
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

/// Makes a folder that is new or empty.
pub fn claim(folder: &Path) -> anyhow::Result<()> {
    let taken = folder
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        !taken,
        "{} is not empty: choose another folder, so that no result is lost",
        folder.display()
    );
    make(folder)
}

/// Makes a folder, if it does not exist.
pub fn make(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Adds a record to a file that was written before, or is being written. A last line that
/// was cut off is dropped: no reader counts it.
pub fn append(path: &Path, record: &Record) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let mut file = File::options().read(true).append(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        // Only then, since a run may have added a line by now.
        if whole < text.len() {
            file.set_len(whole as u64)?;
        }
        file.write_all(&line(record)?)
    };
    write().with_context(|| format!("cannot add to {}", path.display()))
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

/// Draws the report of records into their folder.
pub fn write_report(folder: &Path, records: &Records) -> anyhow::Result<PathBuf> {
    let report = folder.join("report.html");
    let written = reports::html::write(&report, &reports::html::render(records)?);
    written.with_context(|| format!("cannot write {}", report.display()))?;
    Ok(report)
}

/// The folder of the last complete outcome of the conformance cases.
pub fn conformance_home() -> PathBuf {
    home().join("conformance")
}

/// The time as records hold it.
pub fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
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
    use loadgen::record::{Host, SCHEMA_VERSION};

    #[test]
    fn a_folder_with_results_is_not_written_into() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Results::create(folder.path()).is_ok());
        let error = Results::create(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
    }

    #[test]
    fn a_run_and_a_report_add_to_the_same_records() {
        let outcome = |seed| Conformance {
            schema_version: SCHEMA_VERSION,
            version: String::new(),
            started_at: now(),
            host: Host::default(),
            full: false,
            seed,
            cases: Vec::new(),
            results: Vec::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(RECORDS);
        let mut run = Results::create(folder.path()).unwrap();
        run.add_conformance(&outcome(1)).unwrap();
        append(&path, &Record::Conformance(outcome(2))).unwrap();
        run.add_conformance(&outcome(3)).unwrap();
        let text = fs::read_to_string(path).unwrap();
        let seed = |line| match serde_json::from_str(line).unwrap() {
            Record::Conformance(outcome) => outcome.seed,
            other => panic!("{other:?}"),
        };
        assert_eq!(text.lines().map(seed).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn runs_are_kept_in_the_target_folder() {
        assert!(home().parent().unwrap().join("CACHEDIR.TAG").is_file());
        assert_eq!(new_folder().parent(), Some(home().as_path()));
    }
}
