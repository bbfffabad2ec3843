//! Which rate to try next, from what became of the ones before. It knows nothing of servers.

use std::time::Duration;

use record::Limit;

/// The highest rate that held and the lowest that did not are at most this ratio apart at
/// the end: what trials on a quiet host differ by anyway.
const WIDTH: f64 = 1.05;

/// The share of the longest trial that the first ones last. They only have to find the
/// order of magnitude.
const FIRST_SHARE: f64 = 0.25;

/// How often a rate is tried before it is taken for one that does not hold, until there is
/// something to verify: a single hiccup of the host would cut off all the rates above.
const ATTEMPTS: u32 = 2;

/// What became of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every objective was met.
    Held,
    /// The server, or the path to it, did not meet one; why.
    Broke(String),
    /// The generator failed to put this load on the server; why.
    Ours(String),
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Run a trial.
    Try {
        /// Messages per second.
        rate: f64,
        /// How long, as a share of the longest trial.
        share: f64,
    },
    /// Nothing: [`Search::finding`] is final.
    Done,
}

/// Between which rates is searched, per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Below it nothing is tried.
    pub lowest: f64,
    /// The first that is tried.
    pub first: f64,
    /// Above it nothing is tried.
    pub highest: f64,
}

/// What the trials so far say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// The highest rate that held, per second; `None` where none did.
    pub low: Option<f64>,
    /// The lowest rate that did not, per second; `None` where all did.
    pub high: Option<f64>,
    /// What kept the low one from being higher.
    pub limit: Limit,
    /// In how many of the runs that verified it the low rate held.
    pub verified: u32,
    /// How many runs verified it.
    pub of: u32,
}

/// A search for the highest rate that holds.
///
/// It doubles the rate until one does not hold, or halves it until one does, and then
/// bisects. At the end it verifies: the rate that was found has to hold in most of several
/// runs. If it does not, the search steps down, further each time, and bisects again in
/// the same manner, so that it ends whatever the server does.
#[derive(Debug, Clone)]
pub struct Search {
    range: Range,
    runs: u32,
    verifying: bool,
    low: Option<(f64, Seen)>,
    high: Option<(f64, Limit)>,
    rate: Option<f64>,
    seen: Seen,
    steps_down: u32,
}

/// What became of the trials at one rate.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    held: u32,
    broke: u32,
    ours: u32,
}

impl Search {
    /// A search in `range` that verifies with so many runs, at least one.
    pub fn new(range: Range, runs: u32) -> Self {
        Search {
            range,
            runs: runs.max(1),
            verifying: false,
            low: None,
            high: None,
            rate: Some(range.first),
            seen: Seen::default(),
            steps_down: 0,
        }
    }

    /// What to do next; asking changes nothing.
    pub fn next(&self) -> Step {
        let Some(rate) = self.rate else {
            return Step::Done;
        };
        let share = match (self.verifying, self.low, self.high) {
            (true, ..) => 1.0,
            // Twice as long each time that the bracket is halved.
            (_, Some((low, _)), Some((high, _))) => {
                (FIRST_SHARE / (high / low).log2()).clamp(FIRST_SHARE, 1.0)
            }
            _ => FIRST_SHARE,
        };
        Step::Try { rate, share }
    }

    /// Takes note of what became of the trial that [`Search::next`] asked for.
    pub fn record(&mut self, verdict: &Verdict) {
        let Some(rate) = self.rate else { return };
        match verdict {
            Verdict::Held => self.seen.held += 1,
            Verdict::Broke(_) => self.seen.broke += 1,
            Verdict::Ours(_) => self.seen.ours += 1,
        }
        let Some(holds) = self.decided() else { return };
        let seen = std::mem::take(&mut self.seen);
        match holds {
            true => self.low = Some((rate, seen)),
            false => self.high = Some((rate, seen.limit())),
        }
        self.rate = self.choose();
        if let (None, false, Some((low, _))) = (self.rate, self.verifying, self.low) {
            self.verifying = true;
            self.low = None;
            self.rate = Some(low);
        }
    }

