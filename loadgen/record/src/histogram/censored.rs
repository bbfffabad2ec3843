//! Latencies of which some had not ended when they were last seen: right-censored observations.
//!
//! A message that was never answered is a latency too, of at least the time that it had waited. If
//! it were left out, a server that stops answering would look fast.

use std::borrow::Cow;

use super::quantiles::Statistic;
use super::{Histogram, has_enough_beyond};

/// A number of a distribution, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// It is this.
    Exactly(f64),
    /// It is this or more: latencies that had not ended could raise it.
    AtLeast(f64),
}

impl Known {
    /// The number, or its lower bound.
    pub fn value(self) -> f64 {
        match self {
            Known::Exactly(value) | Known::AtLeast(value) => value,
        }
    }

    /// Whether it is not just a lower bound.
    pub fn is_exact(self) -> bool {
        matches!(self, Known::Exactly(_))
    }

    /// Applies a function that does not fall where the number rises.
    pub fn map(self, rising: impl FnOnce(f64) -> f64) -> Self {
        match self {
            Known::Exactly(value) => Known::Exactly(rising(value)),
            Known::AtLeast(value) => Known::AtLeast(rising(value)),
        }
    }
}

/// Latencies in nanoseconds, some of which had not ended.
#[derive(Debug)]
pub struct Censored<'a> {
    ended: &'a Histogram,
    /// With the unfinished ones, each with the time that it had lasted.
    all: Cow<'a, Histogram>,
}

impl<'a> Censored<'a> {
    /// Latencies that have ended, and those that had not, with the time that they had lasted.
    pub fn new(ended: &'a Histogram, unfinished: Option<&Histogram>) -> Self {
        let mut all = Cow::Borrowed(ended);
        if let Some(unfinished) = unfinished.filter(|unfinished| !unfinished.is_empty()) {
            *all.to_mut() += unfinished;
        }
        Censored { ended, all }
    }

    /// The quantile `q` (0 to 1) of all latencies, in nanoseconds; `None` if fewer than ten lie
    /// beyond it.
    ///
    /// Of M latencies it is the r-th smallest, where r is q M rounded up. Let v be the r-th
    /// smallest if an unfinished one counts with the time that it had lasted.
    ///
    /// The quantile is *v or more*: the unfinished latencies become longer, and the r-th smallest
    /// of M numbers does not fall if one of them rises.
    ///
    /// It is *exactly v* if and only if r of the ended latencies are at most v. If so, r of all
    /// are, however long the others become, so the r-th smallest does not rise above v. If not,
    /// and the unfinished ones become longer than v, fewer than r of all are at most v, so the
    /// r-th smallest is above v.
    ///
    /// To the precision of the histogram, where v stands for its bucket.
    pub fn quantile(&self, q: f64) -> Option<Known> {
        let all = self.all.len();
        if !has_enough_beyond(all, q) {
            return None;
        }
        let value = self.all.value_at_quantile(q);
        let rank = ((q * all as f64).ceil() as u64).max(1);
        let exact = self.ended.count_between(0, value) >= rank;
        Some(known(exact, value as f64))
    }

    /// The largest and the mean could rise with any unfinished latency; `None` without latencies.
    pub fn statistic(&self, statistic: Statistic) -> Option<Known> {
        if let Some(share) = statistic.share() {
            return self.quantile(share);
        }
        let value = match statistic {
            Statistic::Max => self.all.max() as f64,
            _ => self.all.mean(),
        };
        let exact = self.all.len() == self.ended.len();
        (!self.all.is_empty()).then(|| known(exact, value))
    }
}

