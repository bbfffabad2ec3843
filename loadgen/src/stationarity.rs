//! Tests whether a series of values rises or falls, by more than chance and by more than a little.

/// Fewer values show no trend: the statistic of Mann and Kendall is not normal yet.
const FEWEST: usize = 10;

/// Chance exceeds this in one of a thousand series.
const LARGEST_DEVIATE: f64 = 3.29;

/// A significant change that is smaller than this share changes no conclusion.
const LEAST_CHANGE: f64 = 0.25;

/// The medians of the two halves, which differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Of the first half.
    pub before: f64,
    /// Of the second.
    pub after: f64,
}

/// How the second half of the values differs from the first; `None` if it does not, or if chance
/// explains it.
pub fn changed(values: &[f64]) -> Option<Change> {
    if values.len() < FEWEST {
        return None;
    }
    let (first, second) = values.split_at(values.len() / 2);
    let (before, after) = (median(first), median(second));
    let is_clear = ramp(values).max(step(first, second)) > LARGEST_DEVIATE;
    (is_clear && (after - before).abs() > LEAST_CHANGE * before).then_some(Change { before, after })
}

/// How clearly values rise or fall throughout (Mann, 1945, and Kendall), as a normal deviate. It
/// is robust against a few intervals in which the host stalled.
fn ramp(values: &[f64]) -> f64 {
    let later = |number: usize| &values[number + 1..];
    let pairs = { values.iter().enumerate() }
        .flat_map(|(number, value)| later(number).iter().map(|other| other.total_cmp(value)));
    let score: i32 = pairs.map(|order| order as i32).sum();
    // Ties carry no information, and reduce the variance.
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let spread = |count: usize| (count * (count - 1) * (2 * count + 5)) as f64 / 18.0;
    let ties: f64 = sorted.chunk_by(f64::eq).map(|equal| spread(equal.len())).sum();
    deviate(score, (spread(values.len()) - ties).sqrt())
}

/// How clearly the values of one half are above those of the other (Mann and Whitney, 1947),
/// as a normal deviate: a sudden change in the middle is no ramp.
fn step(first: &[f64], second: &[f64]) -> f64 {
    let pairs = { first.iter() }.flat_map(|before| second.iter().map(|after| after.total_cmp(before)));
    let score: i32 = pairs.map(|order| order as i32).sum();
    let (firsts, seconds) = (first.len() as f64, second.len() as f64);
    deviate(score, (firsts * seconds * (firsts + seconds + 1.0) / 3.0).sqrt())
}

/// The score less one, the correction for continuity, in standard deviations.
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
    fn a_change_takes_more_than_a_few_values_and_more_than_chance() {
        let halves = |first: f64, second: f64, each: usize| [vec![first; each], vec![second; each]].concat();
        assert_eq!(changed(&halves(1.0, 2.0, 4)), None, "too few");
        for (before, after) in [(1.0, 2.0), (2.0, 1.0)] {
            let change = Some(Change { before, after });
            assert_eq!(changed(&halves(before, after, 10)), change);
        }
        assert_eq!(changed(&[1.0; 20]), None);
        // As many times up as down.
        let alternating: Vec<_> = (0..20).map(|k| f64::from(1 + k % 2)).collect();
        assert_eq!(changed(&alternating), None);
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
    fn a_step_in_the_middle_is_a_change_and_one_at_the_end_is_an_outlier() {
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
    fn random_values_rarely_show_a_change() {
        let mut random = fastrand::Rng::with_seed(1);
        // Far apart: the size of the change filters none out.
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
