//! Reading files that people name: a pipe or a device may have no end.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

/// Reads a file of at most `longest` bytes; `None` if there are more.
pub fn read(path: &Path, longest: u64) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        return Ok(None);
    }
    let text = String::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_no_further() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let whole = std::fs::read_to_string(&path).unwrap();
        let length = whole.len() as u64;
        assert_eq!(read(&path, length).unwrap(), Some(whole));
        assert_eq!(read(&path, length - 1).unwrap(), None);
        assert_eq!(read(Path::new("/dev/zero"), 10).unwrap(), None);
    }
}
