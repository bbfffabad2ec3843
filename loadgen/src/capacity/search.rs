//! Decides which rate to try next from the results of earlier trials. It knows nothing of servers.

use std::time::Duration;

use record::Limit;

/// At the end, the highest rate that held and the lowest that did not are at most this ratio
/// apart: trials on a quiet host differ by as much anyway.
const WIDTH: f64 = 1.05;

/// The length of the first trials as a share of the longest. They only have to find the order
/// of magnitude.
const FIRST_SHARE: f64 = 0.25;

/// How often a rate is tried before it counts as one that does not hold, until a rate is
/// verified: a single hiccup of the host would rule out all rates above.
const ATTEMPTS: u32 = 2;

/// The result of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialResult {
    /// Every objective was met.
    Held,
    /// The server, or the path to it, missed an objective; why.
    Missed(String),
    /// The generator could not make the load; why.
    GeneratorLimited(String),
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
    /// Nothing: [`Search::bracket`] is final.
    Done,
}

/// The rates of the search, per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The lowest rate.
    pub lowest: f64,
    /// The first rate.
    pub first: f64,
    /// The highest rate.
    pub highest: f64,
}

/// The capacity as far as the trials show it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bracket {
    /// The highest rate that held, per second; `None` if none did.
    pub low: Option<f64>,
    /// The lowest rate that did not hold, per second; `None` if all did.
    pub high: Option<f64>,
    /// Why the low rate is not higher.
    pub limit: Limit,
    /// In how many of the runs that verified it the low rate held.
    pub verified: u32,
    /// How many runs verified it.
    pub of: u32,
}

/// A search for the highest rate that holds.
///
/// It doubles the rate until one does not hold, or halves it until one does, and then bisects.
/// At the end it verifies: the rate has to hold in most of several runs. If it does not, the
/// search steps down, further each time, and bisects again, so it ends whatever the server does.
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
    /// The rates at which a trial held.
    held: Vec<f64>,
}

/// The results of the trials at one rate.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    held: u32,
    missed: u32,
    generator_limited: u32,
}

