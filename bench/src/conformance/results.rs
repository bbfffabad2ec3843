//! Stores the outcomes of a sweep: each result is appended to a file as soon as it exists.
//!
//! A sweep writes `partial.jsonl`: a header (a [`Conformance`] without results), then a line
//! per result. At its end the results are put in order. Without a folder of its own, only a
//! sweep of every case on every model replaces the last complete outcome, which reports show;
//! quick forms do not replace full forms of the same version.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use record::{CaseDescription, CaseResult, Conformance, Record, Records, SCHEMA_VERSION};
use servers::models::MODELS;

use super::cases::CASES;
use super::kit::{Case, Scale};
use super::sweep::Sweep;
use crate::host::fingerprint as host;
use crate::participant::Participant;
use crate::results;

/// The file of a sweep that is not complete.
const PARTIAL: &str = "partial.jsonl";

/// The results of a sweep, in memory and on disk.
#[derive(Debug)]
pub struct SweepResults {
    outcome: Conformance,
    /// Case and server of each result that is due, in the order of the tables.
    order: Vec<(&'static str, String)>,
    /// The place of each result in that order.
    places: Vec<usize>,
    folder: PathBuf,
    /// The partial file, to append to.
    file: File,
    has_own_folder: bool,
    covers_everything: bool,
}

impl SweepResults {
    /// Starts the file of a sweep in `folder`, which must be new or empty, or in the default
    /// folder.
    pub fn create(sweep: &Sweep, folder: Option<PathBuf>) -> anyhow::Result<Self> {
        let has_own_folder = folder.is_some();
        let folder = folder.unwrap_or_else(results::conformance_home);
        match has_own_folder {
            true => results::claim(&folder)?,
            false => results::make(&folder)?,
        }
        SweepResults::in_folder(sweep, folder, has_own_folder)
    }

    fn in_folder(sweep: &Sweep, folder: PathBuf, has_own_folder: bool) -> anyhow::Result<Self> {
        let outcome = header(sweep);
        let path = folder.join(PARTIAL);
        let create = || -> anyhow::Result<File> {
            // Renamed, so that no reader finds a file without its header.
            let draft = draft(&folder);
            fs::write(&draft, line(&Record::Conformance(outcome.clone()))?)?;
            fs::rename(&draft, &path)?;
            Ok(File::options().append(true).open(&path)?)
        };
        let file = create().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(SweepResults {
            outcome,
            order: order(sweep),
            places: Vec::new(),
            folder,
            file,
            has_own_folder,
            covers_everything: covers_everything(&sweep.participants, &sweep.cases),
        })
    }

    /// Appends a result.
    pub fn add(&mut self, result: CaseResult) -> anyhow::Result<()> {
        // One write per line: a killed run leaves whole lines.
        let line = line(&Record::CaseResult(result.clone()))?;
        self.insert(result);
        let written = self.file.write_all(&line).and_then(|()| self.file.flush());
        written.with_context(|| format!("cannot write {}", self.folder.join(PARTIAL).display()))
    }

    fn insert(&mut self, result: CaseResult) {
        let is_it = |(case, model): &(&str, String)| result.case == *case && result.model == *model;
        let place = self.order.iter().position(is_it).unwrap_or(self.order.len());
        let at = self.places.partition_point(|&other| other < place);
        self.places.insert(at, place);
        self.outcome.results.insert(at, result);
    }

    /// The results so far, server by server.
    pub fn outcome(&self) -> &Conformance {
        &self.outcome
    }

    /// Whether every result exists.
    pub fn is_complete(&self) -> bool {
        self.outcome.results.len() == self.order.len()
    }

