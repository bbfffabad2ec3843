//! Where a server listens: an IP address with a port, or the path of a Unix socket.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

/// What precedes the path of a Unix socket.
const UNIX: &str = "unix:";

/// The longest path in bytes: the kernel's `sun_path` has 108, one of them for the NUL (unix(7)).
const LONGEST_PATH: usize = 107;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port; port 0 picks a free one.
    Internet(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Resolves an address: `127.0.0.1:7007`, `[::1]:0`, `localhost:7007` or `unix:/tmp/echo.sock`. The
    /// path need not be UTF-8.
    pub fn resolve(text: impl AsRef<OsStr>) -> anyhow::Result<Self> {
        let (in_bytes, text) = (text.as_ref(), text.as_ref().display());
        let form = || {
            format!(
                "`{text}` is not an address to listen on: give ADDRESS:PORT, such as 127.0.0.1:7007, or unix:PATH, \
                 such as unix:/tmp/echo.sock"
            )
        };
        if let Some(path) = in_bytes.as_bytes().strip_prefix(UNIX.as_bytes()) {
            ensure!(!path.is_empty(), form());
            ensure!(
                path.len() <= LONGEST_PATH,
                "the path of {text} has {} bytes, and that of a Unix socket at most {LONGEST_PATH}: choose a shorter \
                 one for --listen, such as a relative path",
                path.len()
            );
            return Ok(Address::Unix(OsStr::from_bytes(path).into()));
        }
        let name = in_bytes.to_str().with_context(form)?;
        let mut found = name.to_socket_addrs().with_context(form)?;
        match found.next() {
            Some(address) => Ok(Address::Internet(address)),
            None => bail!(form()),
        }
    }

    /// The argument that it was, byte by byte.
    pub fn text(&self) -> OsString {
        match self {
            Address::Internet(address) => address.to_string().into(),
            Address::Unix(path) => [OsStr::new(UNIX), path.as_os_str()].into_iter().collect(),
        }
    }

    /// Whether it is the path of a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self, Address::Unix(_))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Internet(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.text().display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_given() {
        for text in ["127.0.0.1:7007", "[::1]:0", "unix:/tmp/a b", "unix:a:7007"] {
            assert_eq!(Address::resolve(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_path_may_have_any_bytes_and_a_name_may_not() {
        let in_bytes = OsStr::from_bytes(b"unix:/tmp/\xff");
        assert_eq!(Address::resolve(in_bytes).unwrap().text(), in_bytes);
        let error = Address::resolve(OsStr::from_bytes(b"\xff:7"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("is not an address"), "{error}");
    }

    #[test]
    fn a_path_must_fit_into_the_address_of_a_socket() {
        let path = |bytes| format!("unix:{}", "x".repeat(bytes));
        assert!(Address::resolve(path(LONGEST_PATH)).is_ok());
        let error = Address::resolve(path(LONGEST_PATH + 1)).unwrap_err().to_string();
        assert!(
            error.contains("108 bytes") && error.contains("at most 107"),
            "{error}"
        );
        let error = Address::resolve("unix:").unwrap_err().to_string();
        assert!(error.contains("unix:PATH"), "{error}");
    }
}
