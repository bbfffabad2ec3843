//! Loads that would count twice: the same one again, or a sum and one of its parts.

use std::collections::HashSet;

use super::{MergeError, Part};
use record::histogram::Histogram;
use record::{Load, Span};

/// The ids of all loads that the parts hold, of which none may be held twice.
pub fn held(parts: &[Part]) -> Result<Vec<String>, MergeError> {
    let mut all: Vec<(&Part, Vec<String>)> = Vec::new();
    for part in parts {
        let held = part.load.held();
        for (other, others) in &all {
            check((other, others), (part, &held))?;
        }
        all.push((part, held));
    }
    Ok(all.into_iter().flat_map(|(_, held)| held).collect())
}

fn check((first, one): (&Part, &[String]), (second, other): (&Part, &[String])) -> Result<(), MergeError> {
    let one: HashSet<&String> = one.iter().collect();
    let other: HashSet<&String> = other.iter().collect();
    let common = one.intersection(&other).count();
    let names = (first.name.clone(), second.name.clone());
    let (sum, part) = match common {
        0 if contains(&first.load, &second.load) => (names.0, names.1),
        0 if contains(&second.load, &first.load) => (names.1, names.0),
        0 => return Ok(()),
        _ if one == other => {
            let (first, second) = names;
            return Err(MergeError::Twice { first, second });
        }
        _ if common == other.len() => (names.0, names.1),
        _ if common == one.len() => (names.1, names.0),
        loads => {
            let (first, second) = names;
            return Err(MergeError::Shared { first, second, loads });
        }
    };
    Err(MergeError::Held { sum, part })
}

/// Whether a load that an older program wrote holds another, by what it measured: every latency of the
/// part is in it. Of loads that ran beside each other that is as unlikely as equal latencies.
fn contains(sum: &Load, part: &Load) -> bool {
    let histogram = |load: &Load, span: Span| load.histograms[span].as_ref()?.decode().ok();
    let covers = |span| match (histogram(sum, span), histogram(part, span)) {
        (Some(whole), Some(piece)) => is_within(&piece, &whole),
        (None, None) => true,
        _ => false,
    };
    let is_larger = sum.plan.threads() > part.plan.threads() && sum.summary.echoes >= part.summary.echoes;
    sum.may_hide_parts() && is_larger && part.summary.echoes > 0 && Span::ALL.into_iter().all(covers)
}

/// Whether no value is more frequent in the one than in the other.
fn is_within(piece: &Histogram, whole: &Histogram) -> bool {
    let mut steps = piece.iter_recorded();
    steps.all(|step| step.count_at_value() <= whole.count_at(step.value_iterated_to()))
}

/// Warns of loads of which it is not known what they hold.
pub fn unknown(parts: &[Part]) -> Option<String> {
    let unknown = parts.iter().filter(|part| part.load.may_hide_parts());
    let names: Vec<&str> = unknown.map(|part| part.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "an older program wrote {}, without the loads that it holds: if it is a sum, do not give its parts as well",
            names.join(", ")
        )
    })
}
