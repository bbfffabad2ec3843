//! The folders of results, below `echobench` in cargo's target folder.

use std::env;
use std::fs;
use std::io;
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

/// A folder for a run that starts now, named by the time.
pub fn new_folder() -> PathBuf {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let name = now.replace(':', "-");
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut folders = [name.clone()]
        .into_iter()
        .chain(numbered)
        .map(|name| home().join(name));
    folders
        .find(|folder| !folder.exists())
        .unwrap_or_else(|| home().join(&name))
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
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Points `latest` at a run, if it is in the folder of all runs.
pub fn point_latest_at(folder: &Path) -> io::Result<()> {
    let Some(name) = folder.file_name().filter(|_| folder.parent() == Some(&home())) else {
        return Ok(());
    };
    let fresh = home().join(format!(".latest-{}", std::process::id()));
    symlink(name, &fresh)?;
    fs::rename(&fresh, home().join("latest"))
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
        assert_eq!(new_folder().parent(), Some(home().as_path()));
    }

    #[test]
    fn a_folder_with_content_cannot_be_claimed() {
        let folder = tempfile::tempdir().unwrap();
        claim(folder.path()).unwrap();
        fs::write(folder.path().join("result"), "").unwrap();
        let error = claim(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
    }
}
