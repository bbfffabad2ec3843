//! Baselines: records of runs that are kept under a name, so that later runs can be compared with them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::{RECORDS, home, make};
use crate::names;

/// The folder of all baselines.
fn folder() -> PathBuf {
    home().join("baselines")
}

/// The records of a baseline, whether it exists or not.
fn records(name: &str) -> PathBuf {
    folder().join(name).join(RECORDS)
}

/// Checks that a baseline may have this name.
pub fn check(name: &str) -> anyhow::Result<()> {
    names::check(name)?;
    ensure!(
        !name.starts_with('.'),
        "a baseline cannot be named {name:?}: begin with a letter or a digit"
    );
    Ok(())
}

/// Keeps a copy of the records of a run under a name. It replaces an earlier one at once.
pub fn save(name: &str, run: &Path) -> anyhow::Result<PathBuf> {
    check(name)?;
    let kept = records(name);
    let own = folder().join(name);
    make(&own)?;
    let fresh = own.join(format!(".{RECORDS}-{}", std::process::id()));
    fs::copy(run.join(RECORDS), &fresh)
        .and_then(|_| fs::rename(&fresh, &kept))
        .with_context(|| format!("cannot keep the run as {}", kept.display()))?;
    Ok(kept)
}

/// The records that an argument names: a baseline, or else the folder or the file of a run.
pub fn find(argument: &str) -> anyhow::Result<PathBuf> {
    let kept = Some(records(argument)).filter(|kept| check(argument).is_ok() && kept.is_file());
    let path = kept.unwrap_or_else(|| PathBuf::from(argument));
    ensure!(
        path.exists(),
        "there is no run `{argument}`: give its folder, its {RECORDS}, or the name of a baseline{}",
        known(argument)
    );
    Ok(path)
}

/// The names of all baselines, as the end of a sentence.
fn known(typed: &str) -> String {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten();
    let mut known: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| records(name).is_file())
        .collect();
    known.sort();
    match known.is_empty() {
        true => "; there is none yet, and `echobench run --save-baseline NAME` keeps one".into(),
        false => format!(
            " ({}){}",
            known.join(", "),
            names::suggestion(typed, known.iter().map(String::as_str))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unique, as all tests share the folder of results.
    fn name(test: &str) -> String {
        format!("test-{test}-{}", std::process::id())
    }

    #[test]
    fn a_baseline_is_kept_replaced_and_found_by_its_name() {
        let (run, name) = (tempfile::tempdir().unwrap(), name("kept"));
        for text in ["one\n", "two\n"] {
            fs::write(run.path().join(RECORDS), text).unwrap();
            let kept = save(&name, run.path()).unwrap();
            assert_eq!(find(&name).unwrap(), kept);
            assert_eq!(fs::read_to_string(&kept).unwrap(), text);
        }
        let mistyped = format!("{name}x");
        let error = find(&mistyped).unwrap_err().to_string();
        let left: Vec<_> = fs::read_dir(folder().join(&name)).unwrap().flatten().collect();
        fs::remove_dir_all(folder().join(&name)).unwrap();
        assert!(error.contains(&format!("did you mean `{name}`?")), "{error}");
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_path_is_a_run_and_no_name_leads_out_of_the_folder() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(find(run.path().to_str().unwrap()).unwrap(), run.path());
        for name in ["..", ".hidden", "a/b", ""] {
            assert!(save(name, run.path()).is_err(), "{name:?}");
        }
        let error = find("missing/run").unwrap_err().to_string();
        assert!(
            error.contains("`missing/run`") && error.contains("baseline"),
            "{error}"
        );
    }
}
