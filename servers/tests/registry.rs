//! Checks the registry against the source tree and both READMEs, and the rule for unsafe code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use servers::models::{self, MODELS, NOT_BUILT};

/// The sections of a model's documentation, in this order.
const SECTIONS: [&str; 6] = [
    "What it is:",
    "The loop:",
    "What it costs:",
    "When it wins:",
    "Manual pages:",
    "Read next:",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn source(model: &str) -> String {
    let file = format!("servers/src/models/{}.rs", model.replace('-', "_"));
    fs::read_to_string(root().join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn documentation(model: &str) -> String {
    source(model)
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn file_names() -> BTreeSet<String> {
    let files = fs::read_dir(root().join("servers/src/models")).unwrap();
    let name = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().replace('_', "-");
    let names = files.map(|entry| name(entry.unwrap().path()));
    names.filter(|name| name != "mod").collect()
}

#[test]
fn every_file_is_a_model_and_every_model_has_a_file() {
    let built = MODELS.iter().map(|model| model.name());
    let models: BTreeSet<String> = built
        .chain(NOT_BUILT.iter().copied())
        .map(str::to_owned)
        .collect();
    assert_eq!(file_names(), models);
    assert_eq!(
        models.len(),
        MODELS.len() + NOT_BUILT.len(),
        "a model is in one of the two lists"
    );
}

#[test]
fn only_an_exact_name_finds_a_model() {
    for model in MODELS {
        assert_eq!(models::find(model.name()).unwrap().name(), model.name());
    }
    assert!(models::find("epol").is_none() && models::find("").is_none());
    for name in NOT_BUILT {
        assert!(models::find(name).is_none() && models::left_out(name).is_some());
    }
    assert!(models::left_out("epoll").is_none() && models::left_out("epol").is_none());
}

#[test]
fn the_readme_has_a_row_for_each_model_in_order() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let table = readme
        .split("| model | family | what it is |")
        .nth(1)
        .expect("README.md has the table");
    // Models that are not built have rows too, but this build does not know their content.
    let (left_out, rows): (Vec<&str>, Vec<&str>) = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .partition(|row| {
            NOT_BUILT
                .iter()
                .any(|name| row.starts_with(&format!("| `{name}` |")))
        });
    let expected: Vec<String> = MODELS
        .iter()
        .map(|model| {
            format!(
                "| `{}` | {} | {} |",
                model.name(),
                model.family(),
                model.summary()
            )
        })
        .collect();
    assert_eq!(rows, expected);
    assert_eq!(left_out.len(), NOT_BUILT.len());
}

#[test]
fn the_documentation_of_each_model_has_the_same_sections_in_order() {
    for model in MODELS {
        let text = documentation(model.name());
        assert!(
            text.starts_with(&format!(" # `{}`: ", model.name())),
            "{}: the title",
            model.name()
        );
        let places: Vec<_> = SECTIONS
            .iter()
            .map(|section| text.find(&format!("\n {section}")))
            .collect();
        assert!(
            places.iter().all(Option::is_some),
            "{}: missing section: {places:?}",
            model.name()
        );
        assert!(places.is_sorted(), "{}: sections are out of order", model.name());
        let steps = text
            .lines()
            .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
            .count();
        assert_eq!(steps, 4, "{}: the loop must have four steps", model.name());
    }
}

#[test]
fn read_next_visits_every_model_once_in_the_order_of_the_registry() {
    let first = MODELS[0].name().to_owned();
    let mut read = vec![first.clone()];
    while let next = read_next(&read[read.len() - 1])
        && next != first
    {
        assert!(!read.contains(&next), "{next} appears twice: {read:?}");
        read.push(next);
    }
    assert_eq!(read.iter().cloned().collect::<BTreeSet<_>>(), file_names());
    read.retain(|name| models::find(name).is_some());
    let registered: Vec<_> = MODELS.iter().map(|model| model.name()).collect();
    assert_eq!(read, registered);
}

/// The model that the documentation names under "Read next".
fn read_next(model: &str) -> String {
    let text = documentation(model);
    let next = text.split("Read next: `").nth(1);
    let next = next.and_then(|rest| rest.split('`').next());
    next.unwrap_or_else(|| panic!("{model} does not name the next model"))
        .into()
}

/// The maximum width of a figure, which fits into a narrow terminal.
const FIGURE_COLUMNS: usize = 78;

/// The explanations in `servers/README.md`: sections one level below those of the families,
/// whose headings contain the family as code.
fn explanations() -> Vec<Explanation> {
    let text = fs::read_to_string(root().join("servers/README.md")).unwrap();
    let mut found = Vec::new();
    for part in text.split("\n## ").skip(1) {
        let mut sections = part.split("\n### ");
        let family = sections
            .next()
            .and_then(|introduction| introduction.split('`').nth(1));
        for section in sections {
            let (heading, text) = section.split_once('\n').unwrap();
            let parts = heading.strip_prefix("[`").and_then(|rest| rest.split_once("`]("));
            let (name, link) = parts.unwrap_or_else(|| panic!("`{heading}` does not link to a model"));
            found.push(Explanation {
                name: name.into(),
                file: link.trim_end_matches(')').into(),
                family: family.unwrap_or_default().into(),
                text: text.into(),
            });
        }
    }
    found
}

struct Explanation {
    name: String,
    file: String,
    family: String,
    text: String,
}

#[test]
fn the_readme_explains_every_model_in_reading_order_under_its_family() {
    let explanations = explanations();
    // A model that is not built has an explanation but is not in the registry.
    let mut rest = explanations.iter();
    for model in MODELS {
        let name = model.name();
        let explanation = rest.find(|explanation| explanation.name == name);
        let explanation = explanation.unwrap_or_else(|| panic!("{name} has no heading at this place"));
        assert_eq!(explanation.family, model.family().to_string(), "{name}");
    }
    let names: BTreeSet<_> = explanations.iter().map(|explanation| &explanation.name).collect();
    assert_eq!(names.len(), explanations.len(), "a model is explained once");
}

#[test]
fn every_explanation_links_to_the_source_file_of_its_model() {
    for Explanation { name, file, .. } in explanations() {
        assert_eq!(file, format!("src/models/{}.rs", name.replace('-', "_")));
        assert!(
            root().join("servers").join(&file).exists(),
            "{file} does not exist"
        );
    }
}

#[test]
fn every_explanation_has_a_figure_a_textbook_paragraph_and_a_measurement() {
    for Explanation { name, text, .. } in explanations() {
        let parts: Vec<&str> = text.split("```\n").collect();
        assert!(parts.len() >= 3, "{name} has no figure");
        let figure = parts[1];
        assert!(!figure.trim().is_empty(), "{name}: the figure is empty");
        for line in figure.lines() {
            assert!(line.len() <= FIGURE_COLUMNS, "{name}: too wide: {line}");
        }
        let prose = parts[2];
        let begins = |start: &str| prose.lines().any(|line| line.starts_with(start));
        assert!(begins("The textbook"), "{name} lacks the textbook paragraph");
        assert!(begins("Measured: "), "{name} lacks the measurement");
    }
}

#[test]
fn only_the_system_call_wrappers_and_the_uring_engine_contain_unsafe_code() {
    let permitted = ["servers/src/sys", "loadgen/src/engine/uring"].map(|folder| root().join(folder));
    assert!(permitted.iter().all(|folder| folder.is_dir()));
    let mut checked = 0;
    let mut stack = vec![root()];
    while let Some(folder) = stack.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
            if path.is_dir() && !hidden && !path.ends_with("target") && !permitted.contains(&path) {
                stack.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                checked += 1;
                assert_eq!(
                    unsafe_line(&fs::read_to_string(&path).unwrap()),
                    None,
                    "{}",
                    path.display()
                );
            }
        }
    }
    assert!(checked > 20, "only {checked} files were checked");
}

/// The first line with the keyword, or with an attribute that permits it.
fn unsafe_line(text: &str) -> Option<&str> {
    text.lines().find(|line| {
        let code = line.split("//").next().unwrap_or("");
        let keyword = concat!("un", "safe");
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| word == keyword) || code.contains(concat!("allow(un", "safe_code"))
    })
}

#[test]
fn the_search_for_unsafe_code_works() {
    let keyword = concat!("un", "safe");
    assert!(unsafe_line(&format!("let x = {keyword} {{ f() }};")).is_some());
    assert!(unsafe_line(&format!("#![allow({keyword}_code)]")).is_some());
    assert!(unsafe_line(&format!("// not {keyword}")).is_none());
}