    /// What is known so far; final when there is nothing more to do.
    pub fn finding(&self) -> Finding {
        // While a rate is verified for the first time, it stands for what was found.
        let unverified = self.rate.filter(|_| self.verifying).map(|rate| (rate, self.seen));
        let low = self.low.or(unverified);
        let seen = low
            .filter(|_| self.verifying)
            .map(|(_, seen)| seen)
            .unwrap_or_default();
        Finding {
            low: low.map(|(rate, _)| rate),
            high: self.high.map(|(rate, _)| rate),
            limit: self.high.map_or(Limit::NotReached, |(_, limit)| limit),
            verified: seen.held,
            of: seen.held + seen.failed(),
        }
    }

    /// How long the search takes at most, as long as trials that are repeated give the same
    /// again; `cost` is the time of a trial.
    pub fn longest(&self, cost: impl Fn(f64, f64) -> Duration) -> Duration {
        // One threshold in each bracket that the search can end with: none is as narrow as a
        // step here, as long as the range is not.
        let Range { lowest, highest, .. } = self.range;
        let step = WIDTH.powf(0.4);
        let thresholds = std::iter::successors(Some(lowest / step), |threshold| {
            (*threshold < highest).then_some(threshold * step)
        });
        let time = |threshold| {
            let (mut search, mut sum) = (self.clone(), Duration::ZERO);
            while let Step::Try { rate, share } = search.next() {
                sum += cost(rate, share);
                search.record(&match rate <= threshold {
                    true => Verdict::Held,
                    false => Verdict::Broke(String::new()),
                });
            }
            sum
        };
        thresholds.map(time).max().unwrap_or_default()
    }

    /// Whether the rate that is tried holds, once that is clear.
    fn decided(&self) -> Option<bool> {
        let Seen { held, .. } = self.seen;
        let failed = self.seen.failed();
        match self.verifying {
            true if failed * 2 > self.runs => Some(false),
            true => (held + failed == self.runs).then_some(true),
            false if failed == ATTEMPTS => Some(false),
            false => (held > 0).then_some(true),
        }
    }

    /// The next rate, or nothing if the bracket is narrow enough or cannot be closed.
    fn choose(&mut self) -> Option<f64> {
        let Range { lowest, highest, .. } = self.range;
        match (self.low, self.high) {
            (Some((low, _)), Some((high, _))) => {
                // What was stepped down by is the width, and rounding may not make it more.
                let narrow = high / low <= WIDTH * (1.0 + f64::EPSILON * 4.0);
                (!narrow).then(|| (low * high).sqrt())
            }
            (Some((low, _)), None) => (low < highest).then(|| (low * 2.0).min(highest)),
            (None, Some((high, _))) if high > lowest => {
                let step = match self.verifying {
                    true => WIDTH.powf(f64::from(self.steps_down).exp2()),
                    false => 2.0,
                };
                self.steps_down += u32::from(self.verifying);
                Some((high / step).max(lowest))
            }
            (None, _) => None,
        }
    }
}

impl Seen {
    fn failed(self) -> u32 {
        self.broke + self.ours
    }

