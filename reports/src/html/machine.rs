//! Where and how the run was made: the facts of the machine, and the command.

use std::collections::BTreeMap;

use record::Run;
use record::numbers::{bytes, thousands};
use record::words::plain_line;
use shlex::Quoter;

use crate::diagnostics::cpus;

/// The facts of the machine, each with its name.
pub(super) fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let host = &run.host;
    if run.is_single_load() {
        return vec![
            ("Generator ran on", cpus(&run.placement.generator_cpus)),
            ("loadgen", plain_line(&run.version)),
        ];
    }
    let or_unknown = |value: &Option<String>| value.as_deref().map_or("unknown".into(), plain_line);
    let hypervisor = host.hypervisor.as_deref();
    vec![
        ("Processor", or_unknown(&host.cpu_model)),
        (
            "Processors",
            format!("{} online, {} allowed", host.cpus_online, host.cpus_allowed.len()),
        ),
        ("Server ran on", cpus(&run.placement.server_cpus)),
        ("Generator ran on", cpus(&run.placement.generator_cpus)),
        ("Memory", host.memory_bytes.map_or("unknown".into(), bytes)),
        (
            "Kernel",
            plain_line(&format!("{} on {}", host.kernel, host.architecture)),
        ),
        ("Hypervisor", hypervisor.map_or("none".into(), plain_line)),
        ("Frequency governor", or_unknown(&host.governor)),
        (
            "Descriptors",
            format!("at most {} per process", thousands(host.descriptor_limit as f64)),
        ),
        ("Kernel settings", pairs(&host.sysctls)),
        ("Mitigations", pairs(&host.mitigations)),
        ("Compiler", plain_line(&host.compiler)),
        ("Source", or_unknown(&host.commit)),
        ("echobench", plain_line(&run.version)),
    ]
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    let each: Vec<String> = map
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    if each.is_empty() {
        "none recorded".into()
    } else {
        plain_line(&each.join("; "))
    }
}

/// A command line that can be pasted into a shell. Of `NAME=VALUE` only the value is quoted: a
/// shell does not recognise a variable with a quoted name before a command.
pub(super) fn command(words: &[String]) -> String {
    let typed = |word: &String| match word.split_once('=') {
        _ if is_plain(word) => word.clone(),
        Some((name, value)) if is_plain(name) => format!("{name}={}", quoted(value)),
        _ => quoted(word),
    };
    plain_line(&words.iter().map(typed).collect::<Vec<_>>().join(" "))
}

/// shlex also quotes `=`, `,` and `%`, which mean nothing to a shell in a word like these.
fn is_plain(word: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    !word.is_empty() && word.chars().all(allowed)
}

fn quoted(word: &str) -> String {
    // A NUL cannot be in an argument; `plain_line` would replace it.
    let quoted = Quoter::new().allow_nul(true).quote(word);
    quoted.map_or_else(|_| word.to_owned(), |quoted| quoted.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_the_shell() {
        let words = [
            "ECHOBENCH_SERVER=mine=run {port}",
            "run",
            "--seed=1",
            "--server",
            "my echo=it's {port} & $HOME",
            "",
            "a,b",
        ]
        .map(str::to_owned);
        let line = command(&words);
        assert_eq!(shlex::split(&line).unwrap(), words, "{line}");
        assert!(line.starts_with("ECHOBENCH_SERVER='mine="), "{line}");
        assert!(line.ends_with(" a,b"), "{line}");
    }
}
