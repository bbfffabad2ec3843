//! The gate for processor quotas: a throttled generator does nothing for the rest of a period.
//!
//! It takes the place of findings that it explains, since their advice does not help: more threads
//! and other processors share the same quota.

use record::{Effect, Finding, Load};

/// Less than this share of the time explains neither a p99 nor a rate that is missed by 1%.
const NEGLIGIBLE: f64 = 0.01;

/// The findings, with that of a quota that throttled the generator.
pub fn with_throttling(load: &Load, mut found: Vec<Finding>) -> Vec<Finding> {
    let throttling = load
        .generator
        .throttling
        .filter(|throttling| throttling.happened());
    let Some(throttling) = throttling else {
        return found;
    };
    let was_late = |finding: &Finding| is_consequence(finding) && finding.effect() == Effect::Invalidates;
    let finding = Finding::Throttled {
        throttling,
        late: throttling.share >= NEGLIGIBLE && found.iter().any(was_late),
    };
    if finding.effect() == Effect::Invalidates {
        found.retain(|finding| !is_consequence(finding));
    }
    found.insert(0, finding);
    found
}

/// Whether a finding says that the generator was late, which throttling explains.
fn is_consequence(finding: &Finding) -> bool {
    matches!(
        finding,
        Finding::GeneratorFellBehind(_)
            | Finding::SentLate(_)
            | Finding::Saturated { .. }
            | Finding::MostlySendLag { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::finding::{Lag, Rates};
    use record::sample;
    use record::{Plan, Throttling};

    /// What is left of findings if a quota throttled the generator for that share of the time.
    fn found(share: f64, others: &[Finding]) -> Vec<Finding> {
        let mut load = sample::busy(&Plan::default());
        load.generator.throttling = Some(Throttling {
            throttled_periods: u64::from(share > 0.0),
            share,
            ..Throttling::default()
        });
        with_throttling(&load, others.into())
    }

    fn is_throttled(finding: &Finding, expected: Effect) -> bool {
        matches!(finding, Finding::Throttled { .. }) && finding.effect() == expected
    }

    #[test]
    fn much_throttling_takes_the_place_of_what_it_explains_and_of_nothing_else() {
        let lag = Lag {
            send_lag_us: 20e3,
            response_us: 30e3,
        };
        let rates = Rates {
            offered_per_s: 50e3,
            achieved_per_s: 31e3,
        };
        let explained = [
            Finding::GeneratorFellBehind(rates),
            Finding::SentLate(lag),
            Finding::Saturated { utilisation: 0.95 },
        ];
        let other = Finding::ServerFellBehind(rates);
        for one in &explained {
            let all = [one.clone(), other.clone()];
            for share in [0.01, 0.1, 0.101] {
                let found = found(share, &all);
                assert_eq!(found[1..], all[1..], "{share}");
                assert!(is_throttled(&found[0], Effect::Invalidates), "{found:?}");
            }
            let found = found(0.0099, &all);
            assert_eq!(found[1..], all);
            assert!(is_throttled(&found[0], Effect::Noted), "{found:?}");
        }
        assert_eq!(found(0.0, &explained), explained);
    }

    #[test]
    fn without_a_consequence_throttling_is_noted_up_to_a_tenth_of_the_time() {
        let lag = Lag {
            send_lag_us: 60.0,
            response_us: 100.0,
        };
        // It withholds latencies, so a load with it may be valid.
        let withheld = Finding::MostlySendLag { lag, spins: false };
        for others in [vec![], vec![withheld]] {
            let little = found(0.1, &others);
            assert!(
                is_throttled(&little[0], Effect::Noted) && little[1..] == others,
                "{little:?}"
            );
            let much = found(0.101, &others);
            assert!(
                is_throttled(&much[0], Effect::Invalidates) && much.len() == 1,
                "{much:?}"
            );
        }
    }
}
