//! Where the outcome of cases is kept: each result as it lands.
//!
//! Without a folder of its own, a sweep writes `partial.jsonl` among the results of the
//! harness. Only one that ran every case on every model takes the place of the last complete
//! outcome there, which is the one that reports show; and quick forms do not take the place
//! of the full ones of the same version.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use loadgen::record::{CaseDescription, CaseResult, Conformance, Record, Records, SCHEMA_VERSION};
use servers::models::MODELS;

use super::{CASES, Case, Scale, Subject, Sweep};
use crate::host::fingerprint as host;
use crate::results;

/// What results.jsonl is called until it is complete.
const PARTIAL: &str = "partial.jsonl";

/// The outcome of a sweep, on disk and in memory.
#[derive(Debug)]
pub struct Kept {
    outcome: Conformance,
    order: Vec<(&'static str, String)>,
    /// Of each result, its place in that order.
    places: Vec<usize>,
    folder: PathBuf,
    asked_for: bool,
    is_whole: bool,
}

impl Kept {
    /// Begins to keep a sweep, in a folder that must be new or empty, or in the usual one.
    pub fn begin(sweep: &Sweep, folder: Option<PathBuf>) -> anyhow::Result<Self> {
        let asked_for = folder.is_some();
        let folder = folder.unwrap_or_else(results::conformance_home);
        match asked_for {
            true => results::claim(&folder)?,
            false => results::make(&folder)?,
        }
        let kept = Kept {
            outcome: describe(sweep),
            order: order(sweep),
            places: Vec::new(),
            folder,
            asked_for,
            is_whole: is_whole(&sweep.subjects, &sweep.cases),
        };
        kept.write(PARTIAL)?;
        Ok(kept)
    }

    /// Keeps a result.
    pub fn add(&mut self, result: CaseResult) -> anyhow::Result<()> {
        let is_it = |(case, subject): &(&str, String)| result.case == *case && result.model == *subject;
        let place = self.order.iter().position(is_it).unwrap_or(self.order.len());
        let at = self.places.partition_point(|&other| other < place);
        self.places.insert(at, place);
        self.outcome.results.insert(at, result);
        self.write(PARTIAL)
    }

    /// What came of it so far.
    pub fn outcome(&self) -> &Conformance {
        &self.outcome
    }

    /// Whether nothing is missing.
    pub fn is_finished(&self) -> bool {
        self.outcome.results.len() == self.order.len()
    }

    /// Writes the report, where the outcome is one to report; says what is kept where.
    pub fn finish(&self) -> anyhow::Result<String> {
        let (partial, complete) = (self.folder.join(PARTIAL), self.folder.join(results::RECORDS));
        let kept_in = |path: &Path| {
            let forms = if self.outcome.full { "full" } else { "quick" };
            format!("the {forms} forms are kept in {}", path.display())
        };
        if !(self.asked_for || self.is_whole && self.is_finished()) {
            return Ok(kept_in(&partial));
        }
        if complete.exists() && self.says_less_than(&complete) {
            let stays = format!("the full ones of the same version stay in {}", complete.display());
            return Ok(format!("{}; {stays}", kept_in(&partial)));
        }
        let records = Records {
            measured: None,
            conformance: Some(self.outcome.clone()),
        };
        // First, since it checks what would replace the last outcome that could be read.
        let report = results::write_report(&self.folder, &records)?;
        fs::rename(&partial, &complete).with_context(|| format!("cannot write {}", complete.display()))?;
        Ok(kept_in(&report))
    }

    /// Whether it has quick forms where the outcome there has the full ones. One that cannot
    /// be read says nothing.
    fn says_less_than(&self, complete: &Path) -> bool {
        let other = reports::read(complete)
            .ok()
            .and_then(|records| records.conformance);
        let is_fuller = |other: Conformance| other.full && other.version == self.outcome.version;
        !self.outcome.full && other.is_some_and(is_fuller)
    }

