//! The checks as text.

use record::words::plain_line;
use record::{HostCheck, HostState, Remedy};

/// Columns of the state before the text.
const WIDTH: usize = 11;

/// All checks, and a summary in the last line.
pub fn show(checks: &[HostCheck]) -> String {
    let entries: Vec<String> = checks.iter().map(entry).collect();
    format!("{}\n{}\n", entries.concat(), summary(checks))
}

/// A check that is as it should be takes a line, others say why they matter and how to mend it.
fn entry(check: &HostCheck) -> String {
    let head = format!("{:WIDTH$}{}: {}", check.state.word(), check.name, check.found);
    if check.state == HostState::Good {
        return format!("{head} ({})\n", check.read_from);
    }
    let remedy = match &check.remedy {
        Some(Remedy::Command(command)) => Some(("mend", command)),
        Some(Remedy::Elsewhere(how)) => Some(("not from here", how)),
        None => None,
    };
    let lines = [
        ("read from", &check.read_from),
        ("why", &check.why),
        ("affects", &check.affects),
    ];
    let lines = lines.into_iter().chain(remedy);
    let lines: String = lines
        .map(|(what, text)| format!("{:WIDTH$}{what}: {text}\n", ""))
        .collect();
    format!("{head}\n{lines}")
}

fn summary(checks: &[HostCheck]) -> String {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (stops, spoils) = (count(HostState::Stops), count(HostState::Spoils));
    let others = format!(
        "{} worth knowing, {} not known here, {} good",
        count(HostState::Note),
        count(HostState::Unknown),
        count(HostState::Good)
    );
    match stops + spoils {
        0 => format!("Nothing stands in the way of a measurement: {others}."),
        _ => format!(
            "In the way of a measurement: {stops} that stop a server or a load, {spoils} that spoil numbers; {others}."
        ),
    }
}

/// A check in one line, for the start of a run.
pub fn line(check: &HostCheck) -> String {
    let HostCheck { name, found, .. } = check;
    let remedy = match &check.remedy {
        Some(Remedy::Command(command)) => format!(" (mend: {command})"),
        Some(Remedy::Elsewhere(how)) => format!(" ({how})"),
        None => String::new(),
    };
    plain_line(&format!(
        "this host {}: {name}: {found}{remedy}",
        check.state.word()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(state: HostState, remedy: Option<Remedy>) -> HostCheck {
        HostCheck {
            name: "swap".into(),
            state,
            found: "4 MiB in it".into(),
            read_from: "/proc/swaps".into(),
            why: "a page takes milliseconds".into(),
            affects: "high percentiles".into(),
            remedy,
        }
    }

    #[test]
    fn what_is_in_the_way_says_what_was_read_where_why_and_what_mends_it() {
        let mended = check(HostState::Spoils, Some(Remedy::Command("swapoff -a".into())));
        let text = show(&[mended.clone(), check(HostState::Good, None)]);
        let expected = "spoils     swap: 4 MiB in it\n           read from: /proc/swaps\n           why: a page takes milliseconds\n           \
                        affects: high percentiles\n           mend: swapoff -a\n\
                        good       swap: 4 MiB in it (/proc/swaps)\n\n\
                        In the way of a measurement: 0 that stop a server or a load, 1 that spoil numbers; 0 worth \
                        knowing, 0 not known here, 1 good.\n";
        assert_eq!(text, expected);
        assert_eq!(
            line(&mended),
            "this host spoils: swap: 4 MiB in it (mend: swapoff -a)"
        );
    }

    #[test]
    fn what_cannot_be_mended_here_says_where() {
        let beneath = check(
            HostState::Unknown,
            Some(Remedy::Elsewhere("ask the host beneath".into())),
        );
        let text = show(std::slice::from_ref(&beneath));
        assert!(text.contains("not from here: ask the host beneath\n"), "{text}");
        assert!(text.ends_with(
            "Nothing stands in the way of a measurement: 0 worth knowing, 1 not known here, 0 good.\n"
        ));
    }
}
