//! Draws the sizes of messages.

use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;

use record::units::{self, UnitError};
use record::{MessageSize, bounded};

/// A longer file does not list sizes; it is read whole.
const LONGEST_FILE: u64 = 16 << 20;

/// How the sizes of messages are chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sizes {
    /// Every message has this size.
    Fixed(u64),
    /// Every size from the first to the last is equally likely.
    Uniform(u64, u64),
    /// The sizes of a list, in turn; each connection starts at a different place.
    Listed {
        /// The file.
        name: String,
        /// The sizes.
        sizes: Arc<[u64]>,
    },
}

/// Why the sizes in a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizesError {
    /// The file cannot be read.
    #[error("cannot read the sizes in {path}: {error}")]
    File {
        /// Its path.
        path: String,
        /// The error of the system.
        error: String,
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
    /// The sizes that a plan asks for; reads the file that it names.
    pub fn read(size: &MessageSize) -> Result<Self, SizesError> {
        match size {
            MessageSize::Fixed(size) => Ok(Sizes::Fixed(size.0)),
            MessageSize::Uniform(first, last) => Ok(Sizes::Uniform(first.0, last.0)),
            MessageSize::Listed(path) => Sizes::read_file(path),
        }
    }

    fn read_file(path: &Path) -> Result<Self, SizesError> {
        let name = path.display().to_string();
        let text = match bounded::read(path, LONGEST_FILE) {
            Ok(Some(text)) => text,
            Ok(None) => return Err(SizesError::Length(name)),
            Err(error) => {
                let error = error.to_string();
                return Err(SizesError::File { path: name, error });
            }
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn read(text: &str) -> Result<Sizes, SizesError> {
        Sizes::read(&text.parse().unwrap())
    }

    #[test]
    fn the_sizes_of_a_file_are_drawn_in_turn() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"# a trace\n64B\n\n4KiB\n").unwrap();
        let listed = read(&format!("file:{}", file.path().display())).unwrap();
        assert_eq!((listed.bounds(), listed.mean()), ((64, 4096), 2080.0));
        let drawn: Vec<_> = (0..3)
            .map(|message| listed.draw(1, message, &mut Rng::with_seed(1)))
            .collect();
        assert_eq!(drawn, [4096, 64, 4096]);
    }

    #[test]
    fn an_invalid_file_is_refused_with_the_line() {
        let error = read("file:/nowhere/sizes").unwrap_err().to_string();
        assert!(
            error.contains("cannot read the sizes in /nowhere/sizes"),
            "{error}"
        );
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = format!("file:{}", file.path().display());
        assert!(matches!(read(&text), Err(SizesError::Length(_))));
        file.write_all(b"64B\n12\n").unwrap();
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains("line 2: `12` is not a size"), "{error}");
    }

    #[test]
    fn a_device_without_an_end_is_refused() {
        assert_eq!(
            read("file:/dev/zero"),
            Err(SizesError::Length("/dev/zero".into()))
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
