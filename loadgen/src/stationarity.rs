//! Whether values in a row rise or fall, by more than chance and by more than a little.

/// Values that a trend can be told by: with fewer the normal deviate of Mann and Kendall
/// is not one yet.
const FEWEST: usize = 10;

/// Beyond this it comes out by chance in one of a thousand rows.
const LARGEST_DEVIATE: f64 = 3.29;

/// A significant trend that is smaller than this does not change what is concluded.
const TREND: f64 = 0.25;

/// What changed: the medians of the two halves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Of the first half.
    pub before: f64,
    /// Of the second.
    pub after: f64,
}

/// How the second half of the values differs from the first, if that is so much and so clear
/// that it cannot be put down to chance.
pub fn changed(values: &[f64]) -> Option<Change> {
    if values.len() < FEWEST {
        return None;
    }
    let (first, second) = values.split_at(values.len() / 2);
    let (before, after) = (median(first), median(second));
    let is_clear = ramp(values).max(step(first, second)) > LARGEST_DEVIATE;
    (is_clear && (after - before).abs() > TREND * before).then_some(Change { before, after })
}

/// How clearly values rise or fall all the time (Mann, 1945, and Kendall), as a normal
/// deviate. Intervals in which the host stood still hide little from it.
fn ramp(values: &[f64]) -> f64 {
    let later = |number: usize| &values[number + 1..];
    let pairs = { values.iter().enumerate() }
        .flat_map(|(number, value)| later(number).iter().map(|other| other.total_cmp(value)));
    let score: i32 = pairs.map(|order| order as i32).sum();
    // Those that are equal tell nothing, and vary less.
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let spread = |count: usize| (count * (count - 1) * (2 * count + 5)) as f64 / 18.0;
    let ties: f64 = sorted.chunk_by(f64::eq).map(|equal| spread(equal.len())).sum();
    deviate(score, (spread(values.len()) - ties).sqrt())
}

/// How clearly the values of one half are above those of the other (Mann and Whitney, 1947),
/// as a normal deviate: what changes at once, in the middle, is no ramp.
fn step(first: &[f64], second: &[f64]) -> f64 {
    let pairs = { first.iter() }.flat_map(|before| second.iter().map(|after| after.total_cmp(before)));
    let score: i32 = pairs.map(|order| order as i32).sum();
    let (firsts, seconds) = (first.len() as f64, second.len() as f64);
    deviate(score, (firsts * seconds * (firsts + seconds + 1.0) / 3.0).sqrt())
}

/// The score is less by one: the correction for continuity.
fn deviate(score: i32, deviation: f64) -> f64 {
    match score {
        0 => 0.0,
        _ => f64::from(score.abs() - 1) / deviation,
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_takes_more_than_a_few_intervals_and_more_than_chance() {
        let halves = |first: f64, second: f64, each: usize| [vec![first; each], vec![second; each]].concat();
        assert_eq!(changed(&halves(1.0, 2.0, 4)), None, "too few");
        for (before, after) in [(1.0, 2.0), (2.0, 1.0)] {
            let change = Some(Change { before, after });
            assert_eq!(changed(&halves(before, after, 10)), change);
        }
        assert_eq!(changed(&[1.0; 20]), None);
        // As many times up as down.
        let restless: Vec<_> = (0..20).map(|k| f64::from(1 + k % 2)).collect();
        assert_eq!(changed(&restless), None);
        // A stall in the second half is no trend.
        let mut stalled = vec![1.0; 20];
        stalled[12..15].fill(1000.0);
        assert_eq!(changed(&stalled), None);
        // Two stalls in the first half do not hide one.
        let mut falling: Vec<_> = (1..=20).map(|k| 100.0 / f64::from(k)).collect();
        falling[2..4].fill(0.0);
        assert!(changed(&falling).is_some_and(|change| change.after < change.before / 2.0));
    }

    #[test]
    fn a_step_in_the_middle_is_a_trend_and_one_at_the_end_is_an_outlier() {
        let noise = |number: usize| (number * 7 % 10) as f64;
        let with_step = |at: usize| {
            let value = |number| if number < at { 100.0 } else { 60.0 } + noise(number);
            (0..20).map(value).collect::<Vec<_>>()
        };
        assert!(changed(&with_step(10)).is_some_and(|change| change.after < 0.7 * change.before));
        assert_eq!(changed(&with_step(18)), None);
        assert_eq!(changed(&with_step(20)), None);
    }

    #[test]
    fn values_without_a_trend_seldom_have_one() {
        let mut random = fastrand::Rng::with_seed(1);
        // Far apart, so that the size of the change lets all pass.
        let mut value = || random.f64().powi(20);
        let false_alarms = (0..10_000)
            .filter(|_| changed(&[(); 20].map(|()| value())).is_some())
            .count();
        assert!(
            false_alarms < 30,
            "{false_alarms} of 10,000, where 10 are expected"
        );
    }
}
