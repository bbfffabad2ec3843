//! The command of a run, for its record.

use std::env;
use std::ffi::OsString;

/// The command that repeats this run: the variables that affect it, then the program without
/// its folder, which differs from machine to machine. Bytes that are not UTF-8 become U+FFFD.
pub fn command_line() -> Vec<String> {
    let readable = |text: OsString| text.to_string_lossy().into_owned();
    let variables = env::vars_os().map(|(name, value)| (readable(name), readable(value)));
    let variables = variables.filter(|(name, _)| name.starts_with("ECHOBENCH_"));
    let variables = variables.map(|(name, value)| format!("{name}={value}"));
    let arguments = env::args_os().map(readable).collect();
    variables.chain(as_typed(arguments)).collect()
}

/// Cargo adds `--bench` when it starts a bench target, and gives its file a generated name.
fn as_typed(mut arguments: Vec<String>) -> Vec<String> {
    let by_cargo = arguments.iter().any(|argument| argument == "--bench");
    let program = match arguments.is_empty() {
        true => String::new(),
        false => arguments
            .remove(0)
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    if !by_cargo {
        arguments.insert(0, program);
        return arguments;
    }
    arguments.retain(|argument| argument != "--bench");
    let cargo = ["cargo", "bench", "--"].map(str::to_owned);
    let words = if arguments.is_empty() { 2 } else { 3 };
    cargo.into_iter().take(words).chain(arguments).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_recorded_as_it_was_typed() {
        let typed = |line: &str| as_typed(line.split(' ').map(str::to_owned).collect()).join(" ");
        assert_eq!(typed("/a/b/echobench run --blocks 2"), "echobench run --blocks 2");
        assert_eq!(typed("/t/deps/echobench-0123 --bench"), "cargo bench");
        assert_eq!(
            typed("/t/deps/echobench-0123 --quick --bench"),
            "cargo bench -- --quick"
        );
    }
}
