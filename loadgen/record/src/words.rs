//! Counts and times as people read them, and printing.

mod english;
mod printable;

use std::io::{self, Write as _};

use crate::histogram::Known;
pub use english::{counted, list};
pub use printable::{plain_line, plain_lines};

/// `1 connection`, `2 connections`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A time for a person: `192us`, `2.63ms`, `1.20s`.
pub fn show_micros(micros: f64) -> String {
    match micros {
        micros if micros >= 999_500.0 => format!("{:.2}s", micros / 1e6),
        micros if micros >= 99_950.0 => format!("{:.0}ms", micros / 1e3),
        micros if micros >= 9_995.0 => format!("{:.1}ms", micros / 1e3),
        micros if micros >= 999.5 => format!("{:.2}ms", micros / 1e3),
        micros if micros >= 99.95 => format!("{micros:.0}us"),
        micros => format!("{micros:.1}us"),
    }
}

/// A time for a person, as far as it is known: `2.63ms`, `>=1.20s`.
pub fn show_known_micros(micros: Known) -> String {
    match micros {
        Known::Exactly(micros) => show_micros(micros),
        Known::AtLeast(micros) => format!(">={}", show_micros(micros)),
    }
}

/// Prints a line on standard error. If that is closed or full nothing happens, where `eprintln!` panics:
/// no message may end a measurement.
#[macro_export]
macro_rules! complain {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}

/// Prints a result on standard output, which an error names. A pipe that its reader has closed is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_with_three_digits() {
        let table = [
            (1.23, "1.2us"),
            (192.4, "192us"),
            (2_629.4, "2.63ms"),
            (26_294.0, "26.3ms"),
            (262_940.0, "263ms"),
            (1_200_000.0, "1.20s"),
        ];
        for (micros, shown) in table {
            assert_eq!(show_micros(micros), shown);
        }
    }

    #[test]
    fn a_time_that_is_a_lower_bound_says_so() {
        let shown = [Known::Exactly(2_629.4), Known::AtLeast(1.2e6)].map(show_known_micros);
        assert_eq!(shown, ["2.63ms", ">=1.20s"]);
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(count(1, "thread"), "1 thread");
        assert_eq!(count(2, "thread"), "2 threads");
    }
}
