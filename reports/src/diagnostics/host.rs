//! What was checked on the host before the run.

use record::words::{list, plain_line};
use record::{HostCheck, HostState, Remedy, Run};

use super::diagnostic::Diagnostic;

/// A diagnostic for each finding, and one for the checks that found nothing, or could not tell.
pub(super) fn diagnostics(run: &Run) -> Vec<Diagnostic> {
    let in_state = |state| run.host_checks.iter().filter(move |check| check.state == state);
    let findings = [HostState::Stops, HostState::Spoils, HostState::Note].into_iter();
    let findings = findings.flat_map(in_state).map(|check| Diagnostic::HostFinding {
        state: check.state,
        text: sentences(check),
    });
    let others = [HostState::Unknown, HostState::Good].into_iter();
    let others = others.map(|state| Diagnostic::HostChecked {
        state,
        names: in_state(state).map(|check| plain_line(&check.name)).collect(),
    });
    let is_any = |diagnostic: &Diagnostic| !matches!(diagnostic, Diagnostic::HostChecked { names, .. } if names.is_empty());
    findings.chain(others.filter(is_any)).collect()
}

/// What was found, why it matters, and what to do.
fn sentences(check: &HostCheck) -> String {
    let remedy = match &check.remedy {
        Some(Remedy::Command(command)) => format!(" To mend it: {command}"),
        Some(Remedy::Elsewhere(how)) => format!(" {}.", capitalised(how)),
        None => String::new(),
    };
    let HostCheck {
        name,
        found,
        read_from,
        why,
        affects,
        ..
    } = check;
    let text = format!(
        "{}: {found} (read from {read_from}). {}. It affects {affects}.{remedy}",
        capitalised(name),
        capitalised(why)
    );
    plain_line(&text)
}

/// The sentence about checks of one state.
pub(super) fn checked(state: HostState, names: &[String]) -> String {
    match state {
        HostState::Unknown => format!("This host does not tell: {}.", list(names)),
        _ => format!("Checked before the run and as it should be: {}.", list(names)),
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}
