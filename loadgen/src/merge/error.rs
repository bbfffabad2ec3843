//! Why loads cannot be merged.

use record::ReadError;
use record::histogram::DecodeError;

/// Why loads cannot be merged, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Reading failed.
    #[error("cannot read {name}: {error}")]
    Io {
        /// The file.
        name: String,
        /// The error of the system.
        error: std::io::Error,
    },
    /// The file is too large to be a load.
    #[error("{name} is larger than {limit} bytes, so `loadgen run --format json` did not print it")]
    TooLarge {
        /// The file.
        name: String,
        /// The size of the largest file that is read, in bytes.
        limit: u64,
    },
    /// The file does not hold one load.
    #[error("{name} does not hold one load, as `loadgen run --format json` prints it: {error}")]
    Syntax {
        /// The file.
        name: String,
        /// The error of the parser.
        error: serde_json::Error,
    },
    /// The file holds the output of several generators.
    #[error("{name} holds several loads, one after the other: give each a file of its own")]
    SeveralLoads {
        /// The file.
        name: String,
    },
    /// The file was written by a newer program.
    #[error("{name}: {error}")]
    Version {
        /// The file.
        name: String,
        /// The version that was found.
        error: ReadError,
    },
    /// A histogram in the file is damaged.
    #[error("{name}: {error}")]
    Histogram {
        /// The file.
        name: String,
        /// The problem.
        error: DecodeError,
    },
    /// The file does not hold the start of the load.
    #[error("{name}: the start `{started_at}` is not a time such as 2026-01-01T00:00:00Z")]
    Time {
        /// The file.
        name: String,
        /// The text in its place.
        started_at: String,
    },
    /// One load or none.
    #[error("a merge needs two loads or more: give a file for each generator")]
    TooFew,
    /// The same load would be counted twice.
    #[error("{first} and {second} hold the same load, which would count twice: give each file once")]
    Twice {
        /// A file.
        first: String,
        /// Another.
        second: String,
    },
    /// A sum holds a load that is given as well.
    #[error("{sum} is a sum that holds {part} already, which would count twice: give one of them")]
    Held {
        /// The file of the sum.
        sum: String,
        /// The file of its part.
        part: String,
    },
    /// Two sums hold some of the same loads.
    #[error(
        "{first} and {second} are sums that both hold {}, which would count twice: merge the parts of both instead",
        record::words::count(*loads as u64, "load")
    )]
    Shared {
        /// A file.
        first: String,
        /// Another.
        second: String,
        /// How many loads are in both.
        loads: usize,
    },
    /// The generators did not make the same load.
    #[error(
        "the loads differ in {field}: {one} in {first}, {other} in {second}; only parts of the same load on the same \
         server can be merged"
    )]
    Differ {
        /// The field of the schema.
        field: String,
        /// A file.
        first: String,
        /// Its value.
        one: String,
        /// Another file.
        second: String,
        /// The value there.
        other: String,
    },
    /// The windows are of different lengths.
    #[error(
        "the window of {first} lasted {one:.2} s and that of {second} {other:.2} s; only loads that ran at the same \
         time can be merged: start all generators together with the same --duration, and interrupt none"
    )]
    Windows {
        /// A file.
        first: String,
        /// Its window, in seconds.
        one: f64,
        /// Another file.
        second: String,
        /// Its window, in seconds.
        other: f64,
    },
    /// The windows do not overlap.
    #[error(
        "the window of {first} ended before that of {second} began; only loads that ran at the same time can be \
         merged: start all generators together, on hosts whose clocks agree"
    )]
    Apart {
        /// The file whose window ended first.
        first: String,
        /// The file whose window began last.
        second: String,
    },
}
