//! Reads and validates a file of records.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use record::{ReadError, Records};

use crate::validate::{self, Invalid};

/// The largest file in bytes; thirty servers in ten scenarios over ten blocks need about 60 MiB.
const LARGEST: u64 = 512 << 20;

/// Why a file of records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error("cannot read {}: {error}: give the results.jsonl of a run or of the conformance cases", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// It is too large.
    #[error("cannot read {}: it has more than {LARGEST} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It does not hold records.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Which line, and why.
        error: ReadError,
    },
    /// The records contradict themselves.
    #[error("cannot use {}: {error}: the file was changed after the run, or another program wrote it", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Invalid,
    },
}

/// Reads a `results.jsonl` and checks that its records are consistent.
pub fn read(path: &Path) -> Result<Records, Error> {
    let open = |error| Error::Open {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(open)?;
    let length = file.metadata().map_err(open)?.len();
    if length > LARGEST {
        return Err(Error::TooLarge {
            path: path.to_owned(),
        });
    }
    // A pipe has no length, so reading is limited as well.
    let records = record::read(BufReader::new(file.take(LARGEST))).map_err(|error| Error::Read {
        path: path.to_owned(),
        error,
    })?;
    validate::check(&records).map_err(|error| Error::Invalid {
        path: path.to_owned(),
        error,
    })?;
    Ok(records)
}
