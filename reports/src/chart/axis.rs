//! An axis: the values that it spans, their positions, and its ticks.

/// How values map to positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences have equal distances.
    Linear,
    /// Equal ratios have equal distances.
    Log,
}

/// One axis.
#[derive(Debug, Clone)]
pub struct Axis {
    low: f64,
    high: f64,
    scale: Scale,
    /// Labelled values.
    pub ticks: Vec<(f64, String)>,
    /// The quantity and its unit.
    pub title: String,
}

impl Axis {
    /// From zero to a round number at or above `highest`, with ticks at round steps.
    pub fn from_zero(highest: f64, title: &str, label: fn(f64) -> String) -> Self {
        let highest = if highest > 0.0 { highest } else { 1.0 };
        let step = round_step(highest);
        let count = (highest / step).ceil().max(1.0);
        let ticks = (0..=count as u32)
            .map(|k| f64::from(k) * step)
            .map(|value| (value, label(value)));
        Axis {
            low: 0.0,
            high: count * step,
            scale: Scale::Linear,
            ticks: ticks.collect(),
            title: title.to_owned(),
        }
    }

    /// A logarithmic axis over positive values, with ticks at powers of ten; at 2 and 5
    /// times them too if the span is short.
    pub fn log(lowest: f64, highest: f64, title: &str, label: fn(f64) -> String) -> Self {
        let (lowest, highest) = (lowest.max(f64::MIN_POSITIVE), highest.max(lowest * 1.01));
        let short = (highest / lowest).log10() < 2.5;
        let steps: &[f64] = if short { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let (first, last) = (lowest.log10().floor() as i32, highest.log10().ceil() as i32);
        let round: Vec<f64> = (first - 1..=last + 1)
            .flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)))
            .collect();
        // A tolerance of one part in a billion for powers that are not exact.
        let low = round
            .iter()
            .copied()
            .filter(|v| *v <= lowest * (1.0 + 1e-9))
            .fold(lowest, |_, v| v);
        let high = round
            .iter()
            .copied()
            .find(|v| *v >= highest * (1.0 - 1e-9))
            .unwrap_or(highest);
        let within = |v: &f64| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(v);
        Axis {
            low,
            high,
            scale: Scale::Log,
            ticks: round
                .into_iter()
                .filter(within)
                .map(|value| (value, label(value)))
                .collect(),
            title: title.to_owned(),
        }
    }

    /// An axis with given ends and ticks.
    pub fn with_ticks(low: f64, high: f64, scale: Scale, ticks: Vec<(f64, String)>, title: &str) -> Self {
        Axis {
            low,
            high,
            scale,
            ticks,
            title: title.to_owned(),
        }
    }

    /// The position of a value, from 0 at the low end to 1 at the high end; values beyond the
    /// ends are clamped.
    pub fn share(&self, value: f64) -> f64 {
        let of = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).log10(),
        };
        let (low, high) = (of(self.low), of(self.high));
        let share = if high > low {
            (of(value) - low) / (high - low)
        } else {
            0.5
        };
        share.clamp(0.0, 1.0)
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides the range up to `highest` into four to
/// nine parts.
fn round_step(highest: f64) -> f64 {
    let power = 10f64.powf((highest / 4.0).log10().floor());
    let times = [5.0, 2.0, 1.0]
        .into_iter()
        .find(|times| highest / (times * power) >= 4.0);
    times.unwrap_or(1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use record::numbers::{micros_tick, short};

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        let axis = Axis::from_zero(187_000.0, "", short);
        assert_eq!(
            labels(&axis),
            [
                "0", "20k", "40k", "60k", "80k", "100k", "120k", "140k", "160k", "180k", "200k"
            ]
        );
        assert_eq!(
            labels(&Axis::from_zero(0.0, "", short)),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        let wide = Axis::log(8.0, 90_000.0, "", micros_tick);
        assert_eq!(
            labels(&wide),
            ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms"]
        );
        let narrow = Axis::log(25.0, 160.0, "", micros_tick);
        assert_eq!(labels(&narrow), ["20 µs", "50 µs", "100 µs", "200 µs"]);
    }

    proptest! {
        #[test]
        fn positions_keep_the_order_of_values(
            (a, b) in (1e-3..1e12f64, 1e-3..1e12f64).prop_map(|(a, b)| (a.min(b), a.max(b)))
        ) {
            for axis in [Axis::log(a, b, "", short), Axis::from_zero(b, "", short)] {
                prop_assert!(axis.share(a) <= axis.share(b));
                prop_assert!((2..=60).contains(&axis.ticks.len()), "{:?}", axis.ticks);
            }
        }
    }
}
