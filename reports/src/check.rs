//! Checks a report against the records it was drawn from.
//!
//! The file is parsed without any of the code that wrote it; the expected numbers are computed
//! again from the records.

use record::{Measured, Records, Trial};
use roxmltree::{Document, Node, ParsingOptions};

use crate::achievement::Achievement;
use crate::behaviour::{Behaviour, Cell as CaseCell, Column};
use crate::chart;
use crate::html::{self, Cell, LARGEST};
use crate::row::Row;
use crate::scenario::ScenarioSummary;
use crate::summary::Summary;

/// The problems of a report, a sentence each; empty when it agrees with the records.
pub fn check(html: &str, records: &Records) -> Vec<String> {
    if html.len() > LARGEST {
        return vec![format!("the file has {} bytes, more than {LARGEST}", html.len())];
    }
    if !read_alike(html) {
        return vec![
            "the file has a comment, a section or a declaration that a browser reads differently".into(),
        ];
    }
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    let document = match Document::parse_with_options(html, options) {
        Ok(document) => document,
        Err(error) => return vec![format!("the file is not well-formed: {error}")],
    };
    let mut problems = Problems(Vec::new());
    if let Some(Measured { run, trials }) = &records.measured {
        let summary = Summary::of(run, trials);
        verdicts(&document, &summary, &mut problems);
        tables(&document, &summary, &mut problems);
        figures(&document, &summary, trials, &mut problems);
    }
    let conformance = records.conformance.as_ref();
    behaviour(&document, conformance.map(Behaviour::of).as_ref(), &mut problems);
    policy(&document, &mut problems);
    references(&document, &mut problems);
    problems.0
}

/// Whether a browser sees the elements that an XML parser sees. They differ in comments,
/// sections, instructions and the entities of a document type.
fn read_alike(html: &str) -> bool {
    let body = html.strip_prefix("<!DOCTYPE html>\n");
    body.is_some_and(|body| !body.contains("<!") && !body.contains("<?"))
}

struct Problems(Vec<String>);

impl Problems {
    fn unless(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(problem());
        }
    }

    /// Reports a difference between the file and the records.
    fn same(&mut self, place: &str, found: Option<&str>, expected: Option<&str>) {
        let or_nothing = |text: Option<&str>| text.map_or("nothing".to_owned(), |text| format!("{text:?}"));
        self.unless(found == expected, || {
            format!(
                "{place}: the file has {}, the records give {}",
                or_nothing(found),
                or_nothing(expected)
            )
        });
    }
}

type Element<'a> = Node<'a, 'a>;

fn elements<'a>(document: &'a Document<'a>, tag: &'static str) -> impl Iterator<Item = Element<'a>> {
    document.descendants().filter(move |node| node.has_tag_name(tag))
}

fn text(node: Element<'_>) -> String {
    node.descendants()
        .filter(Node::is_text)
        .filter_map(|node| node.text())
        .collect()
}

fn with<'a>(node: Element<'a>, attribute: &'a str) -> impl Iterator<Item = (Element<'a>, &'a str)> {
    node.descendants()
        .filter_map(move |node| Some((node, node.attribute(attribute)?)))
}

/// The elements for the scenarios, which must be those of the summary.
fn of_scenarios<'a>(
    document: &'a Document<'a>,
    tag: &'static str,
    summary: &Summary,
    problems: &mut Problems,
) -> Vec<Element<'a>> {
    let marked = elements(document, tag).filter_map(|node| Some((node, node.attribute("data-scenario")?)));
    let (nodes, found): (Vec<_>, Vec<_>) = marked.unzip();
    let expected: Vec<&str> = summary
        .scenarios
        .iter()
        .map(|scenario| scenario.name.as_str())
        .collect();
    problems.unless(found == expected, || {
        format!("<{tag}>: the scenarios are {found:?} instead of {expected:?}")
    });
    nodes
}

