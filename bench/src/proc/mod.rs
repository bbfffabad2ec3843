//! Readers of `/proc`: processes, what they hold and use, and the kernel's network tables.
//!
//! The `procfs` crate parses the files. Two readers parse by hand, where it is too slow
//! ([`processes::family`], [`usage::Switches`]), and [`counters`] reads what it does not cover.

pub mod counters;
pub mod descriptors;
pub mod processes;
pub mod tcp;
pub mod usage;
