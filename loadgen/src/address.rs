//! The address of a server: an IP address with a port, or the path of a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use socket2::SockAddr;

use record::UNIX_PREFIX;

/// The longest path in bytes: the kernel's `sun_path` has 108, one of them for the NUL (unix(7)).
const LONGEST_PATH: usize = 107;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port.
    Internet(SocketAddr),
    /// The path of a Unix socket.
    Unix(SocketPath),
}

/// A path that a Unix socket can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketPath(PathBuf);

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No address and port, and no path.
    #[error("`{0}` is not an address: give ADDRESS:PORT, such as 127.0.0.1:7007, or unix:PATH")]
    Form(String),
    /// The path is too long for the system.
    #[error(
        "the path of {text} has {bytes} bytes, and that of a Unix socket at most {LONGEST_PATH}: use a relative one, \
         or move the socket"
    )]
    TooLong {
        /// The text.
        text: String,
        /// The length of the path.
        bytes: usize,
    },
}

impl Address {
    /// Whether it is that of a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self, Address::Unix(_))
    }

    /// The form that the system takes.
    pub fn for_system(&self) -> SockAddr {
        match self {
            Address::Internet(address) => (*address).into(),
            Address::Unix(SocketPath(path)) => {
                SockAddr::unix(path).expect("the length of the path was checked")
            }
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Internet(address)
    }
}

/// Reads ADDRESS:PORT or unix:PATH; names are not looked up.
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some(path) = text.strip_prefix(UNIX_PREFIX) else {
            let address = text.parse().map(Address::Internet);
            return address.map_err(|_| AddressError::Form(text.into()));
        };
        SocketPath::new(Path::new(path)).map(Address::Unix)
    }
}

impl SocketPath {
    /// Checks a path, which need not be UTF-8.
    pub fn new(path: &Path) -> Result<Self, AddressError> {
        let bytes = path.as_os_str().as_bytes();
        let text = || format!("{UNIX_PREFIX}{}", path.display());
        match bytes.len() {
            // A NUL ends the path, and at its begin makes it another kind of name.
            _ if bytes.contains(&0) => Err(AddressError::Form(text())),
            0 => Err(AddressError::Form(text())),
            1..=LONGEST_PATH => Ok(SocketPath(path.into())),
            bytes => Err(AddressError::TooLong { text: text(), bytes }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Address::Internet(address) => address.fmt(f),
            Address::Unix(SocketPath(path)) => write!(f, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_given() {
        for text in [
            "127.0.0.1:7007",
            "[::1]:7007",
            "unix:/run/a b.sock",
            "unix:localhost:7007",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_unix(), text.starts_with("unix:"));
            assert_eq!(address.for_system().is_unix(), address.is_unix());
        }
    }

    #[test]
    fn a_path_must_fit_into_the_address_of_a_socket() {
        let parse = |bytes| format!("unix:{}", "x".repeat(bytes)).parse::<Address>();
        let longest = parse(LONGEST_PATH).unwrap();
        assert!(longest.for_system().is_unix());
        let error = parse(LONGEST_PATH + 1).unwrap_err().to_string();
        assert!(
            error.contains("108 bytes") && error.contains("at most 107"),
            "{error}"
        );
        for text in ["unix:", "unix:a\0b", "unix:\0a", "localhost", "localhost:7007"] {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(error, AddressError::Form(text.into()));
        }
    }
}