    fn write(&self, name: &str) -> anyhow::Result<()> {
        let line = serde_json::to_string(&Record::Conformance(self.outcome.clone()))? + "\n";
        let path = self.folder.join(name);
        let draft = self.folder.join(format!(".{name}-{}", std::process::id()));
        let written = fs::write(&draft, line).and_then(|()| fs::rename(&draft, &path));
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The last complete outcome, if there is one that can be read.
pub fn newest() -> Option<Conformance> {
    let path = results::conformance_home().join(results::RECORDS);
    if !path.exists() {
        return None;
    }
    match reports::read(&path) {
        Ok(records) => records.conformance,
        Err(error) => {
            eprintln!("echobench: the report goes without the conformance cases: {error}");
            None
        }
    }
}

/// Whether every model of this build meets every case.
fn is_whole(subjects: &[Subject], cases: &[&Case]) -> bool {
    let is_asked = |name: &str| subjects.iter().any(|subject| subject.name() == name);
    let is_run = |id: &str| cases.iter().any(|case| case.id() == id);
    MODELS.iter().all(|model| is_asked(model.name())) && CASES.iter().all(|case| is_run(case.id()))
}

fn describe(sweep: &Sweep) -> Conformance {
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

/// Server by server, as a reader goes through them.
fn order(sweep: &Sweep) -> Vec<(&'static str, String)> {
    let of_subject = |subject: &Subject| {
        let name = subject.name().to_owned();
        sweep.cases.iter().map(move |case| (case.id(), name.clone()))
    };
    sweep.subjects.iter().flat_map(of_subject).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Outcome, Settings, find};
    use std::num::NonZero;

    fn sweep(cases: &[&str]) -> Sweep {
        Sweep {
            subjects: MODELS.iter().map(|model| Subject::model(*model)).collect(),
            cases: cases.iter().map(|id| find(id).unwrap()).collect(),
            settings: Settings::QUICK,
            jobs: NonZero::<usize>::MIN,
        }
    }

    fn pass(case: &str, model: &str) -> CaseResult {
        CaseResult {
            case: case.into(),
            model: model.into(),
            outcome: Outcome::Pass {
                evidence: String::new(),
            },
            seconds: 0.1,
        }
    }

    fn read(path: &Path) -> Conformance {
        reports::read(path).unwrap().conformance.unwrap()
    }

    #[test]
    fn each_result_is_on_disk_as_it_lands_and_stands_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::begin(&sweep(&["C1", "C2"]), Some(folder.path().into())).unwrap();
        for (case, model) in [("C2", "epoll"), ("C1", "iterative"), ("C1", "epoll")] {
            kept.add(pass(case, model)).unwrap();
        }
        let found = read(&folder.path().join(PARTIAL));
        let places: Vec<_> = found
            .results
            .iter()
            .map(|result| (result.case.as_str(), result.model.as_str()))
            .collect();
        assert_eq!(places, [("C1", "iterative"), ("C1", "epoll"), ("C2", "epoll")]);
        assert!(!kept.is_finished());
        let report = folder.path().join("report.html");
        let said = kept.finish().unwrap();
        assert_eq!(said, format!("the quick forms are kept in {}", report.display()));
        assert_eq!(read(&folder.path().join(results::RECORDS)), found);
        let page = fs::read_to_string(report).unwrap();
        assert!(page.contains("What each case asks"));
    }

    /// A whole sweep in the place of the last complete outcome, as it is before `finish`.
    fn whole(folder: &Path, full: bool) -> Kept {
        let mut sweep = sweep(&CASES.iter().map(Case::id).collect::<Vec<_>>());
        sweep.settings.scale = if full { Scale::Full } else { Scale::Quick };
        let order = order(&sweep);
        let results = order.iter().map(|(case, model)| pass(case, model)).collect();
        let kept = Kept {
            outcome: Conformance {
                results,
                ..describe(&sweep)
            },
            order,
            places: Vec::new(),
            folder: folder.into(),
            asked_for: false,
            is_whole: is_whole(&sweep.subjects, &sweep.cases),
        };
        kept.write(PARTIAL).unwrap();
        kept
    }

    #[test]
    fn quick_forms_do_not_take_the_place_of_the_full_ones_of_the_same_version() {
        let folder = tempfile::tempdir().unwrap();
        let complete = folder.path().join(results::RECORDS);
        for (full, becomes_full, says) in [
            (false, false, "the quick forms are kept in"),
            (true, true, "the full forms are kept in"),
            (false, true, "stay in"),
            (true, true, "the full forms are kept in"),
        ] {
            let said = whole(folder.path(), full).finish().unwrap();
            assert!(said.contains(says), "{said}");
            assert_eq!(read(&complete).full, becomes_full, "{said}");
            let is_left_beside = folder.path().join(PARTIAL).exists();
            assert_eq!(is_left_beside, full != becomes_full, "{said}");
        }
        let mut newer = whole(folder.path(), false);
        newer.outcome.version += ".1";
        newer.write(PARTIAL).unwrap();
        newer.finish().unwrap();
        assert!(!read(&complete).full);
    }

    #[test]
    fn an_outcome_that_nobody_could_read_does_not_take_the_place_of_the_last() {
        let folder = tempfile::tempdir().unwrap();
        whole(folder.path(), false).finish().unwrap();
        let last = read(&folder.path().join(results::RECORDS));
        let mut wrong = whole(folder.path(), false);
        wrong.outcome.results[0].case = "C99".into();
        assert!(wrong.finish().unwrap_err().to_string().contains("C99"));
        assert_eq!(read(&folder.path().join(results::RECORDS)), last);
    }

    #[test]
    fn a_folder_with_results_is_not_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let begin = || Kept::begin(&sweep(&["C1"]), Some(folder.path().into()));
        begin().unwrap();
        assert!(begin().unwrap_err().to_string().contains("is not empty"));
    }

    #[test]
    fn only_all_cases_on_all_models_are_whole() {
        let Sweep { subjects, .. } = sweep(&[]);
        let all: Vec<&Case> = CASES.iter().collect();
        assert!(is_whole(&subjects, &all));
        assert!(!is_whole(&subjects[1..], &all));
        assert!(!is_whole(&subjects, &all[1..]));
    }
}
