//! Labels at the ends of lines, moved apart so that they do not overlap.

/// Positions near the wanted ones, in the same order, at least `gap` apart, and between `low` and
/// `high` if all fit.
///
/// Isotonic regression: labels that would collide form a block about their mean, so that each
/// label moves as little as possible.
pub fn spread(wanted: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (rank, &index) in order.iter().enumerate() {
        let mut block = (wanted[index] - rank as f64 * gap, 1);
        while let Some(before) = blocks.pop_if(|before| before.0 > block.0) {
            let count = before.1 + block.1;
            block = (
                (before.0 * before.1 as f64 + block.0 * block.1 as f64) / count as f64,
                count,
            );
        }
        blocks.push(block);
    }
    let last = high - wanted.len().saturating_sub(1) as f64 * gap;
    let placed = blocks
        .iter()
        .flat_map(|&(base, count)| std::iter::repeat_n(base, count));
    let mut result = vec![0.0; wanted.len()];
    for (rank, (&index, base)) in order.iter().zip(placed).enumerate() {
        result[index] = base.min(last).max(low) + rank as f64 * gap;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_colliding_labels_move_and_by_equal_distances() {
        assert_eq!(spread(&[10.0, 50.0], 12.0, 0.0, 100.0), [10.0, 50.0]);
        assert_eq!(spread(&[50.0, 50.0], 12.0, 0.0, 100.0), [44.0, 56.0]);
    }

    proptest! {
        #[test]
        fn labels_keep_their_distance_and_stay_within_the_ends(wanted in prop::collection::vec(0.0..300.0f64, 1..25)) {
            let mut placed = spread(&wanted, 12.0, 0.0, 300.0);
            placed.sort_by(f64::total_cmp);
            prop_assert!(placed.windows(2).all(|pair| pair[1] - pair[0] > 12.0 - 1e-6));
            prop_assert!(placed[0] >= -1e-6 && placed[placed.len() - 1] <= 300.0 + 1e-6);
        }
    }
}
