//! What single loads tell beside their findings: what a closed loop survives, and what is below the
//! limit of a gate.

use record::finding::TAKEN;
use record::{Cost, Finding, Load, Outcome, Placement, Reconnects, Throttling, Trial};

use super::diagnostic::{Diagnostic, QuotaSide};
use super::findings::has;
use super::places::Places;

/// Smaller shares of a window are not worth a line.
const WORTH_TELLING: f64 = 0.01;

/// The diagnostics of the measured trials.
pub fn of(trials: &[Trial], placement: &Placement) -> Vec<Diagnostic> {
    let measured: Vec<Measured> = trials.iter().filter_map(Measured::of).collect();
    let all = [
        kept_waiting(&measured, placement),
        steal(&measured),
        quota(&measured),
        unanswered(&measured),
        reconnects(&measured),
        starved(&measured),
    ];
    all.into_iter().flatten().collect()
}

/// A measured trial.
struct Measured<'a> {
    trial: &'a Trial,
    load: &'a Load,
    cost: Option<&'a Cost>,
}

impl<'a> Measured<'a> {
    fn of(trial: &'a Trial) -> Option<Self> {
        match &trial.outcome {
            Outcome::Measured { load, cost, .. } => Some(Measured {
                trial,
                load,
                cost: cost.as_ref(),
            }),
            _ => None,
        }
    }
}

/// Where a loop has a schedule, a gate finds the same.
fn kept_waiting(measured: &[Measured], placement: &Placement) -> Option<Diagnostic> {
    let (mut most, mut beyond) = (0.0, Places::default());
    for one in measured {
        if has(one.load, |found| matches!(found, Finding::KeptWaiting { .. })) {
            continue;
        }
        let share = one.load.generator.kept_waiting_by_others();
        most = f64::max(most, share);
        if share > TAKEN {
            beyond.add(one.trial);
        }
    }
    (most > WORTH_TELLING).then(|| Diagnostic::KeptWaiting {
        most,
        trials: beyond.trials(),
        measured: measured.len(),
        places: beyond.list(),
        shared: placement.shared(),
    })
}

fn steal(measured: &[Measured]) -> Option<Diagnostic> {
    let is_found = |found: &Finding| matches!(found, Finding::Stolen { .. });
    let shares = { measured.iter() }
        .filter(|one| !has(one.load, is_found))
        .filter_map(|one| one.load.generator.steal);
    let most = shares.fold(0.0, f64::max);
    (most > WORTH_TELLING).then_some(Diagnostic::Steal { most })
}

fn quota(measured: &[Measured]) -> Option<Diagnostic> {
    let side = |of: fn(&Measured) -> Option<Throttling>| {
        let known: Vec<Throttling> = measured.iter().filter_map(of).collect();
        let worst = known
            .iter()
            .max_by(|one, other| one.share.total_cmp(&other.share))?;
        Some(QuotaSide {
            worst: *worst,
            throttled: known.iter().filter(|one| one.happened()).count(),
            trials: known.len(),
        })
    };
    let generator = side(|one| one.load.generator.throttling);
    let server = side(|one| one.cost?.throttling);
    (generator.is_some() || server.is_some()).then_some(Diagnostic::Quota { generator, server })
}

fn unanswered(measured: &[Measured]) -> Option<Diagnostic> {
    let (mut messages, mut places) = (0u64, Places::default());
    for one in measured {
        let unanswered = one.load.summary.unanswered;
        if unanswered > 0 && !has(one.load, |found| matches!(found, Finding::Unanswered { .. })) {
            messages = messages.saturating_add(unanswered);
            places.add(one.trial);
        }
    }
    (messages > 0).then(|| Diagnostic::Unanswered {
        messages,
        trials: places.trials(),
        places: places.list(),
    })
}

fn reconnects(measured: &[Measured]) -> Option<Diagnostic> {
    let (mut sum, mut places) = (Reconnects::default(), Places::default());
    for one in measured {
        let seen = one.load.summary.reconnects.unwrap_or_default();
        if seen.lost > 0 {
            sum.lost = sum.lost.saturating_add(seen.lost);
            sum.reopened = sum.reopened.saturating_add(seen.reopened);
            sum.longest_s = sum.longest_s.max(seen.longest_s);
            places.add(one.trial);
        }
    }
    (sum.lost > 0).then(|| Diagnostic::Reconnects {
        lost: sum.lost,
        reopened: sum.reopened,
        longest_s: sum.longest_s,
        trials: places.trials(),
        places: places.list(),
    })
}

/// Where connections stay open, verdicts leave a server out that does not answer each.
fn starved(measured: &[Measured]) -> Option<Diagnostic> {
    let (mut most, mut places) = (0, Places::default());
    let come_and_go = |load: &Load| load.plan.messages_per_connection().is_some();
    for one in measured.iter().filter(|one| come_and_go(one.load)) {
        let starved = one.load.starved();
        if starved > 0 {
            most = most.max(starved);
            places.add(one.trial);
        }
    }
    (most > 0).then(|| Diagnostic::Starved {
        most,
        trials: places.trials(),
        places: places.list(),
    })
}