fn known(exact: bool, value: f64) -> Known {
    match exact {
        true => Known::Exactly(value),
        false => Known::AtLeast(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{HIGHEST_NS, of};
    use proptest::prelude::*;

    const QUANTILES: [f64; 7] = [0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999];

    /// Many latencies of 1 ms beside those that are given, so that quantiles have enough samples.
    fn padded(samples: &[u64]) -> Vec<u64> {
        [samples, &vec![1_000_000; 50 * samples.len()]].concat()
    }

    #[test]
    fn an_unfinished_latency_leaves_the_quantiles_below_it_exact() {
        let (ended, unfinished) = (of(&[1000; 995]), of(&[5000; 5]));
        let latencies = Censored::new(&ended, Some(&unfinished));
        assert_eq!(latencies.quantile(0.5), Some(Known::Exactly(1000.0)));
        assert_eq!(latencies.quantile(0.99), Some(Known::Exactly(1000.0)));
        assert_eq!(latencies.statistic(Statistic::Max), Some(Known::AtLeast(5003.0)));
        let mean = latencies.statistic(Statistic::Mean).unwrap();
        assert!(
            !mean.is_exact() && (mean.value() - 1020.0).abs() < 0.1,
            "{mean:?}"
        );
    }

    #[test]
    fn a_share_that_has_not_ended_is_at_least_as_long_as_it_has_lasted() {
        let (ended, unfinished) = (of(&[1000; 900]), of(&[5000; 100]));
        let latencies = Censored::new(&ended, Some(&unfinished));
        assert_eq!(latencies.quantile(0.9), Some(Known::Exactly(1000.0)));
        assert_eq!(latencies.quantile(0.91), Some(Known::AtLeast(5003.0)));
    }

    #[test]
    fn a_young_latency_may_become_the_longest() {
        // Each of the unfinished ones has lasted less than any that has ended.
        let (ended, unfinished) = (of(&[1000; 60]), of(&[1; 40]));
        let latencies = Censored::new(&ended, Some(&unfinished));
        assert_eq!(latencies.quantile(0.5), Some(Known::Exactly(1000.0)));
        assert_eq!(latencies.quantile(0.7), Some(Known::AtLeast(1000.0)));
        assert_eq!(latencies.quantile(0.1), Some(Known::AtLeast(1.0)));
    }

    #[test]
    fn without_an_end_there_is_only_a_bound() {
        let (ended, unfinished) = (of(&[]), of(&[7000; 100]));
        let latencies = Censored::new(&ended, Some(&unfinished));
        assert_eq!(latencies.quantile(0.5), Some(Known::AtLeast(7003.0)));
        assert_eq!(latencies.statistic(Statistic::Max), Some(Known::AtLeast(7003.0)));
        assert_eq!(Censored::new(&ended, None).statistic(Statistic::Max), None);
    }

    fn times() -> impl Strategy<Value = Vec<u64>> {
        // Few different ones, so that many are equal.
        prop::collection::vec(prop_oneof![1..9u64, 1..HIGHEST_NS], 0..40)
    }

    proptest! {
        #[test]
        fn no_length_of_the_unfinished_ones_contradicts_what_is_known(
            ended in times(),
            unfinished in times(),
            more in prop::collection::vec(prop_oneof![Just(0), 0..9u64, 0..HIGHEST_NS], 40),
        ) {
            let (ended, unfinished) = (padded(&ended), unfinished);
            let (of_ended, of_unfinished) = (of(&ended), of(&unfinished));
            let latencies = Censored::new(&of_ended, Some(&of_unfinished));
            let became = unfinished.iter().zip(&more).map(|(time, more)| time.saturating_add(*more));
            let all = of(&ended.iter().copied().chain(became).collect::<Vec<_>>());
            for q in QUANTILES {
                let truth = all.value_at_quantile(q) as f64;
                match latencies.quantile(q) {
                    None => prop_assert!(!has_enough_beyond(all.len(), q)),
                    Some(Known::Exactly(value)) => prop_assert_eq!(value, truth, "{}", q),
                    Some(Known::AtLeast(value)) => prop_assert!(value <= truth, "{}: {} {}", q, value, truth),
                }
            }
        }

        #[test]
        fn what_is_not_called_exact_can_be_its_bound_and_can_be_more(
            ended in times(),
            // Below the last bucket: a latency there cannot be seen to grow.
            unfinished in prop::collection::vec(prop_oneof![1..9u64, 1..HIGHEST_NS / 2], 1..40),
        ) {
            let (of_ended, of_unfinished) = (of(&ended), of(&unfinished));
            let latencies = Censored::new(&of_ended, Some(&of_unfinished));
            let with = |times: Vec<u64>| of(&[ended.clone(), times].concat());
            let (least, most) = (with(unfinished.clone()), with(vec![HIGHEST_NS; unfinished.len()]));
            for q in QUANTILES {
                let (least, most) = (least.value_at_quantile(q), most.value_at_quantile(q));
                match latencies.quantile(q) {
                    None => {}
                    Some(Known::Exactly(value)) => prop_assert!(value == least as f64 && least == most),
                    Some(Known::AtLeast(value)) => prop_assert!(value == least as f64 && least < most),
                }
            }
        }
    }
}
