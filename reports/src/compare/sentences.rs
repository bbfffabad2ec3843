//! What a comparison says in words, for text and Markdown.

use record::numbers::number;
use record::words::{counted, list};

use crate::format;
use crate::metrics::{Better, CPU, ECHOES};
use crate::stats::{Estimate, Relation};

use super::cell::{COMPARED, Cell, Class, Compared};
use super::runs::{Kind, RunComparison, Side};

/// An interval whose ends differ by more than this factor only shows that there were too few blocks.
const WIDEST: f64 = 1000.0;

/// Fewer servers that move together are no sign of the machine.
const ENOUGH_SERVERS: usize = 3;

/// As many items of a list are shown.
const MOST_SHOWN: usize = 8;

/// A ratio as a change in percent: `-9.8% (-12.0% to -7.5%)`.
pub(super) fn change(ratio: &Estimate) -> String {
    let percent = |ratio: f64| format!("{:+.1}%", (ratio - 1.0) * 100.0);
    let value = percent(ratio.value);
    match ratio.interval {
        Some(ends) if ends.high > ends.low * WIDEST => format!("{value} (too wide)"),
        Some(ends) => format!("{value} ({} to {})", percent(ends.low), percent(ends.high)),
        None => format!("{value} (no interval)"),
    }
}

/// `2 regressed, 1 improved, 9 no change`.
pub(super) fn headline(comparison: &RunComparison) -> String {
    let classes = [
        Class::Regressed,
        Class::Improved,
        Class::NoChange,
        Class::Inconclusive,
        Class::NotCompared,
    ];
    let counts = classes.map(|class| (comparison.count(class), class.word()));
    let some: Vec<String> = { counts.iter() }
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match some.is_empty() {
        true => "nothing is compared".into(),
        false => some.join(", "),
    }
}

/// A run in one line: `quick, began 2026-03-01T10:00:00Z, built from 0123456789ab`.
pub(super) fn side(side: &Side) -> String {
    let source = side.commit.as_deref().unwrap_or("an unknown source");
    format!("{}, began {}, built from {source}", side.suite, side.started_at)
}

/// What the differences mean, and what else makes the comparison doubtful.
pub(super) fn doubts(comparison: &RunComparison) -> Vec<String> {
    let mut groups: Vec<_> = comparison
        .differences
        .iter()
        .map(|difference| difference.group)
        .collect();
    groups.dedup();
    let mut doubts: Vec<String> = groups.iter().map(|group| group.meaning().to_owned()).collect();
    if groups.is_empty() {
        doubts.push(
            "No difference of machine, kernel, build or measurement is recorded; what is not recorded can differ."
                .into(),
        );
    }
    doubts.extend(same_dirty_source(comparison));
    for (name, side) in [("BASE", &comparison.base), ("NEW", &comparison.new)] {
        doubts.extend(side.warnings.iter().map(|warning| format!("{name}: {warning}")));
    }
    doubts.extend(common_changes(comparison));
    doubts.extend(changed_reference(comparison));
    doubts
}

/// What the ratios are, and what their intervals leave out.
pub(super) fn method(comparison: &RunComparison) -> Vec<String> {
    let together = format!(
        "If nothing differs between the runs, at most {} in 100 comparisons call any of their ratios changed: the \
         intervals of {} hold together.",
        number(comparison.error_rate * 100.0).trim_end_matches(".00"),
        counted(comparison.cells, "ratio"),
    );
    let kind = match comparison.reference.is_empty() {
        true => "The intervals have the noise between the blocks of both runs. They do not have what differs from one \
                 run to the next: without a reference (--reference), a change of the machine between the runs cannot \
                 be told from a change of the servers."
            .into(),
        false => format!(
            "Each ratio is that of the server to {} in NEW, divided by the same in BASE: what slows all servers \
             alike cancels. {} for unchanged: a change of it, or one of the machine that meets servers unequally, is in \
             every ratio.",
            list(&comparison.reference),
            match comparison.reference.len() {
                1 => "It is taken",
                _ => "Their mean is taken",
            }
        ),
    };
    vec![kind, together]
}

