//! Sizes, rates and times as people write them, and back.
//!
//! A bare number where a unit is needed is refused: `10` may mean anything.

use std::time::Duration;

use bytesize::ByteSize;

/// Why a text is not a quantity; says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a size in bytes.
    #[error("`{0}` is not a size: give a number and its unit, such as 64B, 4KiB or 1MiB")]
    Size(String),
    /// Not a rate.
    #[error("`{0}` is not a rate: give a number above 0 per second, such as 500/s, 50k/s or 1.5M/s")]
    Rate(String),
    /// Not a time.
    #[error("`{0}` is not a time: give a number and its unit, such as 250ms, 10s or 2m")]
    Time(String),
}

/// Bytes: `64B`, `4KiB` (1024), `4kB` (1000).
pub fn size(text: &str) -> Result<u64, UnitError> {
    let error = || UnitError::Size(text.into());
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    text.parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| error())
}

/// Events per second: `500/s`, `50k/s`, `1.5M/s`; decimal prefixes, as rates are.
pub fn rate(text: &str) -> Result<f64, UnitError> {
    let error = || UnitError::Rate(text.into());
    let number = text.strip_suffix("/s").ok_or_else(error)?;
    let (digits, factor) = match number.as_bytes().last() {
        Some(b'k') => (&number[..number.len() - 1], 1e3),
        Some(b'M') => (&number[..number.len() - 1], 1e6),
        _ => (number, 1.0),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(error());
    }
    let rate = digits.parse::<f64>().map_err(|_| error())? * factor;
    if rate.is_finite() && rate > 0.0 {
        Ok(rate)
    } else {
        Err(error())
    }
}

/// A time: `250ms`, `10s`, `1m 30s`.
pub fn time(text: &str) -> Result<Duration, UnitError> {
    let error = || UnitError::Time(text.into());
    // The library takes a bare 0; every other bare number it refuses already.
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    humantime::parse_duration(text).map_err(|_| error())
}

/// A rate for a person: `951/s`, `22.6k/s`, `1.24M/s`.
pub fn show_rate(per_second: f64) -> String {
    let (value, prefix) = match per_second {
        rate if rate >= 999_500.0 => (rate / 1e6, "M"),
        rate if rate >= 999.5 => (rate / 1e3, "k"),
        rate => (rate, ""),
    };
    let decimals = match value {
        value if value >= 99.95 || (prefix.is_empty() && value >= 10.0) => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}{prefix}/s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(size("64B"), Ok(64));
        assert_eq!(size("4KiB"), Ok(4096));
        assert_eq!(size("4kB"), Ok(4000));
        assert_eq!(size("1 MiB"), Ok(1 << 20));
        assert_eq!(size("0B"), Ok(0));
    }

    #[test]
    fn rates_have_decimal_prefixes() {
        assert_eq!(rate("500/s"), Ok(500.0));
        assert_eq!(rate("50k/s"), Ok(50_000.0));
        assert_eq!(rate("1.5M/s"), Ok(1_500_000.0));
        assert_eq!(rate("0.5/s"), Ok(0.5));
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(time("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_has_no_unit_or_no_sense_is_refused() {
        for wrong in ["", "64", "0", "-1B", "B", "1XB", "ten"] {
            assert!(size(wrong).is_err(), "size {wrong}");
        }
        for wrong in [
            "", "50", "50k", "/s", "k/s", "-5/s", "0/s", "1e3/s", "inf/s", "NaN/s", "5K/s", "1.2.3/s",
        ] {
            assert!(rate(wrong).is_err(), "rate {wrong}");
        }
        for wrong in ["", "10", "0", "-1s", "s", "1 parsec"] {
            assert!(time(wrong).is_err(), "time {wrong}");
        }
    }

    #[test]
    fn rates_are_shown_with_three_digits() {
        let table = [
            (0.5, "0.50/s"),
            (12.34, "12/s"),
            (951.2, "951/s"),
            (999.7, "1.00k/s"),
            (22_614.0, "22.6k/s"),
            (226_140.0, "226k/s"),
            (1_240_000.0, "1.24M/s"),
        ];
        for (rate, shown) in table {
            assert_eq!(show_rate(rate), shown);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            let _ = (size(&text), rate(&text), time(&text));
        }

        #[test]
        fn whole_bytes_come_back(bytes in 0..u64::MAX / 2) {
            prop_assert_eq!(size(&format!("{bytes}B")), Ok(bytes));
        }

        #[test]
        fn whole_milliseconds_come_back(ms in 0..u32::MAX) {
            prop_assert_eq!(time(&format!("{ms}ms")), Ok(Duration::from_millis(ms.into())));
        }

        #[test]
        fn a_shown_rate_reads_back_within_its_digits(exact in 1.0..1e9f64) {
            let read = rate(&show_rate(exact)).unwrap();
            prop_assert!((read / exact - 1.0).abs() < 0.05, "{} -> {}", exact, read);
        }
    }
}
