//! Every case on every subject, several at once.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::{Case, CaseResult, Scale, Settings, Subject, run};

/// Which cases are run on whom, and how.
#[derive(Debug)]
pub struct Sweep {
    /// Who is asked.
    pub subjects: Vec<Subject>,
    /// What is asked.
    pub cases: Vec<&'static Case>,
    /// How; at full scale, cases without a larger form run in the one that they have.
    pub settings: Settings,
    /// How many run at once, as far as none of them must be alone.
    pub jobs: NonZero<usize>,
}

impl Sweep {
    /// How many results there will be.
    pub fn len(&self) -> usize {
        self.subjects.len() * self.cases.len()
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs all of it and passes on each result as it lands, in no certain order. Once `stop`
    /// is raised or `landed` fails, what has begun is finished and nothing else begun.
    pub fn run(
        &self,
        stop: &AtomicBool,
        mut landed: impl FnMut(CaseResult) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let places = self.places();
        let next = AtomicUsize::new(0);
        let (sender, results) = channel();
        let work = |sender: Sender<CaseResult>| {
            while !stop.load(Relaxed)
                && let Some((case, subject)) = places.get(next.fetch_add(1, Relaxed))
                // Nobody receives once a result could not be passed on.
                && sender.send(self.result(case, subject)).is_ok()
            {}
        };
        thread::scope(|scope| {
            for _ in 0..self.jobs.get().min(places.len()) {
                let sender = sender.clone();
                scope.spawn(|| work(sender));
            }
            drop(sender);
            results.into_iter().try_for_each(&mut landed)
        })
    }

    /// Case by case, so that those that have to be alone come together, and keep nobody
    /// waiting who could have run beside another.
    fn places(&self) -> Vec<(&'static Case, &Subject)> {
        let of_case = |case| self.subjects.iter().map(move |subject| (case, subject));
        self.cases.iter().copied().flat_map(of_case).collect()
    }

    fn result(&self, case: &Case, subject: &Subject) -> CaseResult {
        let scale = match case.has_full_scale() {
            true => self.settings.scale,
            false => Scale::Quick,
        };
        let settings = Settings {
            scale,
            ..self.settings
        };
        run(case, subject, settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::find;

    /// Skipped at once.
    fn sweep(jobs: usize) -> Sweep {
        Sweep {
            subjects: ["a", "b", "c"].map(Subject::absent).to_vec(),
            cases: ["C1", "C13"].map(|id| find(id).unwrap()).to_vec(),
            settings: Settings::QUICK,
            jobs: NonZero::new(jobs).unwrap(),
        }
    }

    fn names(sweep: &Sweep, stop: &AtomicBool, limit: usize) -> Vec<(String, String)> {
        let mut seen = Vec::new();
        let ran = sweep.run(stop, |result| {
            seen.push((result.case, result.model));
            anyhow::ensure!(seen.len() < limit, "that was enough");
            Ok(())
        });
        assert_eq!(ran.is_err(), seen.len() == limit);
        seen
    }

    #[test]
    fn every_case_meets_every_subject_once() {
        for jobs in [1, 4, 100] {
            let sweep = sweep(jobs);
            let mut seen = names(&sweep, &AtomicBool::new(false), usize::MAX);
            assert_eq!(seen.len(), sweep.len());
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), sweep.len());
        }
    }

    #[test]
    fn one_job_goes_case_by_case() {
        let seen = names(&sweep(1), &AtomicBool::new(false), usize::MAX);
        let cases: Vec<_> = seen.iter().map(|(case, _)| case.as_str()).collect();
        assert_eq!(cases, ["C1", "C1", "C1", "C13", "C13", "C13"]);
    }

    #[test]
    fn a_stop_or_a_result_that_cannot_be_kept_ends_it_early() {
        assert!(names(&sweep(4), &AtomicBool::new(true), usize::MAX).is_empty());
        assert_eq!(names(&sweep(1), &AtomicBool::new(false), 2).len(), 2);
    }

    #[test]
    fn nobody_is_asked_nothing() {
        let nobody = Sweep {
            subjects: vec![Subject::absent("a")],
            cases: Vec::new(),
            ..sweep(1)
        };
        assert!(nobody.is_empty() && names(&nobody, &AtomicBool::new(false), 1).is_empty());
    }
}
