//! Runs many cases on many participants, several at a time.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use record::CaseResult;

use super::kit::{Case, Scale, Settings};
use super::run::run;
use crate::participant::Participant;

/// Which cases run on which participants, and how.
#[derive(Debug)]
pub struct Sweep {
    /// The servers.
    pub participants: Vec<Participant>,
    /// The cases.
    pub cases: Vec<&'static Case>,
    /// Scale and seed; cases without a full form run in their only form.
    pub settings: Settings,
    /// Cases that run at the same time, exclusive cases aside.
    pub jobs: NonZero<usize>,
}

impl Sweep {
    /// The number of results.
    pub fn len(&self) -> usize {
        self.participants.len() * self.cases.len()
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs everything and passes each result to `landed` as soon as it exists, in no fixed
    /// order. Once `stop` is set or `landed` fails, cases that run are finished and no other is
    /// started.
    pub fn run(
        &self,
        stop: &AtomicBool,
        landed: impl FnMut(CaseResult) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.run_with(run, stop, landed)
    }

    fn run_with(
        &self,
        run: impl Fn(&Case, &Participant, Settings) -> CaseResult + Sync,
        stop: &AtomicBool,
        mut landed: impl FnMut(CaseResult) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let pairs = self.pairs();
        let next = AtomicUsize::new(0);
        let (sender, results) = channel();
        let work = |sender: Sender<CaseResult>| {
            while !stop.load(Relaxed)
                && let Some((case, participant)) = pairs.get(next.fetch_add(1, Relaxed))
                // Sending fails once `landed` has failed.
                && sender.send(run(case, participant, self.settings_of(case))).is_ok()
            {}
        };
        thread::scope(|scope| {
            for _ in 0..self.jobs.get().min(pairs.len()) {
                let sender = sender.clone();
                scope.spawn(|| work(sender));
            }
            drop(sender);
            results.into_iter().try_for_each(&mut landed)
        })
    }

    /// Case by case, so that the exclusive runs of a case follow each other and block few
    /// others.
    fn pairs(&self) -> Vec<(&'static Case, &Participant)> {
        let of_case = |case| {
            self.participants
                .iter()
                .map(move |participant| (case, participant))
        };
        self.cases.iter().copied().flat_map(of_case).collect()
    }

    fn settings_of(&self, case: &Case) -> Settings {
        let scale = match case.has_full_form() {
            true => self.settings.scale,
            false => Scale::Quick,
        };
        Settings {
            scale,
            ..self.settings
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::cases::find;
    use record::CaseOutcome;
    use servers::models::MODELS;

    fn sweep(jobs: usize) -> Sweep {
        Sweep {
            participants: MODELS
                .iter()
                .take(3)
                .map(|model| Participant::Model(*model))
                .collect(),
            cases: ["C1", "C13"].map(|id| find(id).unwrap()).to_vec(),
            settings: Settings::QUICK,
            jobs: NonZero::new(jobs).unwrap(),
        }
    }

    /// A result without a server: unit tests have no guard.
    fn pretend(case: &Case, participant: &Participant, _: Settings) -> CaseResult {
        CaseResult {
            case: case.id().into(),
            model: participant.name().into(),
            outcome: CaseOutcome::Skipped { reason: "x".into() },
            seconds: 0.0,
        }
    }

    /// The results of a sweep; `landed` fails at the last of `limit`.
    fn names(sweep: &Sweep, stop: &AtomicBool, limit: usize) -> Vec<(String, String)> {
        let mut seen = Vec::new();
        let ran = sweep.run_with(pretend, stop, |result| {
            seen.push((result.case, result.model));
            anyhow::ensure!(seen.len() < limit, "enough");
            Ok(())
        });
        assert_eq!(ran.is_err(), seen.len() == limit);
        seen
    }

    #[test]
    fn every_case_runs_on_every_participant_once() {
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
    fn one_job_runs_case_by_case() {
        let seen = names(&sweep(1), &AtomicBool::new(false), usize::MAX);
        let cases: Vec<_> = seen.iter().map(|(case, _)| case.as_str()).collect();
        assert_eq!(cases, ["C1", "C1", "C1", "C13", "C13", "C13"]);
    }

    #[test]
    fn a_stop_or_a_failure_to_store_a_result_ends_a_sweep_early() {
        assert!(names(&sweep(4), &AtomicBool::new(true), usize::MAX).is_empty());
        assert_eq!(names(&sweep(1), &AtomicBool::new(false), 2).len(), 2);
    }

    #[test]
    fn a_sweep_without_cases_has_no_results() {
        let empty = Sweep {
            cases: Vec::new(),
            ..sweep(1)
        };
        assert!(empty.is_empty() && names(&empty, &AtomicBool::new(false), 1).is_empty());
    }

    #[test]
    fn a_case_without_a_full_form_runs_in_its_only_form() {
        let full = Sweep {
            settings: Settings {
                scale: Scale::Full,
                ..Settings::QUICK
            },
            ..sweep(1)
        };
        assert_eq!(full.settings_of(find("C1").unwrap()).scale, Scale::Quick);
        assert_eq!(full.settings_of(find("C13").unwrap()).scale, Scale::Full);
    }
}
