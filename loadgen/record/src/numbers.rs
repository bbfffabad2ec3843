//! Numbers and lists as a person reads them; text, HTML and figures agree through it.

use crate::stats::{Estimate, Interval};

/// A number with three significant digits, or whole from a thousand on.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if value >= 999.5 {
        return thousands(value);
    }
    // Each bound is where rounding would add a digit.
    let decimals = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 => 2,
        v if v >= 0.09995 => 3,
        v if v >= 0.009995 => 4,
        _ => 5,
    };
    format!("{value:.decimals$}")
}

/// Ends that are further apart than this say nothing but that there were too few trials.
const WIDEST: f64 = 1000.0;

/// The ends of an interval.
pub fn interval(interval: &Interval, scale: f64) -> String {
    ends(interval, scale, " to ")
}

/// The same where there is little room.
pub fn range(interval: &Interval, scale: f64) -> String {
    ends(interval, scale, "–")
}

fn ends(interval: &Interval, scale: f64, between: &str) -> String {
    if interval.high > interval.low * WIDEST {
        return "too wide".into();
    }
    format!(
        "{}{between}{}",
        number(interval.low / scale),
        number(interval.high / scale)
    )
}

/// A ratio with its interval: `1.32 (1.25 to 1.39)`.
pub fn ratio(estimate: &Estimate) -> String {
    match &estimate.interval {
        Some(ends) => format!("{} ({})", number(estimate.value), interval(ends, 1.0)),
        None => format!("{} (no interval)", number(estimate.value)),
    }
}

/// A whole number with a comma between thousands.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number for a tick of an axis: `250k`, `1.5M`.
pub fn short(value: f64) -> String {
    let (divided, suffix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    format!("{}{suffix}", trimmed(divided))
}

/// A number in a sentence, with three digits: `138k`.
pub fn rounded(value: f64) -> String {
    if value < 1.0 {
        return number(value);
    }
    let step = 10f64.powf(value.log10().floor() - 2.0);
    short((value / step).round() * step)
}

/// A time given in microseconds, in the unit that suits it; a line does not break before
/// the unit: `84.2 µs`, `1.93 ms`.
pub fn micros(value: f64) -> String {
    match value {
        v if v >= 999_500.0 => format!("{}\u{a0}s", number(v / 1e6)),
        v if v >= 999.5 => format!("{}\u{a0}ms", number(v / 1e3)),
        v => format!("{}\u{a0}µs", number(v)),
    }
}

/// A time on an axis: a tick is a round number, so `10 µs` and not `10.0 µs`.
pub fn micros_tick(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} s", trimmed(v / 1e6)),
        v if v >= 1e3 => format!("{} ms", trimmed(v / 1e3)),
        v if v >= 1.0 => format!("{} µs", trimmed(v)),
        v => format!("{} ns", trimmed(v * 1e3)),
    }
}

/// Bytes in a binary unit: `512 B`, `1.5 GiB`.
pub fn bytes(value: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(size, _)| value >= *size) {
        Some((size, unit)) => format!("{}\u{a0}{unit}", trimmed(value as f64 / *size as f64)),
        None => format!("{value}\u{a0}B"),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(names: &[impl AsRef<str>]) -> String {
    match names {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// A count and its noun: `1 trial`, `5 trials`.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(count as f64))
}

/// Text from outside as one line that cannot steer a terminal or reorder what is around
/// it: control and direction characters are replaced.
pub fn plain_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_whitespace() { ' ' } else { harmless(c) })
        .collect()
}

/// The same with its line feeds and tabs kept.
pub fn plain_lines(text: &str) -> String {
    let keep = |c| matches!(c, '\n' | '\t');
    text.chars()
        .map(|c| if keep(c) { c } else { harmless(c) })
        .collect()
}

fn harmless(c: char) -> char {
    let directs = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let unwritable = matches!(c, '\u{fffe}' | '\u{ffff}');
    if c.is_control() || directs || unwritable {
        '\u{fffd}'
    } else {
        c
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_says_nothing_is_called_too_wide() {
        let ends = |low, high| interval(&Interval { low, high }, 1.0);
        assert_eq!(ends(2.0, 3.0), "2.00 to 3.00");
        assert_eq!(ends(0.00001, 5e12), "too wide");
    }

    #[test]
    fn numbers_keep_three_digits_and_never_gain_one_by_rounding() {
        let cases = [
            (0.0, "0"),
            (0.01234, "0.0123"),
            (0.9996, "1.00"),
            (9.996, "10.0"),
            (99.96, "100"),
            (999.6, "1,000"),
            (118_204.4, "118,204"),
            (1_234_567.0, "1,234,567"),
        ];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn units_suit_the_size() {
        assert_eq!(
            (short(250_000.0), short(1.5e6), short(50.0)),
            ("250k".into(), "1.5M".into(), "50".into())
        );
        assert_eq!(
            (micros(84.21), micros(1930.0)),
            ("84.2\u{a0}µs".into(), "1.93\u{a0}ms".into())
        );
        assert_eq!(
            (micros_tick(10.0), micros_tick(5000.0)),
            ("10 µs".into(), "5 ms".into())
        );
        assert_eq!(
            (bytes(512), bytes(3 << 29)),
            ("512\u{a0}B".into(), "1.5\u{a0}GiB".into())
        );
    }

    #[test]
    fn a_sentence_gets_three_digits() {
        assert_eq!(
            (rounded(137_868.0), rounded(999.7), rounded(0.25)),
            ("138k".into(), "1k".into(), "0.250".into())
        );
    }

    #[test]
    fn lists_and_counts_are_english() {
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(
            (counted(1, "trial"), counted(1000, "trial")),
            ("1 trial".into(), "1,000 trials".into())
        );
    }

    #[test]
    fn escape_sequences_do_not_pass() {
        assert_eq!(plain_line("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb c");
        assert_eq!(plain_lines("a\n\u{202e}b"), "a\n\u{fffd}b");
    }
}
