//! The file of a report.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// The largest report in bytes; it should fit in an email.
pub const LARGEST: usize = 3 << 20;

/// The mode of a new file, less what the umask takes.
const NEW: u32 = 0o666;

/// Writes a report. A regular file is replaced at once, so that a reader never sees half a report, and
/// keeps its mode and owner; links are followed. Into a pipe or a device the report is streamed.
pub fn write(path: &Path, page: &str) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(old) if old.is_file() => replace(&fs::canonicalize(path)?, page, Some(&old)),
        Ok(_) => File::options().write(true).open(path)?.write_all(page.as_bytes()),
        // A link to a file that is to be made.
        Err(_) if path.is_symlink() => fs::write(path, page),
        Err(error) if error.kind() == ErrorKind::NotFound => replace(path, page, None),
        Err(error) => Err(error),
    }
}

fn replace(path: &Path, page: &str, old: Option<&Metadata>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // It is removed if anything fails.
    let mut draft = tempfile::Builder::new()
        .prefix(".report-")
        .permissions(Permissions::from_mode(NEW))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    draft.write_all(page.as_bytes())?;
    if let Some(old) = old {
        // Only root may give a file away; before the mode, since it resets some bits.
        let _ = fchown(draft.as_file(), Some(old.uid()), Some(old.gid()));
        draft.as_file().set_permissions(old.permissions())?;
    }
    draft.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::Command;
    use std::{io::Read, thread};

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_and_keeps_its_mode_also_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("report.html"), folder.path().join("link"));
        write(&file, "first").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        symlink("report.html", &link).unwrap();
        write(&link, "second").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "second");
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o640);
        let dangling = folder.path().join("dangling");
        symlink("third", &dangling).unwrap();
        write(&dangling, "third").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("third")).unwrap(), "third");
        assert_eq!(names(folder.path()).len(), 4, "no draft is left");
    }

    #[test]
    fn pipes_and_devices_take_a_report_and_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut text = String::new();
                File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        write(&pipe, "page").unwrap();
        assert_eq!(reader.join().unwrap(), "page");
        assert!(!pipe.metadata().unwrap().is_file());
        write(Path::new("/dev/null"), "page").unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
    }

    #[test]
    fn a_report_that_cannot_be_written_leaves_nothing() {
        let error = write(Path::new("/dev/full"), "page").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let folder = tempfile::tempdir().unwrap();
        assert!(write(folder.path(), "page").is_err());
        assert!(write(&folder.path().join("no/report.html"), "page").is_err());
        assert!(names(folder.path()).is_empty());
    }
}
