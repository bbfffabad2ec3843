//! The sizes of messages.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::text_form::text_form;
use crate::units::{Bytes, UnitError};

/// How many bytes a message has: `64B`, `uniform:16B..4KiB`, or `file:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageSize {
    /// Every message has this size.
    Fixed(Bytes),
    /// Every size from the first to the last is equally likely.
    Uniform(Bytes, Bytes),
    /// The sizes in a file, in turn. The file is read when a load is planned, and not when a
    /// record of it is read; in the text of a record, bytes of its name that are not UTF-8 are U+FFFD.
    Listed(PathBuf),
}

text_form!(
    MessageSize,
    "a size such as 64B, a range such as uniform:16B..4KiB, or file:PATH"
);

/// Why a text does not describe the sizes of messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageSizeError {
    /// Not a size.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// The first size of a range is above the last.
    #[error("`{0}` is empty: give the smaller size first, as in uniform:16B..4KiB")]
    Empty(String),
    /// A range without an end.
    #[error("`{0}` is not a range of sizes: write uniform:16B..4KiB")]
    NoRange(String),
    /// A file without a name.
    #[error("`file:` does not name a file: write file:PATH")]
    NoPath,
}

impl MessageSize {
    /// The mean in bytes; `None` where a file lists the sizes.
    pub fn mean(&self) -> Option<f64> {
        match self {
            MessageSize::Fixed(size) => Some(size.0 as f64),
            MessageSize::Uniform(first, last) => Some((first.0 as f64 + last.0 as f64) / 2.0),
            MessageSize::Listed(_) => None,
        }
    }

    /// The sizes that an argument describes: like [`str::parse`], but the name of a file may have any bytes.
    pub fn of_argument(argument: &OsStr) -> Result<Self, MessageSizeError> {
        match (argument.to_str(), argument.as_bytes().strip_prefix(b"file:")) {
            (Some(text), _) => text.parse(),
            (None, Some(path)) => Ok(MessageSize::Listed(OsStr::from_bytes(path).into())),
            (None, None) => argument.to_string_lossy().parse(),
        }
    }
}

impl FromStr for MessageSize {
    type Err = MessageSizeError;

    fn from_str(text: &str) -> Result<Self, MessageSizeError> {
        match (text.strip_prefix("file:"), text.strip_prefix("uniform:")) {
            (Some(""), _) => Err(MessageSizeError::NoPath),
            (Some(path), _) => Ok(MessageSize::Listed(path.into())),
            (None, Some(range)) => {
                let (first, last) = range
                    .split_once("..")
                    .ok_or_else(|| MessageSizeError::NoRange(text.into()))?;
                let (first, last): (Bytes, Bytes) = (first.parse()?, last.parse()?);
                match first <= last {
                    true => Ok(MessageSize::Uniform(first, last)),
                    false => Err(MessageSizeError::Empty(text.into())),
                }
            }
            (None, None) => Ok(MessageSize::Fixed(text.parse()?)),
        }
    }
}

impl fmt::Display for MessageSize {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            MessageSize::Fixed(size) => write!(out, "{size}"),
            MessageSize::Uniform(first, last) => write!(out, "uniform:{first}..{last}"),
            MessageSize::Listed(path) => write!(out, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_sizes_are_refused_with_an_example() {
        for (text, hint) in [
            ("64", "is not a size"),
            ("uniform:64B", "write uniform:16B..4KiB"),
            ("uniform:4KiB..16B", "smaller size first"),
            ("uniform:1..2B", "`1` is not a size"),
            ("file:", "write file:PATH"),
        ] {
            let error = text.parse::<MessageSize>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn the_name_of_a_file_may_have_any_bytes_and_nothing_else_may() {
        let of = |bytes: &[u8]| MessageSize::of_argument(OsStr::from_bytes(bytes));
        let path = OsStr::from_bytes(b"/\xff").into();
        assert_eq!(of(b"file:/\xff"), Ok(MessageSize::Listed(path)));
        assert_eq!(of(b"file:/\xff").unwrap().to_string(), "file:/\u{fffd}");
        assert_eq!(of(b"64B"), Ok(MessageSize::Fixed(Bytes(64))));
        assert!(of(b"\xff").unwrap_err().to_string().contains("is not a size"));
    }

    #[test]
    fn the_mean_of_a_file_is_not_known_without_reading_it() {
        let mean = |text: &str| text.parse::<MessageSize>().unwrap().mean();
        assert_eq!(mean("64B"), Some(64.0));
        assert_eq!(mean("uniform:1B..4B"), Some(2.5));
        assert_eq!(mean("file:/nowhere/sizes"), None);
    }
}
