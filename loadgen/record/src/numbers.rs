//! Numbers, times and sizes as a report shows them; text, HTML and figures share these.
//!
//! [`crate::words::show_micros`] and [`crate::units::show_rate`] are for the terminal: ASCII, and
//! in the form that the command line reads back. The functions here are for typeset text.

/// A number with three significant digits; from a thousand on a whole number.
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

/// A number with a decimal prefix, for a tick of an axis: `250k`, `1.5M`.
pub fn short(value: f64) -> String {
    let (divided, suffix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    format!("{}{suffix}", trimmed(divided))
}

/// [`short`] with three significant digits, for a sentence: `138k`.
pub fn rounded(value: f64) -> String {
    if value < 1.0 {
        return number(value);
    }
    let step = 10f64.powf(value.log10().floor() - 2.0);
    short((value / step).round() * step)
}

/// Microseconds in a suitable unit, after a no-break space: `84.2 µs`, `1.93 ms`.
pub fn micros(value: f64) -> String {
    match value {
        v if v >= 999_500.0 => format!("{}\u{a0}s", number(v / 1e6)),
        v if v >= 999.5 => format!("{}\u{a0}ms", number(v / 1e3)),
        v => format!("{}\u{a0}µs", number(v)),
    }
}

/// Microseconds on an axis. Ticks are round numbers, so `10 µs` instead of `10.0 µs`.
pub fn micros_tick(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} s", trimmed(v / 1e6)),
        v if v >= 1e3 => format!("{} ms", trimmed(v / 1e3)),
        v if v >= 1.0 => format!("{} µs", trimmed(v)),
        v => format!("{} ns", trimmed(v * 1e3)),
    }
}

/// Bytes in a binary unit, after a no-break space: `512 B`, `1.5 GiB`.
pub fn bytes(value: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(size, _)| value >= *size) {
        Some((size, unit)) => format!("{}\u{a0}{unit}", trimmed(value as f64 / *size as f64)),
        None => format!("{value}\u{a0}B"),
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
    fn ticks_have_a_decimal_prefix_and_no_trailing_zeros() {
        assert_eq!([250_000.0, 1.5e6, 50.0].map(short), ["250k", "1.5M", "50"]);
    }

    #[test]
    fn numbers_in_sentences_have_three_digits() {
        assert_eq!([137_868.0, 999.7, 0.25].map(rounded), ["138k", "1k", "0.250"]);
    }

    #[test]
    fn times_have_the_unit_that_suits_their_size() {
        assert_eq!([84.21, 1930.0].map(micros), ["84.2\u{a0}µs", "1.93\u{a0}ms"]);
        assert_eq!([10.0, 5000.0].map(micros_tick), ["10 µs", "5 ms"]);
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!([512, 3 << 29].map(bytes), ["512\u{a0}B", "1.5\u{a0}GiB"]);
    }
}