impl Search {
    /// A search in `range` that verifies a rate with that many runs, at least one.
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
            held: Vec::new(),
        }
    }

    /// The next step.
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

    /// Records the result of the trial that [`Search::next`] asked for.
    pub fn record(&mut self, result: &TrialResult) {
        let Some(rate) = self.rate else { return };
        match result {
            TrialResult::Held => {
                self.seen.held += 1;
                self.held.push(rate);
            }
            TrialResult::Missed(_) => self.seen.missed += 1,
            TrialResult::GeneratorLimited(_) => self.seen.generator_limited += 1,
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

    /// The bracket so far; final once the search is done. Until a rate is verified, the low one is the
    /// highest at which a trial held.
    pub fn bracket(&self) -> Bracket {
        let high = self.high.map(|(rate, _)| rate);
        let is_below_high = |rate: &f64| high.is_none_or(|high| *rate < high);
        let held = self.held.iter().copied().filter(is_below_high).reduce(f64::max);
        let seen_at = |rate| match self.rate == Some(rate) {
            true => self.seen,
            false => Seen::default(),
        };
        let low = self.low.or(held.map(|rate| (rate, seen_at(rate))));
        let seen = low
            .filter(|_| self.verifying)
            .map(|(_, seen)| seen)
            .unwrap_or_default();
        Bracket {
            low: low.map(|(rate, _)| rate),
            high,
            limit: self.high.map_or(Limit::NotReached, |(_, limit)| limit),
            verified: seen.held,
            of: seen.held + seen.failed(),
        }
    }

    /// How long the search takes at most if repeated trials have the same results; `cost` is the
    /// time of a trial.
    pub fn longest(&self, cost: impl Fn(f64, f64) -> Duration) -> Duration {
        // At least one threshold in each bracket that the search can end with: none is as narrow
        // as a step here, unless the range is.
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
                    true => TrialResult::Held,
                    false => TrialResult::Missed(String::new()),
                });
            }
            sum
        };
        thresholds.map(time).max().unwrap_or_default()
    }

    /// Whether the current rate holds, once that is clear.
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

    /// The next rate; `None` if the bracket is narrow enough or cannot be closed.
    fn choose(&mut self) -> Option<f64> {
        let Range { lowest, highest, .. } = self.range;
        match (self.low, self.high) {
            (Some((low, _)), Some((high, _))) => {
                // A step down has exactly this width; rounding must not make it wider.
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
        self.missed + self.generator_limited
    }

    fn limit(self) -> Limit {
        match self.generator_limited > self.missed {
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

    /// Runs a search against a made-up server; returns its bracket and the rates and shares
    /// of its trials.
    fn run(range: Range, mut server: impl FnMut(f64) -> TrialResult) -> (Bracket, Vec<(f64, f64)>) {
        let (mut search, mut trials) = (Search::new(range, RUNS), Vec::new());
        while let Step::Try { rate, share } = search.next() {
            trials.push((rate, share));
            assert!(trials.len() <= most_trials(range), "it does not end: {trials:?}");
            search.record(&server(rate));
        }
        (search.bracket(), trials)
    }

    /// Doubling or halving over the whole range, bisecting an octave, and the same again
    /// when verifying, where the steps down double too and each may need all runs.
    fn most_trials(range: Range) -> usize {
        let octaves = (range.highest / range.lowest).log2().ceil() + 2.0;
        let widths = (octaves / WIDTH.log2()).log2().ceil() + 2.0;
        (f64::from(ATTEMPTS) * (octaves + 5.0) + f64::from(RUNS) * 2.0 * widths) as usize
    }

    fn missed() -> TrialResult {
        TrialResult::Missed("too slow".into())
    }

    /// A server that holds up to a rate, always.
    fn up_to(threshold: f64) -> impl FnMut(f64) -> TrialResult {
        move |rate| match rate <= threshold {
            true => TrialResult::Held,
            false => missed(),
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

    /// The rates at which a trial held, and the bracket after each trial.
    fn brackets(range: Range, mut server: impl FnMut(f64) -> TrialResult) -> Vec<(Vec<f64>, Bracket)> {
        let (mut search, mut held, mut all) = (Search::new(range, RUNS), Vec::new(), Vec::new());
        while let Step::Try { rate, .. } = search.next() {
            let result = server(rate);
            if result == TrialResult::Held {
                held.push(rate);
            }
            search.record(&result);
            all.push((held.clone(), search.bracket()));
        }
        all
    }

    #[test]
    fn a_search_that_ends_while_it_steps_down_claims_what_held() {
        let range = Range {
            lowest: 1.0,
            first: 1000.0,
            highest: 4000.0,
        };
        // All rates hold until the highest is to be verified; then none does.
        let mut trials = 0;
        let tired = |_| {
            trials += 1;
            if trials <= 3 { TrialResult::Held } else { missed() }
        };
        let all = brackets(range, tired);
        let (_, at_first) = &all[5];
        assert_eq!((at_first.low, at_first.high), (Some(2000.0), Some(4000.0)));
        assert_eq!((at_first.verified, at_first.of), (0, 0));
    }

    proptest! {
        #[test]
        fn only_a_rate_at_which_a_trial_held_is_claimed(range in range(), seed in any::<u64>()) {
            let mut random = fastrand::Rng::with_seed(seed);
            let moody = |_| if random.bool() { TrialResult::Held } else { missed() };
            for (held, bracket) in brackets(range, moody) {
                prop_assert!(bracket.low.is_none_or(|low| held.contains(&low)), "{bracket:?} of {held:?}");
            }
        }

        #[test]
        fn a_threshold_is_found(range in range(), place in 0.0..1.0f64) {
            let threshold = range.lowest * (range.highest / range.lowest).powf(place);
            let (bracket, _) = run(range, up_to(threshold));
            let low = bracket.low.unwrap();
            prop_assert!(low <= threshold);
            prop_assert_eq!((bracket.verified, bracket.of), (RUNS, RUNS));
            match bracket.high {
                Some(high) => prop_assert!(threshold < high && is_narrow(low, high), "{:?}", bracket),
                None => prop_assert_eq!(low, range.highest),
            }
        }

        #[test]
        fn below_the_range_nothing_holds(range in range(), part in 0.0..0.999f64) {
            let (bracket, _) = run(range, up_to(range.lowest * part));
            prop_assert_eq!((bracket.low, bracket.high), (None, Some(range.lowest)));
            prop_assert_eq!(bracket.limit, Limit::Server);
        }

        #[test]
        fn above_the_range_its_end_holds(range in range(), times in 1.0..10.0f64) {
            let (bracket, _) = run(range, up_to(range.highest * times));
            prop_assert_eq!((bracket.low, bracket.high), (Some(range.highest), None));
            prop_assert_eq!(bracket.limit, Limit::NotReached);
        }

        #[test]
        fn the_search_ends_and_its_rate_was_verified_whatever_the_trials_are(
            range in range(),
            results in prop::collection::vec(0..3u8, 1..40),
        ) {
            let mut results = results.into_iter().cycle();
            let (bracket, _) = run(range, |_| match results.next() {
                Some(0) => TrialResult::Held,
                Some(1) => missed(),
                _ => TrialResult::GeneratorLimited("saturated".into()),
            });
            if let Some(low) = bracket.low {
                prop_assert!(bracket.of == RUNS && bracket.verified * 2 > RUNS, "{:?}", bracket);
                prop_assert!(bracket.high.is_none_or(|high| is_narrow(low, high)), "{:?}", bracket);
            }
            prop_assert_eq!(bracket.high.is_none(), bracket.limit == Limit::NotReached);
        }

        #[test]
        fn a_threshold_with_noise_is_found_near_it(place in 0.2..0.8f64, seed in any::<u64>()) {
            let range = Range { lowest: 1.0, first: 1e3, highest: 1e7 };
            let threshold = range.lowest * (range.highest / range.lowest).powf(place);
            let mut random = fastrand::Rng::with_seed(seed);
            let (bracket, _) = run(range, |rate| {
                up_to(threshold * (1.0 + 0.1 * (random.f64() - 0.5)))(rate)
            });
            let low = bracket.low.unwrap();
            prop_assert!((0.85..1.06).contains(&(low / threshold)), "{:?} of {}", bracket, threshold);
        }

        #[test]
        fn a_generator_that_gives_out_first_is_the_limit(place in 0.1..0.9f64, server in 1.0..3.0f64) {
            let range = Range { lowest: 1.0, first: 1e3, highest: 1e7 };
            let generator = range.highest.powf(place);
            let (bracket, _) = run(range, |rate| match rate {
                rate if rate <= generator => TrialResult::Held,
                rate if rate <= generator * server => TrialResult::GeneratorLimited("saturated".into()),
                _ => missed(),
            });
            let (low, high) = (bracket.low.unwrap(), bracket.high.unwrap());
            prop_assert!(low <= generator && generator < high);
            prop_assert!(bracket.limit == Limit::Generator || high > generator * server);
        }

        #[test]
        fn no_search_of_a_threshold_takes_longer_than_announced(range in range(), place in -0.2..1.2f64) {
            let seconds = |share: f64| Duration::from_secs_f64(share * 5.0 + 1.0);
            let threshold = range.lowest * (range.highest / range.lowest).powf(place);
            let announced = Search::new(range, RUNS).longest(|_, share| seconds(share));
            let (_, trials) = run(range, up_to(threshold));
            let taken: Duration = trials.iter().map(|(_, share)| seconds(*share)).sum();
            // The last bracket below the highest rate may be narrower than all others.
            prop_assert!(taken <= announced + seconds(1.0) * ATTEMPTS, "{:?} > {:?}", taken, announced);
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
        let (bracket, _) = run(range, |rate| {
            tried += 1;
            match tried {
                3 => missed(),
                _ => up_to(100e3)(rate),
            }
        });
        assert!(
            bracket.low.unwrap() <= 100e3 && 100e3 < bracket.high.unwrap(),
            "{bracket:?}"
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
        let bracket = search.bracket();
        let (low, high) = (bracket.low.unwrap(), bracket.high.unwrap());
        assert!(low <= 30e3 && 30e3 < high && is_narrow(low, high), "{bracket:?}");
    }

    #[test]
    fn the_bracket_is_known_at_any_time() {
        let range = Range {
            lowest: 1.0,
            first: 1e3,
            highest: 1e7,
        };
        let mut search = Search::new(range, RUNS);
        assert_eq!(search.bracket().low, None);
        search.record(&TrialResult::Held);
        assert_eq!((search.bracket().low, search.bracket().of), (Some(1e3), 0));
        while !search.verifying {
            let Step::Try { rate, .. } = search.next() else {
                break;
            };
            search.record(&up_to(50e3)(rate));
        }
        search.record(&TrialResult::Held);
        let bracket = search.bracket();
        assert!(bracket.low.unwrap() <= 50e3 && 50e3 < bracket.high.unwrap());
        assert_eq!((bracket.verified, bracket.of), (1, 1));
    }
}
