//! The file of a report.

use std::path::Path;
use std::{fs, io};

/// The largest report in bytes; it should fit in an email.
pub const LARGEST: usize = 3 << 20;

/// Writes a report to a temporary file and renames it, so a reader never sees half a report.
pub fn write(path: &Path, page: &str) -> io::Result<()> {
    let draft = path.with_extension("html.tmp");
    fs::write(&draft, page)?;
    fs::rename(&draft, path)
}