fn verdicts<'a>(document: &'a Document<'a>, summary: &Summary, problems: &mut Problems) {
    let rows = of_scenarios(document, "tr", summary, problems);
    for (row, scenario) in rows.iter().zip(&summary.scenarios) {
        let cells: Vec<(Element<'_>, &str)> = with(*row, "data-verdict").collect();
        problems.unless(cells.len() == scenario.verdicts.len(), || {
            format!(
                "{}: {} verdicts instead of {}",
                scenario.name,
                cells.len(),
                scenario.verdicts.len()
            )
        });
        for ((cell, measure), verdict) in cells.iter().zip(&scenario.verdicts) {
            let place = format!("verdict on {measure} in {}", scenario.name);
            problems.same(&place, Some(measure), Some(verdict.metric));
            problems.same(
                &place,
                cell.attribute("data-decision"),
                Some(verdict.decision.word()),
            );
            let leaders: Vec<String> = with(*cell, "data-leader").map(|(node, _)| text(node)).collect();
            problems.unless(leaders == verdict.leaders, || {
                format!(
                    "{place}: the file names {leaders:?}, the records give {:?}",
                    verdict.leaders
                )
            });
            let all = text(*cell);
            problems.unless(all.contains(&verdict.evidence.to_string()), || {
                format!("{place}: the evidence differs")
            });
        }
        let all = text(*row);
        for sentence in { scenario.achievement.iter() }.flat_map(Achievement::sentences) {
            problems.unless(all.contains(&sentence), || {
                format!("verdict in {}: {sentence:?} is missing", scenario.name)
            });
        }
        for caveat in scenario.caveats.iter().map(ToString::to_string) {
            problems.unless(all.contains(&caveat), || {
                format!("verdict in {}: {caveat:?} is missing", scenario.name)
            });
        }
    }
}

fn tables<'a>(document: &'a Document<'a>, summary: &Summary, problems: &mut Problems) {
    let tables = of_scenarios(document, "table", summary, problems);
    for (table, scenario) in tables.iter().zip(&summary.scenarios) {
        let rows: Vec<(Element<'_>, &str)> = with(*table, "data-server").collect();
        let found: Vec<&str> = rows.iter().map(|(_, server)| *server).collect();
        let expected: Vec<&str> = scenario.rows.iter().map(|row| row.server.as_str()).collect();
        problems.unless(found == expected, || {
            format!("{}: rows of {found:?} instead of {expected:?}", scenario.name)
        });
        for ((node, _), row) in rows.iter().zip(&scenario.rows) {
            table_row(*node, scenario, row, problems);
        }
    }
}