/// `only in BASE: the server fork and the scenario 1-connection`; a line for each run.
pub(super) fn only_in_one(comparison: &RunComparison) -> Vec<String> {
    let of_side = |in_base: bool| {
        let own = comparison
            .only_in_one
            .iter()
            .filter(|only| only.in_base == in_base);
        let named: Vec<String> = own
            .map(|only| match only.kind {
                Kind::Scenario => format!("the scenario {}", only.name),
                Kind::Server => format!("the server {}", only.name),
            })
            .collect();
        let side = if in_base { "BASE" } else { "NEW" };
        (!named.is_empty()).then(|| format!("only in {side}: {}", list(&named)))
    };
    [true, false].into_iter().filter_map(of_side).collect()
}

/// The first items of a list, and how many more there are.
pub(super) fn first(items: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = items.iter().take(MOST_SHOWN).cloned().collect();
    if items.len() > MOST_SHOWN {
        shown.push(format!("and {} more", items.len() - MOST_SHOWN));
    }
    shown
}

/// Two builds of one commit with uncommitted changes need not be the same program.
fn same_dirty_source(comparison: &RunComparison) -> Option<String> {
    let (base, new) = (comparison.base.commit.as_ref()?, comparison.new.commit.as_ref()?);
    (base == new && base.ends_with("-dirty")).then(|| {
        format!("Both were built from {base}, with uncommitted changes, so they can be different programs.")
    })
}

/// All servers of a scenario that moved the same way: as a change of the machine would move them. With a
/// reference that is taken out, as far as it can be.
fn common_changes(comparison: &RunComparison) -> Vec<String> {
    if !comparison.reference.is_empty() {
        return Vec::new();
    }
    let compared = COMPARED
        .iter()
        .filter(|compared| [ECHOES, CPU].contains(&compared.key));
    let sentence = |compared: &Compared| {
        let places = comparison.scenarios.iter().filter_map(|scenario| {
            let cells = scenario.servers.iter().flat_map(|server| &server.cells);
            let own: Vec<_> = cells.filter(|cell| cell.metric == compared.key).collect();
            let logs: Vec<f64> = own
                .iter()
                .filter_map(|cell| Some(cell.ratio?.value.ln()))
                .collect();
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            let all_alike = logs.iter().all(|log| log.signum() == mean.signum());
            let margin = own.first()?.margin;
            (logs.len() >= ENOUGH_SERVERS && all_alike && mean.abs() > margin.ln_1p())
                .then(|| (scenario.name.clone(), mean))
        });
        let (worse, better): (Vec<_>, Vec<_>) = places.partition(|(_, mean)| match compared.better {
            Better::Higher => *mean < 0.0,
            Better::Lower => *mean > 0.0,
        });
        let told = |places: Vec<(String, f64)>, how: &str, machine: &str| {
            let named: Vec<String> = { places.iter() }
                .map(|(name, mean)| format!("{name} (on average {} times BASE)", number(mean.exp())))
                .collect();
            (!named.is_empty()).then(|| {
                format!(
                    "All servers are {how} by {} in {}: so they would be if the machine had become {machine}.",
                    compared.title,
                    list(&named)
                )
            })
        };
        [told(worse, "worse", "slower"), told(better, "better", "faster")]
    };
    compared.flat_map(sentence).flatten().collect()
}

/// A reference that is not what it was by itself.
fn changed_reference(comparison: &RunComparison) -> Option<String> {
    let changed = comparison.cells().filter(|(_, _, cell)| {
        let is_clear = |ratio: &Estimate| {
            let relation = ratio.relation(cell.margin);
            matches!(relation, Some(Relation::Less | Relation::Greater))
        };
        cell.class == Class::Reference && cell.ratio.as_ref().is_some_and(is_clear)
    });
    let named: Vec<String> = changed
        .map(|(scenario, server, cell)| {
            let title = cell.compared().title;
            format!(
                "{} of {} in {} ({})",
                title,
                server.server,
                scenario.name,
                ratio(cell)
            )
        })
        .collect();
    (!named.is_empty()).then(|| {
        format!(
            "The reference is not what it was: {}. If that is the machine, it cancels; if the reference was changed, \
             it is in the ratios of all others.",
            list(&first(&named))
        )
    })
}

/// The ratio with its interval, or why there is none.
pub(super) fn ratio(cell: &Cell) -> String {
    cell.ratio.as_ref().map_or("-".into(), format::ratio)
}
