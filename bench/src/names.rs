//! Names on the command line and in suites: finding models, and suggestions for typos.

use std::collections::HashSet;

use anyhow::{Context, ensure};
use servers::models::{self, MODELS, Model};

/// The model of that name; the error suggests the nearest.
pub fn model(name: &str) -> anyhow::Result<&'static dyn Model> {
    models::find(name).with_context(|| match models::left_out(name) {
        Some(reason) => format!("there is a model `{name}`, but {reason}"),
        None => format!(
            "there is no model `{name}`: `echobench list` shows them{}",
            suggestion(name, MODELS.iter().map(|model| model.name()))
        ),
    })
}

/// Names are parts of file names, and heads of columns.
const LONGEST: usize = 100;

/// Checks that a server or a scenario may have this name.
pub fn check(name: &str) -> anyhow::Result<()> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    ensure!(
        (1..=LONGEST).contains(&name.len()) && name.chars().all(plain),
        "{name:?} is not a name: use 1 to {LONGEST} letters, digits, `-`, `_` and `.`"
    );
    Ok(())
}

/// Checks that a server that is not a model may have this name.
pub fn check_free(name: &str) -> anyhow::Result<()> {
    check(name)?;
    ensure!(
        models::find(name).is_none() && models::left_out(name).is_none(),
        "`{name}` is the name of a model: choose another name"
    );
    Ok(())
}

/// Checks that no two servers of the user have the same name. ([`check_free`] refuses the names of
/// models.)
pub fn check_distinct<'a>(names: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        ensure!(seen.insert(name), "two servers have the name `{name}`");
    }
    Ok(())
}

/// The name nearest to a mistyped one, as the end of a sentence; empty if none is near.
pub fn suggestion<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> String {
    let distance = |name: &&str| strsim::damerau_levenshtein(typed, name);
    match names.min_by_key(distance) {
        Some(name) if distance(&name) <= 2 => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        let longest = "x".repeat(LONGEST);
        for name in ["a", "1.2_b-C", longest.as_str()] {
            assert!(check(name).is_ok(), "{name}");
        }
        let too_long = format!("{longest}x");
        for name in ["", "a/b", "a\tb", "a b", "é", "a\n", too_long.as_str()] {
            let error = check(name).unwrap_err().to_string();
            assert!(error.contains("1 to 100 letters"), "{error}");
        }
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let names = || ["epoll", "fork"].into_iter();
        assert_eq!(suggestion("epol", names()), "; did you mean `epoll`?");
        assert_eq!(suggestion("nothing-like-it", names()), "");
    }
}
