//! Readers of `/proc`: processes, what they hold and use, and the kernel's network tables.
//!
//! The `procfs` crate parses the files, except where it does more work than the reader needs
//! ([`processes::descendants`], [`usage::Switches`], [`descriptors::descriptors`]) and for what it
//! does not cover ([`counters`]).

pub mod counters;
pub mod descriptors;
pub mod processes;
pub mod tcp;
pub mod tree_clock;
pub mod usage;

use std::path::Path;
use std::{fs, io};

/// A file that holds the name of a process or a path, in which bytes that are not UTF-8 become U+FFFD.
pub fn read(file: impl AsRef<Path>) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(file)?).into_owned())
}
