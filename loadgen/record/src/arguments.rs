//! The arguments of a program, in which file names need not be UTF-8.

use std::env;
use std::ffi::{OsStr, OsString};

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::{Command, Parser};

/// Parses the arguments of this process. Ends it with status 2 if they are wrong, and names one that is
/// not UTF-8 and has to be.
pub fn parse<Arguments: Parser>() -> Arguments {
    parse_from(&env::args_os().collect::<Vec<_>>())
}

/// Parses other arguments like those of this process; the first is the name of the program.
pub fn parse_from<Arguments: Parser>(arguments: &[OsString]) -> Arguments {
    try_parse_from(arguments).unwrap_or_else(|error| error.exit())
}

/// The same, but returns the error.
pub fn try_parse_from<Arguments: Parser>(arguments: &[OsString]) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::InvalidUtf8 => explain::<Arguments>(arguments).unwrap_or(error),
        _ => error,
    })
}

/// Finds what clap objects to, which it does not say: an argument, or the variable that stands for an option.
fn explain<Arguments: Parser>(arguments: &[OsString]) -> Option<clap::Error> {
    let objects = |arguments: &mut dyn Iterator<Item = OsString>| {
        let parsed = Arguments::try_parse_from(arguments);
        parsed.is_err_and(|error| error.kind() == ErrorKind::InvalidUtf8)
    };
    let all_readable = &mut arguments.iter().map(|argument| readable(argument).into());
    let what = if objects(all_readable) {
        let (name, value) = variable(&Arguments::command())?;
        format!("the variable {name} is not UTF-8: {value:?}")
    } else {
        // All others are readable, so the objection is to this one.
        let unreadable = |at: &usize| {
            objects(
                &mut arguments
                    .iter()
                    .enumerate()
                    .map(|(other, argument)| match other == *at {
                        true => argument.clone(),
                        false => readable(argument).into(),
                    }),
            )
        };
        let at = (0..arguments.len()).find(unreadable)?;
        format!(
            "the argument {:?} is not UTF-8: only the name of a file may have other bytes",
            arguments[at]
        )
    };
    Some(Arguments::command().error(ErrorKind::InvalidUtf8, what))
}

/// A variable for an option of any of the commands that is not UTF-8 and has to be.
fn variable(command: &Command) -> Option<(String, OsString)> {
    let path = ValueParser::path_buf().type_id();
    let own = command
        .get_arguments()
        .filter(|argument| argument.get_value_parser().type_id() != path)
        .find_map(|argument| {
            let name = argument.get_env()?;
            let value = env::var_os(name)?;
            value.to_str().is_none().then(|| (readable(name), value))
        });
    own.or_else(|| command.get_subcommands().find_map(variable))
}

fn readable(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;

    #[derive(Debug, Parser)]
    struct Options {
        text: String,
        #[arg(long)]
        file: Option<PathBuf>,
    }

    fn parse(arguments: &[&[u8]]) -> Result<Options, clap::Error> {
        let program: &[u8] = b"program";
        let arguments = [&[program], arguments].concat();
        let arguments: Vec<_> = arguments
            .into_iter()
            .map(|argument| OsString::from_vec(argument.to_vec()))
            .collect();
        try_parse_from(&arguments)
    }

    #[test]
    fn a_file_name_may_have_any_bytes() {
        let options = parse(&[b"--file", b"\xff", b"a"]).unwrap();
        assert_eq!(options.file.unwrap().into_os_string().into_vec(), b"\xff");
    }

    #[test]
    fn the_argument_that_is_not_utf_8_is_named_and_not_the_file_before_it() {
        let error = parse(&[b"--file", b"\xfe", b"a\xff"]).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::InvalidUtf8, 2));
        let message = error.to_string();
        assert!(message.contains(r#""a\xFF" is not UTF-8"#), "{message}");
        assert!(!message.contains(r"\xFE"), "{message}");
    }
}