    fn limit(self) -> Limit {
        match self.ours > self.broke {
            true => Limit::Generator,
            false => Limit::Server,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUNS: u32 = 3;

    /// Runs a search against a made-up server; returns its finding and the rates and shares
    /// of its trials.
    fn run(range: Range, mut server: impl FnMut(f64) -> Verdict) -> (Finding, Vec<(f64, f64)>) {
        let (mut search, mut trials) = (Search::new(range, RUNS), Vec::new());
        while let Step::Try { rate, share } = search.next() {
            trials.push((rate, share));
            assert!(trials.len() <= most_trials(range), "it does not end: {trials:?}");
            search.record(&server(rate));
        }
        (search.finding(), trials)
    }

    /// Doubling or halving over the whole range, bisecting an octave, and the same again
    /// when verifying, where the steps down double too and each may need all runs.
    fn most_trials(range: Range) -> usize {
        let octaves = (range.highest / range.lowest).log2().ceil() + 2.0;
        let widths = (octaves / WIDTH.log2()).log2().ceil() + 2.0;
        (f64::from(ATTEMPTS) * (octaves + 5.0) + f64::from(RUNS) * 2.0 * widths) as usize
    }

    fn broke() -> Verdict {
        Verdict::Broke("too slow".into())
    }

    /// A server that holds up to a rate, always.
    fn up_to(threshold: f64) -> impl FnMut(f64) -> Verdict {
        move |rate| match rate <= threshold {
            true => Verdict::Held,
            false => broke(),
        }
    }

    fn range() -> impl Strategy<Value = Range> {
        (0.0..3.0f64, 0.0..3.0f64, 0.0..4.0f64).prop_map(|(lowest, first, highest)| {
            let lowest = 10f64.powf(lowest);
            let first = lowest * 10f64.powf(first);
            let highest = first * 10f64.powf(highest);
            Range {
                lowest,
                first,
                highest,
            }
        })
    }

    fn is_narrow(low: f64, high: f64) -> bool {
        low < high && high / low <= WIDTH + 1e-9
    }

    proptest! {
        #[test]
        fn a_threshold_is_found(range in range(), place in 0.0..1.0f64) {
            let threshold = range.lowest * (range.highest / range.lowest).powf(place);
            let (finding, _) = run(range, up_to(threshold));
            let low = finding.low.unwrap();
            prop_assert!(low <= threshold);
            prop_assert_eq!((finding.verified, finding.of), (RUNS, RUNS));
            match finding.high {
                Some(high) => prop_assert!(threshold < high && is_narrow(low, high), "{:?}", finding),
                None => prop_assert_eq!(low, range.highest),
            }
        }

        #[test]
        fn below_the_range_nothing_holds(range in range(), part in 0.0..0.999f64) {
            let (finding, _) = run(range, up_to(range.lowest * part));
            prop_assert_eq!((finding.low, finding.high), (None, Some(range.lowest)));
            prop_assert_eq!(finding.limit, Limit::Server);
        }

        #[test]
        fn above_the_range_its_end_holds(range in range(), times in 1.0..10.0f64) {
            let (finding, _) = run(range, up_to(range.highest * times));
            prop_assert_eq!((finding.low, finding.high), (Some(range.highest), None));
            prop_assert_eq!(finding.limit, Limit::NotReached);
        }

        #[test]
        fn whatever_the_trials_say_it_ends_and_what_it_says_was_verified(
            range in range(),
            verdicts in prop::collection::vec(0..3u8, 1..40),
        ) {
            let mut verdicts = verdicts.into_iter().cycle();
            let (finding, _) = run(range, |_| match verdicts.next() {
                Some(0) => Verdict::Held,
                Some(1) => broke(),
                _ => Verdict::Ours("saturated".into()),
            });
            if let Some(low) = finding.low {
                prop_assert!(finding.of == RUNS && finding.verified * 2 > RUNS, "{:?}", finding);
                prop_assert!(finding.high.is_none_or(|high| is_narrow(low, high)), "{:?}", finding);
            }
            prop_assert_eq!(finding.high.is_none(), finding.limit == Limit::NotReached);
        }

        #[test]
        fn a_threshold_with_noise_is_found_near_it(place in 0.2..0.8f64, seed in any::<u64>()) {
            let range = Range { lowest: 1.0, first: 1e3, highest: 1e7 };
            let threshold = range.lowest * (range.highest / range.lowest).powf(place);
            let mut random = fastrand::Rng::with_seed(seed);
            let (finding, _) = run(range, |rate| {
                up_to(threshold * (1.0 + 0.1 * (random.f64() - 0.5)))(rate)
            });
            let low = finding.low.unwrap();
            prop_assert!((0.85..1.06).contains(&(low / threshold)), "{:?} of {}", finding, threshold);
        }

        #[test]
        fn a_generator_that_gives_out_first_is_the_limit(place in 0.1..0.9f64, server in 1.0..3.0f64) {
            let range = Range { lowest: 1.0, first: 1e3, highest: 1e7 };
            let generator = range.highest.powf(place);
            let (finding, _) = run(range, |rate| match rate {
                rate if rate <= generator => Verdict::Held,
                rate if rate <= generator * server => Verdict::Ours("saturated".into()),
                _ => broke(),
            });
            let (low, high) = (finding.low.unwrap(), finding.high.unwrap());
            prop_assert!(low <= generator && generator < high);
            prop_assert!(finding.limit == Limit::Generator || high > generator * server);
        }

        #[test]
        fn no_search_of_a_threshold_takes_longer_than_was_said(range in range(), place in -0.2..1.2f64) {
            let seconds = |share: f64| Duration::from_secs_f64(share * 5.0 + 1.0);
            let threshold = range.lowest * (range.highest / range.lowest).powf(place);
            let said = Search::new(range, RUNS).longest(|_, share| seconds(share));
            let (_, trials) = run(range, up_to(threshold));
            let taken: Duration = trials.iter().map(|(_, share)| seconds(*share)).sum();
            // The last bracket below the highest rate may be narrower than all others.
            prop_assert!(taken <= said + seconds(1.0) * ATTEMPTS, "{:?} > {:?}", taken, said);
        }
    }

    #[test]
    fn trials_get_longer_as_the_bracket_narrows() {
        let range = Range {
            lowest: 1.0,
            first: 1e3,
            highest: 1e7,
        };
        let (_, trials) = run(range, up_to(123_456.0));
        let shares: Vec<f64> = trials.iter().map(|(_, share)| *share).collect();
        assert!(shares.is_sorted(), "{shares:?}");
        assert_eq!(shares[0], FIRST_SHARE);
        assert_eq!(shares[shares.len() - RUNS as usize..], [1.0; RUNS as usize]);
    }

    #[test]
    fn one_accident_decides_nothing() {
        let range = Range {
            lowest: 1.0,
            first: 1e3,
            highest: 1e7,
        };
        let mut tried = 0;
        let (finding, _) = run(range, |rate| {
            tried += 1;
            match tried {
                3 => broke(),
                _ => up_to(100e3)(rate),
            }
        });
        assert!(
            finding.low.unwrap() <= 100e3 && 100e3 < finding.high.unwrap(),
            "{finding:?}"
        );
    }

    #[test]
    fn a_rate_that_held_only_briefly_is_stepped_down_from() {
        let range = Range {
            lowest: 1.0,
            first: 1e3,
            highest: 1e6,
        };
        let mut search = Search::new(range, RUNS);
        while let Step::Try { rate, share } = search.next() {
            let threshold = if share < 1.0 { 100e3 } else { 30e3 };
            search.record(&up_to(threshold)(rate));
        }
        let finding = search.finding();
        let (low, high) = (finding.low.unwrap(), finding.high.unwrap());
        assert!(low <= 30e3 && 30e3 < high && is_narrow(low, high), "{finding:?}");
    }

    #[test]
    fn what_was_found_so_far_can_be_asked_at_any_time() {
        let range = Range {
            lowest: 1.0,
            first: 1e3,
            highest: 1e7,
        };
        let mut search = Search::new(range, RUNS);
        assert_eq!(search.finding().low, None);
        search.record(&Verdict::Held);
        assert_eq!((search.finding().low, search.finding().of), (Some(1e3), 0));
        while !search.verifying {
            let Step::Try { rate, .. } = search.next() else {
                break;
            };
            search.record(&up_to(50e3)(rate));
        }
        search.record(&Verdict::Held);
        let finding = search.finding();
        assert!(finding.low.unwrap() <= 50e3 && 50e3 < finding.high.unwrap());
        assert_eq!((finding.verified, finding.of), (1, 1));
    }
}
