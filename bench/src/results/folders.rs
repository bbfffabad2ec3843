//! The folders of results, below `echobench` in cargo's target folder.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, ensure};

/// The folder of all runs.
pub fn home() -> PathBuf {
    target_folder().join("echobench")
}

/// The folder of the last complete conformance outcome.
pub fn conformance_home() -> PathBuf {
    home().join("conformance")
}

/// Makes a folder for a run that starts now, named by the time. Runs that start within the same second
/// have one each.
pub fn new_folder() -> anyhow::Result<PathBuf> {
    make(&home())?;
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let name = now.replace(':', "-");
    let mut number = 1u64;
    loop {
        let folder = match number {
            1 => home().join(&name),
            _ => home().join(format!("{name}-{number}")),
        };
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            made => {
                made.with_context(|| cannot_make(&folder))?;
                return Ok(folder);
            }
        }
    }
}

/// Makes a folder for results, which must be new or empty.
pub fn claim(folder: &Path) -> anyhow::Result<()> {
    let has_content = folder
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        !has_content,
        "{} is not empty: choose another folder, so that no result is lost",
        folder.display()
    );
    make(folder)
}

/// Makes a folder, if it does not exist.
pub fn make(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| cannot_make(folder))
}

fn cannot_make(folder: &Path) -> String {
    format!("cannot make the folder {}", folder.display())
}

/// Points `latest` at a run, if it is in the folder of all runs.
pub fn point_latest_at(folder: &Path) -> anyhow::Result<()> {
    let home = home();
    match folder.file_name().filter(|_| folder.parent() == Some(&home)) {
        Some(name) => point(&home.join("latest"), Path::new(name)),
        None => Ok(()),
    }
}

/// Makes a link, or points it elsewhere, at once.
fn point(link: &Path, target: &Path) -> anyhow::Result<()> {
    let is_in_the_way = link.symlink_metadata().is_ok_and(|found| !found.is_symlink());
    ensure!(
        !is_in_the_way,
        "{} is not a link: move it away, so that it can point at the latest run",
        link.display()
    );
    let fresh = link.with_file_name(format!(".latest-{}", std::process::id()));
    // Left by a process that was killed and had the same id.
    let _ = fs::remove_file(&fresh);
    symlink(target, &fresh)
        .and_then(|()| fs::rename(&fresh, link))
        .with_context(|| format!("cannot point {} at {}", link.display(), target.display()))
}

/// Finds cargo's target folder from the executable, by the file that marks it. Variables and
/// settings can put it anywhere, and cargo runs bench targets in another folder than its own.
fn target_folder() -> PathBuf {
    let executable = env::current_exe().unwrap_or_default();
    let marked = executable
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked.map_or_else(|| PathBuf::from("target"), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_kept_in_the_target_folder() {
        assert!(home().parent().unwrap().join("CACHEDIR.TAG").is_file());
        let folders = [new_folder().unwrap(), new_folder().unwrap()];
        assert_ne!(folders[0], folders[1]);
        for folder in folders {
            assert_eq!(folder.parent(), Some(home().as_path()));
            fs::remove_dir(folder).unwrap();
        }
    }

    #[test]
    fn a_folder_with_content_cannot_be_claimed() {
        let folder = tempfile::tempdir().unwrap();
        claim(folder.path()).unwrap();
        fs::write(folder.path().join("result"), "").unwrap();
        let error = claim(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
    }

    #[test]
    fn the_link_follows_the_latest_run_and_replaces_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("latest");
        let left_over = folder.path().join(format!(".latest-{}", std::process::id()));
        symlink("killed", left_over).unwrap();
        for run in ["one", "two"] {
            point(&link, Path::new(run)).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(run));
        }
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        let error = point(&link, Path::new("three")).unwrap_err().to_string();
        assert!(error.contains("move it away"), "{error}");
        assert!(link.is_dir());
    }
}
