//! How many bytes a message has.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;

use record::units::{self, UnitError};

/// Sizes in a file beyond this are a mistake: it is read whole.
const LONGEST_FILE: u64 = 16 << 20;

/// How the sizes of messages are chosen. They are at least one byte each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sizes {
    /// All the same.
    Fixed(u64),
    /// Every size from the first to the last is as likely as any other.
    Uniform(u64, u64),
    /// Those of a list, in turn, each connection from a place of its own.
    Listed {
        /// Where the list came from.
        name: String,
        /// The sizes.
        sizes: Arc<[u64]>,
    },
}

/// Why a text does not say how long messages are.
#[derive(Debug, thiserror::Error)]
pub enum SizesError {
    /// Not a size.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// The first of a range is above the last.
    #[error("`{0}` is empty: give the smaller size first, as in uniform:16B..4KiB")]
    Range(String),
    /// A range without an end.
    #[error("`{0}` is not a range of sizes: write uniform:16B..4KiB")]
    NoRange(String),
    /// The file cannot be read.
    #[error("cannot read the sizes in {path}: {error}")]
    File {
        /// Its path.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A line of the file is wrong.
    #[error("{path}, line {line}: {error}")]
    Line {
        /// Its path.
        path: String,
        /// Number, from 1.
        line: usize,
        /// What is wrong.
        error: UnitError,
    },
    /// The file has no sizes, or far too many.
    #[error("{0} must have from 1 size to 16 MiB of them, each on a line of its own, such as 64B")]
    Length(String),
}

impl Sizes {
    /// `64B`, `uniform:16B..4KiB`, or `file:PATH` with a size on each line.
    pub fn parse(text: &str) -> Result<Self, SizesError> {
        if let Some(path) = text.strip_prefix("file:") {
            return Sizes::read(Path::new(path));
        }
        let Some(range) = text.strip_prefix("uniform:") else {
            return Ok(Sizes::Fixed(units::size(text)?));
        };
        let (first, last) = range
            .split_once("..")
            .ok_or_else(|| SizesError::NoRange(text.into()))?;
        let (first, last) = (units::size(first)?, units::size(last)?);
        match first <= last {
            true => Ok(Sizes::Uniform(first, last)),
            false => Err(SizesError::Range(text.into())),
        }
    }

    fn read(path: &Path) -> Result<Self, SizesError> {
        let name = path.display().to_string();
        let unreadable = |error| SizesError::File {
            path: name.clone(),
            error,
        };
        if std::fs::metadata(path).map_err(unreadable)?.len() > LONGEST_FILE {
            return Err(SizesError::Length(name));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let lines = text.lines().map(str::trim).enumerate();
        let sizes: Arc<[u64]> = lines
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(at, line)| {
                units::size(line).map_err(|error| SizesError::Line {
                    path: name.clone(),
                    line: at + 1,
                    error,
                })
            })
            .collect::<Result<_, _>>()?;
        match sizes.is_empty() {
            true => Err(SizesError::Length(name)),
            false => Ok(Sizes::Listed { name, sizes }),
        }
    }

    /// The smallest and the largest.
    pub fn bounds(&self) -> (u64, u64) {
        match self {
            Sizes::Fixed(size) => (*size, *size),
            Sizes::Uniform(first, last) => (*first, *last),
            Sizes::Listed { sizes, .. } => {
                let smallest = sizes.iter().min().expect("a list has a size");
                (*smallest, *sizes.iter().max().expect("a list has a size"))
            }
        }
    }

    /// The mean, in bytes.
    pub fn mean(&self) -> f64 {
        match self {
            Sizes::Fixed(size) => *size as f64,
            Sizes::Uniform(first, last) => (*first as f64 + *last as f64) / 2.0,
            Sizes::Listed { sizes, .. } => {
                sizes.iter().map(|&size| size as f64).sum::<f64>() / sizes.len() as f64
            }
        }
    }

    /// The size of message number `message` of connection number `connection`.
    pub fn draw(&self, connection: usize, message: u64, random: &mut Rng) -> u64 {
        match self {
            Sizes::Fixed(size) => *size,
            Sizes::Uniform(first, last) => random.u64(*first..=*last),
            Sizes::Listed { sizes, .. } => sizes[(connection + message as usize) % sizes.len()],
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Sizes::Fixed(size) => write!(out, "{}", bytesize::ByteSize(*size)),
            Sizes::Uniform(first, last) => write!(
                out,
                "{} to {}, each size as likely",
                bytesize::ByteSize(*first),
                bytesize::ByteSize(*last)
            ),
            Sizes::Listed { name, sizes } => write!(out, "the {} sizes in {name}, in turn", sizes.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_size_a_range_or_a_file_is_taken() {
        assert_eq!(Sizes::parse("64B").unwrap(), Sizes::Fixed(64));
        assert_eq!(
            Sizes::parse("uniform:16B..4KiB").unwrap(),
            Sizes::Uniform(16, 4096)
        );
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"# a trace\n64B\n\n4KiB\n").unwrap();
        let listed = Sizes::parse(&format!("file:{}", file.path().display())).unwrap();
        assert_eq!((listed.bounds(), listed.mean()), ((64, 4096), 2080.0));
        let drawn: Vec<_> = (0..3)
            .map(|message| listed.draw(1, message, &mut Rng::with_seed(1)))
            .collect();
        assert_eq!(drawn, [4096, 64, 4096]);
    }

    #[test]
    fn what_is_none_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("64", "is not a size"),
            ("uniform:64B", "uniform:16B..4KiB"),
            ("uniform:4KiB..16B", "smaller size first"),
            ("uniform:1..2B", "is not a size"),
            ("file:/nowhere/sizes", "cannot read"),
        ] {
            let error = Sizes::parse(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"64B\n12\n").unwrap();
        let error = Sizes::parse(&format!("file:{}", file.path().display())).unwrap_err();
        assert!(
            error.to_string().contains("line 2: `12` is not a size"),
            "{error}"
        );
    }

    #[test]
    fn uniform_sizes_reach_both_ends_and_their_mean() {
        let (sizes, mut random) = (Sizes::Uniform(1, 5), Rng::with_seed(7));
        let drawn: Vec<_> = (0..5000)
            .map(|message| sizes.draw(0, message, &mut random))
            .collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&1), Some(&5)));
        let mean = drawn.iter().sum::<u64>() as f64 / 5000.0;
        assert!((mean - sizes.mean()).abs() < 0.1, "{mean}");
    }
}