fn table_row(node: Element<'_>, scenario: &ScenarioSummary, row: &Row, problems: &mut Problems) {
    let place = format!("{} in {}", row.server, scenario.name);
    let found: Vec<(Element<'_>, &str)> = with(node, "data-measure").collect();
    let expected = html::cells(row, scenario.plan.loop_kind());
    problems.unless(found.len() == expected.len(), || {
        format!("{place}: {} numbers instead of {}", found.len(), expected.len())
    });
    for ((node, key), cell) in found.iter().zip(&expected) {
        let place = format!("{key} of {place}");
        problems.same(&place, Some(key), Some(cell.key));
        number(*node, &place, cell, problems);
    }
    let fields = [
        ("answered", row.answered()),
        ("errors", row.errors_by_kind()),
        ("trials", row.trials.to_string()),
    ];
    for (field, expected) in fields {
        let found = with(node, "data-field")
            .find(|(_, name)| *name == field)
            .map(|(node, _)| text(node));
        problems.same(&format!("{field} of {place}"), found.as_deref(), Some(&expected));
    }
}

/// Checks the value for programs and the text for people.
fn number(node: Element<'_>, place: &str, cell: &Cell, problems: &mut Problems) {
    let shown = cell.shown.as_ref();
    let ends = shown.and_then(|shown| shown.ends);
    let attributes = [
        ("data-value", shown.map(|shown| shown.value)),
        ("data-low", ends.map(|ends| ends.low)),
        ("data-high", ends.map(|ends| ends.high)),
    ];
    for (name, expected) in attributes {
        let found = node.attribute(name);
        let agrees = match (found, expected) {
            (Some(found), Some(expected)) => found.parse::<f64>().is_ok_and(|value| value == expected),
            (None, None) => true,
            _ => false,
        };
        problems.unless(agrees, || {
            format!("{name} of {place}: the file has {found:?}, the records give {expected:?}")
        });
    }
    let bound = shown.and_then(|shown| shown.at_least.then_some("lower"));
    problems.same(
        &format!("data-bound of {place}"),
        node.attribute("data-bound"),
        bound,
    );
    let expected = shown.map_or("–".to_owned(), |shown| format!("{}{}", shown.text, shown.range));
    problems.same(&format!("text of {place}"), Some(&text(node)), Some(&expected));
}

fn figures<'a>(document: &'a Document<'a>, summary: &Summary, trials: &[Trial], problems: &mut Problems) {
    let expected = match chart::draw(summary, trials) {
        Ok(figures) => figures,
        Err(error) => {
            return problems
                .0
                .push(format!("the figures cannot be drawn again: {error}"));
        }
    };
    let found: Vec<Element<'_>> = elements(document, "figure").collect();
    let ids: Vec<&str> = found
        .iter()
        .filter_map(|figure| figure.attribute("data-figure"))
        .collect();
    let expected_ids: Vec<&str> = expected.iter().map(|figure| figure.id).collect();
    problems.unless(ids == expected_ids, || {
        format!("figures: {ids:?} instead of {expected_ids:?}")
    });
    for (node, figure) in found.iter().zip(&expected) {
        let place = format!("figure {}", figure.id);
        let caption = figure.caption.to_string();
        let found = node
            .children()
            .find(|node| node.has_tag_name("figcaption"))
            .map(text);
        problems.same(&place, found.as_deref(), Some(&caption));
        problems.same(&place, node.attribute("aria-label"), Some(&caption));
        problems.same(&place, node.attribute("role"), Some("img"));
        for scenario in &summary.scenarios {
            for row in scenario.measured() {
                problems.unless(shows(*node, &scenario.name, &row.server), || {
                    format!("{place}: {} is missing in {}", row.server, scenario.name)
                });
            }
        }
    }
}

/// Whether every panel of a scenario draws the server and there is at least one, or the figure
/// lists the server as absent.
fn shows(figure: Element<'_>, scenario: &str, server: &str) -> bool {
    let excused = with(figure, "data-server")
        .any(|(node, name)| name == server && node.attribute("data-scenario") == Some(scenario));
    let about = |names: &str| {
        serde_json::from_str::<Vec<String>>(names)
            .is_ok_and(|names| names.iter().any(|name| name == scenario))
    };
    let mut panels = with(figure, "data-scenarios")
        .filter(|(_, names)| about(names))
        .peekable();
    let drawn = |panel: Element<'_>| {
        with(panel, "data-server")
            .any(|(node, name)| name == server && node.descendants().any(|part| draws(&part)))
    };
    excused || (panels.peek().is_some() && panels.all(|(panel, _)| drawn(panel)))
}

fn draws(node: &Element<'_>) -> bool {
    ["polyline", "circle", "polygon"]
        .iter()
        .any(|tag| node.has_tag_name(*tag))
}

/// Checks that the matrix has every cell, and that each cell links to its evidence.
fn behaviour<'a>(document: &'a Document<'a>, expected: Option<&Behaviour>, problems: &mut Problems) {
    let mut found = elements(document, "table").filter(|table| table.has_attribute("data-behaviour"));
    let (table, behaviour) = match (found.next(), expected) {
        (Some(table), Some(behaviour)) => (table, behaviour),
        (found, expected) => {
            return problems.unless(found.is_some() == expected.is_some(), || {
                "behaviour: a matrix without records of cases, or records without a matrix".into()
            });
        }
    };
    let heads: Vec<&str> = with(table, "data-case").map(|(_, case)| case).collect();
    let ids: Vec<&str> = behaviour
        .columns
        .iter()
        .map(|column| column.id.as_str())
        .collect();
    problems.unless(heads == ids, || {
        format!("behaviour: the cases are {heads:?} instead of {ids:?}")
    });
    let rows: Vec<(Element<'_>, &str)> = with(table, "data-model").collect();
    let found: Vec<&str> = rows.iter().map(|(_, server)| *server).collect();
    let servers: Vec<&str> = behaviour.rows.iter().map(|row| row.server.as_str()).collect();
    problems.unless(found == servers, || {
        format!("behaviour: rows of {found:?} instead of {servers:?}")
    });
    for ((node, server), row) in rows.iter().zip(&behaviour.rows) {
        let cells: Vec<Element<'_>> = node.children().filter(|cell| cell.has_tag_name("td")).collect();
        problems.unless(cells.len() == row.cells.len(), || {
            format!(
                "behaviour: {} cells of {server} instead of {}",
                cells.len(),
                row.cells.len()
            )
        });
        for ((node, cell), column) in cells.iter().zip(&row.cells).zip(&behaviour.columns) {
            let place = format!("{} on {server}", column.id);
            case_cell(document, *node, &place, *cell, column, problems);
        }
    }
}

