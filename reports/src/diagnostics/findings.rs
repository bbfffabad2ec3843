//! What the gates found in the loads, counted over trials: nothing that the generator says of a load
//! is missing in the report.

use std::mem::discriminant;

use record::{Finding, Load, Outcome, Trial};

use super::diagnostic::{Diagnostic, Found};
use super::places::Places;

/// A diagnostic for each kind of finding, in the order in which they appear.
pub fn of(trials: &[Trial]) -> Vec<Diagnostic> {
    let mut groups: Vec<Group> = Vec::new();
    let mut measured = 0;
    for trial in trials {
        let Outcome::Measured { load, .. } = &trial.outcome else {
            continue;
        };
        measured += 1;
        for finding in findings(load) {
            let at = groups.iter().position(|group| are_alike(&group.worst, finding));
            let at = at.unwrap_or_else(|| {
                groups.push(Group::new(finding));
                groups.len() - 1
            });
            groups[at].add(finding, trial);
        }
    }
    { groups.into_iter() }
        .map(|group| {
            Diagnostic::Found(Box::new(Found {
                worst: group.worst,
                trials: group.places.trials(),
                measured,
                places: group.places.list(),
            }))
        })
        .collect()
}

/// Whether a load has a finding of the kind that `is_it` tells.
pub(super) fn has(load: &Load, is_it: fn(&Finding) -> bool) -> bool {
    findings(load).any(is_it)
}

/// The findings of a load, without the parts in which they were found.
fn findings(load: &Load) -> impl Iterator<Item = &Finding> {
    load.summary.findings.iter().map(innermost)
}

fn innermost(finding: &Finding) -> &Finding {
    match finding {
        Finding::OfPart { found, .. } => innermost(found),
        other => other,
    }
}

/// Whether two findings are of a kind. Those of an older record are sentences, with a number or two.
fn are_alike(one: &Finding, other: &Finding) -> bool {
    discriminant(one) == discriminant(other)
        && match (one, other) {
            (Finding::Reason { text: one }, Finding::Reason { text: other })
            | (Finding::Withheld { text: one }, Finding::Withheld { text: other }) => {
                without_numbers(one) == without_numbers(other)
            }
            _ => true,
        }
}

/// The words of a text, without numbers and their units: `31.2k/s`, `12%`.
fn without_numbers(text: &str) -> Vec<&str> {
    let is_word = |word: &&str| !word.contains(|c: char| c.is_ascii_digit());
    text.split_whitespace().filter(is_word).collect()
}

/// The findings of one kind.
struct Group {
    worst: Finding,
    places: Places,
}

impl Group {
    fn new(first: &Finding) -> Self {
        Group {
            worst: first.clone(),
            places: Places::default(),
        }
    }

    fn add(&mut self, finding: &Finding, trial: &Trial) {
        if size(finding) > size(&self.worst) {
            self.worst = finding.clone();
        }
        self.places.add(trial);
    }
}

/// How large a problem is, compared with others of its kind.
fn size(finding: &Finding) -> f64 {
    match finding {
        Finding::Interrupted {
            measured_s,
            planned_s,
        } => planned_s - measured_s,
        Finding::NoEchoes | Finding::Reason { .. } | Finding::Withheld { .. } => 0.0,
        Finding::WrongBytes(connections)
        | Finding::NoLocalPort(connections)
        | Finding::TooManyOpenFiles { connections, .. }
        | Finding::ConnectionsFailed(connections)
        | Finding::StillLost { connections, .. }
        | Finding::WentSilent { connections, .. } => connections.connections as f64,
        Finding::EndedInWarmUp { connections, .. } => *connections as f64,
        Finding::Lost(messages) | Finding::Stale(messages) => {
            messages.messages as f64 / messages.messages.saturating_add(messages.echoes) as f64
        }
        Finding::Overrun { outstanding } => *outstanding as f64,
        Finding::WarmUpBacklog(rates)
        | Finding::GeneratorFellBehind(rates)
        | Finding::ServerFellBehind(rates) => change(rates.offered_per_s, rates.achieved_per_s),
        Finding::Unanswered { unanswered, due } => *unanswered as f64 / *due as f64,
        Finding::SentLate(lag) => lag.send_lag_us,
        Finding::MostlySendLag { lag, .. } => lag.send_lag_us / lag.response_us,
        Finding::Saturated { utilisation } => *utilisation,
        Finding::KeptWaiting { share, .. } | Finding::Stolen { share } => *share,
        // One that made the generator late is worse than any that did not.
        Finding::Throttled { throttling, late } => throttling.share + f64::from(u8::from(*late)),
        Finding::UnevenArrivals { seen, expected, .. } => (seen - *expected as f64).abs(),
        Finding::WrongArrivalRate { gaps, expected } => change(*expected, *gaps as f64),
        Finding::WrongGaps { distance, .. } => *distance,
        Finding::Unaccounted { share } => change(1.0, *share),
        Finding::RateNotSteady {
            before_per_s,
            after_per_s,
        } => change(*before_per_s, *after_per_s),
        Finding::LatencyNotSteady { before_us, after_us } => change(*before_us, *after_us),
        Finding::OfPart { found, .. } => size(found),
    }
}

/// How far two values are apart, as a factor.
fn change(one: f64, other: f64) -> f64 {
    (other / one).ln().abs()
}
