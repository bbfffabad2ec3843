//! External echo servers: any program that takes a port on its command line.

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

use crate::names::check_free;

/// An external echo server: `NAME=COMMAND`, where `{port}` in the command stands for the port to
/// listen on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Entry")]
pub struct External {
    name: String,
    command: String,
    #[serde(skip_serializing)]
    words: Vec<String>,
}

/// An external server in a suite file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    command: String,
}

impl TryFrom<Entry> for External {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Self, String> {
        External::new(&entry.name, &entry.command).map_err(|error| format!("{error:#}"))
    }
}

impl FromStr for External {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, command) = text
            .split_once('=')
            .context("a server is `NAME=COMMAND`, such as 'mine=./my-server {port}'")?;
        External::new(name, command)
    }
}

/// `PORT=7007`.
fn is_assignment(word: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            && name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    word.split_once('=').is_some_and(|(name, _)| is_name(name))
}

impl External {
    /// Creates a server. Its command is split into words as by a shell, without running one.
    pub fn new(name: &str, command: &str) -> anyhow::Result<Self> {
        check_free(name)?;
        let words = shlex::split(command)
            .with_context(|| format!("the command of `{name}` ends within a quotation: `{command}`"))?;
        ensure!(!words.is_empty(), "the command of `{name}` is empty");
        ensure!(
            !is_assignment(&words[0]),
            "the command of `{name}` begins with a variable, which only a shell would set: write `env {}`",
            command.trim()
        );
        let has_port = |word: &String| word.contains("{port}") || word.contains("{address}");
        ensure!(
            words[1..].iter().any(has_port),
            "the command of `{name}` has no placeholder for its port: put `{{port}}` there, or `{{address}}` for \
             127.0.0.1 and the port; a server on a Unix socket can be started beforehand and be measured by --target \
             {name}=unix:PATH"
        );
        Ok(External {
            name: name.into(),
            command: command.trim().into(),
            words,
        })
    }

    /// Its name in results.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its command as typed.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Checks that this host has the program.
    pub fn check(&self) -> anyhow::Result<()> {
        let (name, program) = (&self.name, &self.words[0]);
        let is_runnable = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
        if !program.contains('/') {
            let path = env::var_os("PATH").unwrap_or_default();
            ensure!(
                env::split_paths(&path).any(|folder| is_runnable(&folder.join(program))),
                "the server `{name}` cannot be run: there is no program `{program}` in PATH: install it, or give \
                 its path"
            );
            return Ok(());
        }
        let path = Path::new(program);
        match path.is_file() {
            false => bail!("the server `{name}` cannot be run: there is no file `{program}`"),
            true if !is_runnable(path) => bail!(
                "the server `{name}` cannot be run: `{program}` is not executable: `chmod +x` it, or name its \
                 interpreter first"
            ),
            true => Ok(()),
        }
    }

    /// The command that starts it on an address.
    pub(crate) fn start_on(&self, address: SocketAddr) -> Command {
        let fill = |word: &String| {
            word.replace("{port}", &address.port().to_string())
                .replace("{host}", &address.ip().to_string())
                .replace("{address}", &address.to_string())
        };
        let mut command = Command::new(&self.words[0]);
        command.args(self.words[1..].iter().map(fill));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        format!("{:#}", text.parse::<External>().unwrap_err())
    }

    #[test]
    fn a_command_is_split_as_by_a_shell_and_gets_its_address() {
        let external: External = "a-1_b.c=run 'two words' --at={host}:{port} -a {address}"
            .parse()
            .unwrap();
        let command = external.start_on(([127, 0, 0, 1], 7007).into());
        assert_eq!(external.name(), "a-1_b.c");
        assert_eq!(command.get_program(), "run");
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(
            arguments,
            ["two words", "--at=127.0.0.1:7007", "-a", "127.0.0.1:7007"]
        );
    }

    #[test]
    fn invalid_servers_are_refused_with_advice() {
        assert!(error("python3 echo.py {port}").contains("NAME=COMMAND"));
        assert!(error("=run {port}").contains("is not a name"));
        assert!(error("my server=run {port}").contains("letters, digits"));
        assert!(error("../x=run {port}").contains("letters, digits"));
        assert!(error("epoll=run {port}").contains("the name of a model"));
        assert!(error("x=").contains("is empty"));
        assert!(error("x=run").contains("put `{port}` there"));
        assert!(error("x=run").contains("--target x=unix:PATH"));
        assert!(error("x=run '{port}").contains("quotation"));
        assert!(error("x=PORT={port} node x.js").contains("write `env PORT={port} node x.js`"));
        assert!("x=./a=b {port}".parse::<External>().is_ok());
    }

    #[test]
    fn a_missing_program_is_reported_before_it_is_started() {
        let check = |command: &str| External::new("x", command).unwrap().check();
        assert!(check("sh -c {port}").is_ok());
        assert!(check("/bin/sh -c {port}").is_ok());
        let error = |command: &str| format!("{:#}", check(command).unwrap_err());
        assert!(error("no-such-program {port}").contains("in PATH"));
        assert!(error("./no-such-file {port}").contains("there is no file"));
        assert!(error("/etc/passwd {port}").contains("not executable"));
        assert!(error("/etc {port}").contains("there is no file"));
    }
}
