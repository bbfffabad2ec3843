//! Sizes, rates and times: one place to parse and to show them.
//!
//! [`Bytes`], [`Rate`], [`Time`] and [`Percent`] are values whose text form is what people type: `4KiB`,
//! `50k/s`, `1m30s`, `3%`. They read back exactly what they show, on the command line, in a suite and in a
//! record. A number without a unit is refused.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

use crate::text_form::text_form;

/// Why a text is not a quantity, with an example of what to write.
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
    /// Not a percentage.
    #[error("`{0}` is not a percentage: give a number above 0 and at most 100, such as 3% or 0.5%")]
    Percent(String),
}

/// A number of bytes: `64B`, `4KiB` (4096), `4kB` (4000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// Events per second, above 0: `500/s`, `50k/s`, `1.5M/s`. The prefixes are decimal.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

/// A length of time: `250ms`, `10s`, `1m30s`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// A share, above 0: `3%`, `0.5%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(f64);

text_form!(Bytes, "a size such as 64B or 4KiB");
text_form!(Rate, "a rate such as 500/s or 50k/s");
text_form!(Time, "a time such as 250ms or 10s");
text_form!(Percent, "a percentage such as 3%");

impl Rate {
    /// A rate; `None` if it is not a finite number above 0.
    pub fn new(per_second: f64) -> Option<Self> {
        (per_second.is_finite() && per_second > 0.0).then_some(Rate(per_second))
    }

    /// Events per second.
    pub fn per_second(self) -> f64 {
        self.0
    }
}

impl Percent {
    /// A percentage; `None` if it is not above 0 and at most 100.
    pub const fn new(percent: f64) -> Option<Self> {
        match percent > 0.0 && percent <= 100.0 {
            true => Some(Percent(percent)),
            false => None,
        }
    }

    /// As a share of 1.
    pub fn share(self) -> f64 {
        self.0 / 100.0
    }
}

impl Time {
    /// The time in seconds.
    pub fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl From<u64> for Bytes {
    fn from(bytes: u64) -> Self {
        Bytes(bytes)
    }
}

impl From<Duration> for Time {
    fn from(time: Duration) -> Self {
        Time(time)
    }
}

impl From<Time> for Duration {
    fn from(time: Time) -> Self {
        time.0
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        size(text).map(Bytes)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        rate(text).map(Rate)
    }
}

impl FromStr for Time {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        time(text).map(Time)
    }
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = text.strip_suffix('%');
        let digits = number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
        let percent = digits.and_then(|digits| Percent::new(digits.parse().ok()?));
        percent.ok_or_else(|| UnitError::Percent(text.into()))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}%", self.0)
    }
}

/// The largest unit that divides the size; of two, the one with the shorter number.
impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        const UNITS: [(u64, &str); 7] = [
            (1, "B"),
            (1000, "kB"),
            (1 << 10, "KiB"),
            (1_000_000, "MB"),
            (1 << 20, "MiB"),
            (1_000_000_000, "GB"),
            (1 << 30, "GiB"),
        ];
        let fits = |(unit, _): &&(u64, &str)| *unit == 1 || (self.0 > 0 && self.0.is_multiple_of(*unit));
        let (unit, name) = UNITS
            .iter()
            .filter(fits)
            .min_by_key(|(unit, _)| self.0 / unit)
            .expect("bytes always fit");
        write!(out, "{}{name}", self.0 / unit)
    }
}

/// The shortest form that reads back as the same number.
impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let forms =
            [(1.0, ""), (1e3, "k"), (1e6, "M")].map(|(unit, prefix)| format!("{}{prefix}/s", self.0 / unit));
        let exact = forms.iter().filter(|form| rate(form) == Ok(self.0));
        // Division by 1 is exact, so the first form always reads back.
        let shortest = exact.min_by_key(|form| form.len()).unwrap_or(&forms[0]);
        out.write_str(shortest)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let parts = humantime::format_duration(self.0).to_string();
        out.write_str(&parts.replace(' ', ""))
    }
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
    fn quantities_are_shown_as_they_are_typed() {
        for size in ["0B", "64B", "4KiB", "4kB", "1MiB", "1000MiB", "65507B", "3GB"] {
            assert_eq!(size.parse::<Bytes>().unwrap().to_string(), size);
        }
        for rate in ["0.5/s", "500/s", "1k/s", "50k/s", "1.5M/s", "1234.5/s"] {
            assert_eq!(rate.parse::<Rate>().unwrap().to_string(), rate);
        }
        for time in ["0s", "250ms", "10s", "1m30s", "1s500ms", "2h"] {
            assert_eq!(time.parse::<Time>().unwrap().to_string(), time);
        }
        for percent in ["3%", "0.5%", "100%", "12.25%"] {
            assert_eq!(percent.parse::<Percent>().unwrap().to_string(), percent);
        }
        assert_eq!("3%".parse::<Percent>().unwrap().share(), 0.03);
    }

    #[test]
    fn numbers_without_a_unit_or_sense_are_refused() {
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
        for wrong in ["", "3", "%", "0%", "-1%", "101%", "1e1%", "NaN%", "3 %"] {
            assert!(wrong.parse::<Percent>().is_err(), "percentage {wrong}");
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
            let _ = (size(&text), rate(&text), time(&text), text.parse::<Percent>());
        }

        #[test]
        fn sizes_read_back_as_they_are_shown(
            bytes in prop_oneof![any::<u64>(), 0..10_000_u64, (0..1000_u64).prop_map(|k| k << 20), (0..1000_u64).prop_map(|k| k * 1000)]
        ) {
            prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }

        #[test]
        fn rates_read_back_as_they_are_shown(
            rate in prop_oneof![
                proptest::num::f64::POSITIVE,
                (1..1_000_000_u32).prop_map(|tens| f64::from(tens) * 10.0),
                (1..1_000_000_u32).prop_map(|thousandths| f64::from(thousandths) / 1000.0),
            ]
        ) {
            if let Some(rate) = Rate::new(rate) {
                prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            }
        }

        #[test]
        fn times_read_back_as_they_are_shown(seconds in prop_oneof![0..100_000_u64, 0..u64::MAX / 2], nanos in prop_oneof![Just(0), 0..1_000_000_000_u32]) {
            let time = Time(Duration::new(seconds, nanos));
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn a_shown_rate_reads_back_within_its_digits(exact in 1.0..1e9f64) {
            let read = rate(&show_rate(exact)).unwrap();
            prop_assert!((read / exact - 1.0).abs() < 0.05, "{} -> {}", exact, read);
        }
    }
}
