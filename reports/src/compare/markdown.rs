//! A comparison as Markdown, for a pull request: the outcome and the changes, and the rest folded.

use crate::format;
use crate::markdown::{escaped, line};
use crate::stats::Estimate;

use super::cell::{Cell, Class};
use super::judgement::Judgement;
use super::runs::{RunComparison, ScenarioComparison, ServerComparison};
use super::sentences;

type Place<'a> = (&'a ScenarioComparison, &'a ServerComparison, &'a Cell);

/// The comparison and its conditions in Markdown.
pub fn markdown(comparison: &RunComparison, judgements: &[Judgement]) -> String {
    let mut text = format!("### echobench: {}\n\n", escaped(&sentences::headline(comparison)));
    for judgement in judgements {
        let words = judgement.outcome.words();
        text += &format!(
            "- `--fail-on '{}'` **{words}**\n",
            judgement.condition.replace('`', "")
        );
        let evidence = sentences::first(&judgement.evidence);
        text += &evidence
            .iter()
            .map(|evidence| format!("  - {}\n", escaped(evidence)))
            .collect::<String>();
    }
    if !judgements.is_empty() {
        text.push('\n');
    }
    text += &format!("BASE: {}  \n", escaped(&sentences::side(&comparison.base)));
    text += &format!("NEW: {}\n\n", escaped(&sentences::side(&comparison.new)));
    if !comparison.differences.is_empty() {
        text += &line("differs", &["", "BASE", "NEW"].map(str::to_owned));
        text += &line("---", &vec!["---".to_owned(); 3]);
        for difference in &comparison.differences {
            let cells = [&difference.what, &difference.base, &difference.new].map(|cell| escaped(cell));
            text += &line(difference.group.word(), &cells);
        }
        text.push('\n');
    }
    text += &list(&sentences::doubts(comparison));
    let is_change = |cell: &Cell| [Class::Regressed, Class::Improved].contains(&cell.class);
    text += &table(comparison.cells().filter(|(_, _, cell)| is_change(cell)));
    text += &list(&not_compared(comparison));
    text += &list(&sentences::only_in_one(comparison));
    let all = table(comparison.cells());
    if !all.is_empty() {
        text += &format!("<details><summary>Every ratio</summary>\n\n{all}</details>\n\n");
    }
    text + &list(&sentences::method(comparison))
}

/// A list, and an empty line; nothing without items.
fn list(items: &[String]) -> String {
    let mut text: String = items
        .iter()
        .map(|item| format!("- {}\n", escaped(item)))
        .collect();
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn not_compared(comparison: &RunComparison) -> Vec<String> {
    let mut found = Vec::new();
    for scenario in &comparison.scenarios {
        let refused = scenario.refused.iter();
        found.extend(refused.map(|reason| format!("{} is not compared: {reason}", scenario.name)));
        for server in &scenario.servers {
            let refused = server.refused.iter();
            let place = format!("{} in {}", server.server, scenario.name);
            found.extend(refused.map(|reason| format!("{place} is not compared: {reason}")));
            for cell in &server.cells {
                let reason = cell.reason.iter();
                found.extend(reason.map(|reason| format!("{place}, {}: {reason}", cell.compared().title)));
            }
        }
    }
    found
}

/// A table of cells, and an empty line; nothing without cells.
fn table<'a>(cells: impl Iterator<Item = Place<'a>>) -> String {
    let rows: String = cells.map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    let head = ["server", "", "BASE", "NEW", "NEW / BASE", "change"].map(str::to_owned);
    let rule = ["---", "---", "--:", "--:", "---", "---"].map(str::to_owned);
    format!("{}{}{rows}\n", line("scenario", &head), line("---", &rule))
}

fn row((scenario, server, cell): Place) -> String {
    let scale = cell.compared().metric().scale;
    let shown = |estimate: Option<Estimate>| {
        estimate.map_or("–".into(), |estimate| format::value(&estimate, scale))
    };
    let class = match cell.class {
        Class::Regressed | Class::Improved => format!("**{}**", cell.class.word()),
        other => other.word().into(),
    };
    let cells = [
        format!("`{}`", server.server.replace(['`', '|'], "")),
        cell.compared().title.into(),
        shown(cell.base),
        shown(cell.new),
        sentences::ratio(cell),
        class,
    ];
    line(&escaped(&scenario.name), &cells)
}