    /// Puts the results in order and writes the report if they are to be reported; returns a
    /// message with their place.
    pub fn finish(&self) -> anyhow::Result<String> {
        let (partial, complete) = (self.folder.join(PARTIAL), self.folder.join(results::RECORDS));
        let message = |path: &Path| {
            let forms = if self.outcome.full { "full" } else { "quick" };
            format!("results of the {forms} forms: {}", path.display())
        };
        if !(self.has_own_folder || self.covers_everything && self.is_complete()) {
            self.write(&partial)?;
            return Ok(message(&partial));
        }
        if complete.exists() && self.is_inferior_to(&complete) {
            self.write(&partial)?;
            let kept = format!(
                "the full forms of the same version remain in {}",
                complete.display()
            );
            return Ok(format!("{}; {kept}", message(&partial)));
        }
        let records = Records {
            measured: None,
            conformance: Some(self.outcome.clone()),
        };
        // First, because it validates the records before they replace the last outcome.
        let report = results::write_report(&self.folder, &records)?;
        self.write(&complete)?;
        fs::remove_file(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        Ok(message(&report))
    }

    /// Whether these are quick forms and a file has full forms of the same version. A file that
    /// cannot be read is not better.
    fn is_inferior_to(&self, complete: &Path) -> bool {
        let other = reports::read(complete)
            .ok()
            .and_then(|records| records.conformance);
        let is_fuller = |other: Conformance| other.full && other.version == self.outcome.version;
        !self.outcome.full && other.is_some_and(is_fuller)
    }

    /// Writes a whole file, in order, in the place of the last one.
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let header = Conformance {
            results: Vec::new(),
            ..self.outcome.clone()
        };
        let write = || -> anyhow::Result<()> {
            let mut text = line(&Record::Conformance(header))?;
            for result in &self.outcome.results {
                text.extend(line(&Record::CaseResult(result.clone()))?);
            }
            let draft = draft(&self.folder);
            fs::write(&draft, text)?;
            Ok(fs::rename(&draft, path)?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A file that is renamed once it is complete.
fn draft(folder: &Path) -> PathBuf {
    folder.join(format!(".draft-{}", std::process::id()))
}

fn line(record: &Record) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

/// The last complete outcome, if there is a readable one.
pub fn newest() -> Option<Conformance> {
    let path = results::conformance_home().join(results::RECORDS);
    if !path.exists() {
        return None;
    }
    match reports::read(&path) {
        Ok(records) => records.conformance,
        Err(error) => {
            record::complain!("echobench: the report omits the conformance cases: {error}");
            None
        }
    }
}

/// Whether every case runs on every model of this build.
fn covers_everything(participants: &[Participant], cases: &[&Case]) -> bool {
    let takes_part = |name: &str| participants.iter().any(|participant| participant.name() == name);
    let is_run = |id: &str| cases.iter().any(|case| case.id() == id);
    MODELS.iter().all(|model| takes_part(model.name())) && CASES.iter().all(|case| is_run(case.id()))
}

fn header(sweep: &Sweep) -> Conformance {
    let description = |case: &&Case| CaseDescription {
        id: case.id().into(),
        name: case.name().into(),
        question: case.question().into(),
    };
    Conformance {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: results::now(),
        host: host::read(),
        full: sweep.settings.scale == Scale::Full,
        seed: sweep.settings.seed,
        cases: sweep.cases.iter().map(description).collect(),
        results: Vec::new(),
    }
}

/// Server by server, the order of a table.
fn order(sweep: &Sweep) -> Vec<(&'static str, String)> {
    let of_participant = |participant: &Participant| {
        let name = participant.name().to_owned();
        sweep.cases.iter().map(move |case| (case.id(), name.clone()))
    };
    sweep.participants.iter().flat_map(of_participant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::cases::find;
    use crate::conformance::kit::Settings;
    use record::CaseOutcome;
    use std::num::NonZero;

    fn sweep(cases: &[&str]) -> Sweep {
        Sweep {
            participants: MODELS.iter().map(|model| Participant::Model(*model)).collect(),
            cases: cases.iter().map(|id| find(id).unwrap()).collect(),
            settings: Settings::QUICK,
            jobs: NonZero::<usize>::MIN,
        }
    }

    fn pass(case: &str, model: &str) -> CaseResult {
        CaseResult {
            case: case.into(),
            model: model.into(),
            outcome: CaseOutcome::Pass {
                evidence: String::new(),
            },
            seconds: 0.1,
        }
    }

    fn read(path: &Path) -> Conformance {
        reports::read(path).unwrap().conformance.unwrap()
    }

    fn names(outcome: &Conformance) -> Vec<(&str, &str)> {
        let results = outcome.results.iter();
        results
            .map(|result| (result.case.as_str(), result.model.as_str()))
            .collect()
    }

    #[test]
    fn each_result_is_appended_at_once_and_put_in_order_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (partial, complete) = (folder.path().join(PARTIAL), folder.path().join(results::RECORDS));
        let mut stored = SweepResults::create(&sweep(&["C1", "C2"]), Some(folder.path().into())).unwrap();
        let mut before = fs::read(&partial).unwrap();
        for (case, model) in [("C2", "epoll"), ("C1", "iterative"), ("C1", "epoll")] {
            stored.add(pass(case, model)).unwrap();
            let now = fs::read(&partial).unwrap();
            assert!(now.starts_with(&before) && now.ends_with(b"\n"));
            let added = now[before.len()..].iter().filter(|&&byte| byte == b'\n');
            assert_eq!(added.count(), 1);
            before = now;
        }
        assert_eq!(
            names(&read(&partial)),
            [("C2", "epoll"), ("C1", "iterative"), ("C1", "epoll")]
        );
        assert!(!stored.is_complete());
        let report = folder.path().join("report.html");
        let message = stored.finish().unwrap();
        assert_eq!(
            message,
            format!("results of the quick forms: {}", report.display())
        );
        let in_order = [("C1", "iterative"), ("C1", "epoll"), ("C2", "epoll")];
        assert_eq!(names(&read(&complete)), in_order);
        assert_eq!(&read(&complete), stored.outcome());
        assert!(!partial.exists());
        let page = fs::read_to_string(report).unwrap();
        assert!(page.contains("data-behaviour"));
    }

    #[test]
    fn a_killed_run_leaves_whole_lines_that_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join(PARTIAL);
        let mut stored = SweepResults::create(&sweep(&["C1", "C2"]), Some(folder.path().into())).unwrap();
        stored.add(pass("C1", "epoll")).unwrap();
        stored.add(pass("C2", "epoll")).unwrap();
        let text = fs::read(&partial).unwrap();
        fs::write(&partial, &text[..text.len() - 9]).unwrap();
        assert_eq!(names(&read(&partial)), [("C1", "epoll")]);
    }

    #[test]
    fn an_outcome_in_one_record_as_older_versions_write_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(results::RECORDS);
        let outcome = Conformance {
            results: vec![pass("C2", "epoll"), pass("C1", "epoll")],
            ..header(&sweep(&["C1", "C2"]))
        };
        fs::write(&path, line(&Record::Conformance(outcome.clone())).unwrap()).unwrap();
        assert_eq!(read(&path), outcome);
    }

    /// A sweep of everything in the default place, before `finish`.
    fn everything(folder: &Path, full: bool) -> SweepResults {
        let mut sweep = sweep(&CASES.iter().map(Case::id).collect::<Vec<_>>());
        sweep.settings.scale = if full { Scale::Full } else { Scale::Quick };
        let mut stored = SweepResults::in_folder(&sweep, folder.into(), false).unwrap();
        for (case, model) in stored.order.clone() {
            stored.insert(pass(case, &model));
        }
        stored
    }

    #[test]
    fn quick_forms_do_not_replace_full_forms_of_the_same_version() {
        let folder = tempfile::tempdir().unwrap();
        let complete = folder.path().join(results::RECORDS);
        for (full, becomes_full, expected) in [
            (false, false, "results of the quick forms"),
            (true, true, "results of the full forms"),
            (false, true, "remain in"),
            (true, true, "results of the full forms"),
        ] {
            let message = everything(folder.path(), full).finish().unwrap();
            assert!(message.contains(expected), "{message}");
            assert_eq!(read(&complete).full, becomes_full, "{message}");
            let is_left = folder.path().join(PARTIAL).exists();
            assert_eq!(is_left, full != becomes_full, "{message}");
        }
        let mut newer = everything(folder.path(), false);
        newer.outcome.version += ".1";
        newer.finish().unwrap();
        assert!(!read(&complete).full);
    }

    #[test]
    fn an_unreadable_outcome_does_not_replace_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        everything(folder.path(), false).finish().unwrap();
        let last = read(&folder.path().join(results::RECORDS));
        let mut wrong = everything(folder.path(), false);
        wrong.outcome.results[0].case = "C99".into();
        assert!(wrong.finish().unwrap_err().to_string().contains("C99"));
        assert_eq!(read(&folder.path().join(results::RECORDS)), last);
    }

    #[test]
    fn a_folder_with_results_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let create = || SweepResults::create(&sweep(&["C1"]), Some(folder.path().into()));
        create().unwrap();
        assert!(create().unwrap_err().to_string().contains("is not empty"));
    }

    #[test]
    fn only_all_cases_on_all_models_cover_everything() {
        let Sweep { participants, .. } = sweep(&[]);
        let all: Vec<&Case> = CASES.iter().collect();
        assert!(covers_everything(&participants, &all));
        assert!(!covers_everything(&participants[1..], &all));
        assert!(!covers_everything(&participants, &all[1..]));
    }
}
