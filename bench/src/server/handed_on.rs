//! A command that one process of this executable hands to another, which starts or becomes it.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::own_executable;

/// The program, the arguments and the environment of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HandedOn {
    program: OsString,
    arguments: Vec<OsString>,
    /// Variables that are set for it, or removed.
    environment: Vec<(OsString, Option<OsString>)>,
}

impl HandedOn {
    /// The command, without its standard streams.
    pub fn new(command: &Command) -> Self {
        HandedOn {
            program: command.get_program().to_owned(),
            arguments: command.get_args().map(OsStr::to_owned).collect(),
            environment: { command.get_envs() }
                .map(|(name, value)| (name.to_owned(), value.map(OsStr::to_owned)))
                .collect(),
        }
    }

    /// The command in the process that was handed it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        // The program is an entry of this executable only if its own environment says so.
        command.env_remove(own_executable::VARIABLE);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_command_arrives_byte_by_byte_and_is_no_entry_by_itself() {
        let bytes = OsStr::from_bytes(b"not UTF-8: \xff");
        let mut command = Command::new("program");
        command.args([OsStr::new(""), bytes]);
        command.env("SET", bytes).env_remove("REMOVED");
        let sent = HandedOn::new(&command);
        let json = serde_json::to_string(&sent).unwrap();
        assert!(!json.contains('\n'), "it is one line");
        let received: HandedOn = serde_json::from_str(&json).unwrap();
        assert_eq!(received, sent);
        let received = received.command();
        assert_eq!(received.get_program(), "program");
        assert_eq!(received.get_args().collect::<Vec<_>>(), [OsStr::new(""), bytes]);
        let environment: Vec<_> = received.get_envs().collect();
        assert!(environment.contains(&(OsStr::new("SET"), Some(bytes))));
        for removed in ["REMOVED", own_executable::VARIABLE] {
            assert!(environment.contains(&(OsStr::new(removed), None)), "{removed}");
        }
    }
}
