//! The results as a matrix for people: servers down, cases across, reasons below.

use std::fmt::Write as _;

use super::{CaseResult, Outcome};

/// Lays out results in the order in which they come.
pub fn table(results: &[CaseResult]) -> String {
    let models = distinct(results.iter().map(|result| result.model.as_str()));
    let cases = distinct(results.iter().map(|result| result.case.as_str()));
    let width = models.iter().map(|model| model.len()).max().unwrap_or(0);
    let mut text = row(width, "", cases.iter().copied());
    for model in models {
        let cell = |case: &&str| {
            let mut all = results.iter();
            let found = all.find(|result| result.model == model && result.case == *case);
            found.map_or("-", |result| word(&result.outcome))
        };
        text += &row(width, model, cases.iter().map(cell));
    }
    text + &notes(results)
}

fn row<'a>(width: usize, head: &str, cells: impl Iterator<Item = &'a str>) -> String {
    let mut line = format!("{head:width$}");
    for cell in cells {
        // Writing to a string does not fail.
        let _ = write!(line, "  {cell:4}");
    }
    line.trim_end().to_string() + "\n"
}

/// Why, for everything that did not simply pass.
fn notes(results: &[CaseResult]) -> String {
    let mut text = String::new();
    for result in results {
        let (Outcome::Fail { evidence: why }
        | Outcome::NotApplicable { reason: why }
        | Outcome::Skipped { reason: why }) = &result.outcome
        else {
            continue;
        };
        let head = format!("{} {} {}", result.model, result.case, word(&result.outcome));
        let _ = write!(text, "\n{head}: {}", why.replace('\n', "\n    "));
    }
    if text.is_empty() { text } else { text + "\n" }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail { .. } => "FAIL",
        Outcome::NotApplicable { .. } => "n.a.",
        Outcome::Skipped { .. } => "skip",
    }
}

fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(model: &str, case: &str, outcome: Outcome) -> CaseResult {
        CaseResult {
            case: case.into(),
            model: model.into(),
            outcome,
            seconds: 0.1,
        }
    }

    #[test]
    fn servers_stand_below_each_other_and_reasons_below_the_matrix() {
        let results = [
            result("iterative", "C1", Outcome::Pass),
            result(
                "iterative",
                "C13",
                Outcome::NotApplicable {
                    reason: "one at a time".into(),
                },
            ),
            result(
                "epoll",
                "C1",
                Outcome::Fail {
                    evidence: "byte 3 is wrong\nand more".into(),
                },
            ),
        ];
        let expected = "           C1    C13
iterative  pass  n.a.
epoll      FAIL  -

iterative C13 n.a.: one at a time
epoll C1 FAIL: byte 3 is wrong
    and more
";
        assert_eq!(table(&results), expected);
    }
}