fn case_cell<'a>(
    document: &'a Document<'a>,
    node: Element<'a>,
    place: &str,
    cell: Option<CaseCell>,
    column: &Column,
    problems: &mut Problems,
) {
    let expected = cell.map_or(String::new(), |cell| {
        format!("{} {}", cell.mark.icon(), cell.mark.short())
    });
    problems.same(place, Some(&text(node)), Some(&expected));
    let Some(cell) = cell else { return };
    let target = with(node, "href").find_map(|(_, href)| href.strip_prefix('#'));
    let evidence = document
        .descendants()
        .find(|node| target.is_some() && node.attribute("id") == target)
        .map(text)
        .unwrap_or_default();
    let note = &column.notes[cell.note];
    problems.unless(
        evidence.contains(&note.text) && evidence.contains(cell.mark.word()),
        || format!("{place}: its link does not lead to its evidence: {:?}", note.text),
    );
}

fn policy<'a>(document: &'a Document<'a>, problems: &mut Problems) {
    let one = |tag| {
        let mut all = elements(document, tag).map(text);
        (all.next().unwrap_or_default(), all.next().is_none())
    };
    let ((style, one_style), (script, one_script)) = (one("style"), one("script"));
    problems.unless(one_style && one_script, || {
        "there is more than one style or script".into()
    });
    let expected = html::policy(&style, &script);
    let found: Vec<&str> = elements(document, "meta")
        .filter(|meta| {
            meta.attribute("http-equiv")
                .is_some_and(|name| name.eq_ignore_ascii_case("content-security-policy"))
        })
        .filter_map(|meta| meta.attribute("content"))
        .collect();
    problems.unless(found == [expected.as_str()], || {
        "the content security policy does not allow exactly the style and the script of the file".into()
    });
}

/// Elements that load, embed or send.
const FETCHING: [&str; 14] = [
    "audio", "base", "embed", "form", "frame", "iframe", "image", "img", "link", "object", "portal",
    "source", "use", "video",
];

/// Attributes with an address.
const NAMING: [&str; 8] = [
    "src",
    "srcset",
    "srcdoc",
    "href",
    "action",
    "formaction",
    "data",
    "poster",
];

fn references<'a>(document: &'a Document<'a>, problems: &mut Problems) {
    for node in document.descendants().filter(Node::is_element) {
        let tag = node.tag_name().name();
        problems.unless(!FETCHING.contains(&tag), || format!("<{tag}> can load something"));
        let refresh = node
            .attribute("http-equiv")
            .is_some_and(|name| name.eq_ignore_ascii_case("refresh"));
        problems.unless(!refresh, || "a meta element loads another page".into());
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            let within = name == "href" && value.starts_with('#');
            problems.unless(!NAMING.contains(&name) || within, || {
                format!("<{tag} {name}={value:?}> refers outside")
            });
            let acts = name.starts_with("on") || name == "style";
            problems.unless(!acts, || format!("<{tag} {name}> is forbidden by the policy"));
            problems.unless(name.starts_with("data-") || !fetches(value), || {
                format!("<{tag} {name}={value:?}> refers outside")
            });
        }
        let active = ["style", "script"].contains(&tag) && fetches(&text(node));
        problems.unless(!active, || format!("<{tag}> refers outside"));
    }
}

/// Whether an attribute, a style or a script refers to something to load.
fn fetches(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let calls = ["http://", "https://", "url(", "@import", "javascript:"];
    calls.iter().any(|call| value.contains(call))
}
