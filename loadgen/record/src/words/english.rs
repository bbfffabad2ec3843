//! Counts and lists in sentences.

use crate::numbers::thousands;

/// A count and its noun, with a comma between thousands: `1 trial`, `1,000 connections`.
///
/// [`super::count`] has no comma: the terminal shows numbers as the command line reads them.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(count as f64))
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(names: &[impl AsRef<str>]) -> String {
    match names {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_a_plural_and_a_comma() {
        assert_eq!(counted(1, "trial"), "1 trial");
        assert_eq!(counted(1000, "trial"), "1,000 trials");
    }

    #[test]
    fn the_last_of_a_list_follows_an_and() {
        assert_eq!(list(&["a"; 0]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
    }
}
