//! The target of a load: resolves its name once, and refuses other hosts without permission.

use std::ffi::OsStr;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::address::{Address, AddressError, SocketPath};
use record::UNIX_PREFIX;

/// Why a target is refused.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not `HOST:PORT`, or an unknown name.
    #[error("cannot resolve `{text}`: {error}; give HOST:PORT, such as 127.0.0.1:7007, or unix:PATH")]
    Resolve {
        /// The text.
        text: String,
        /// The error of the resolver.
        error: io::Error,
    },
    /// Bytes of a name that are not UTF-8.
    #[error("the target {0} is not UTF-8: only the path of a Unix socket may have other bytes")]
    Bytes(String),
    /// Not the path of a Unix socket.
    #[error(transparent)]
    Path(#[from] AddressError),
    /// Another host.
    #[error(
        "{0} is not a loopback address, and a load can take a host or a network down; \
         if you may load that host, give --allow-remote"
    )]
    Remote(SocketAddr),
}

/// How long one of several addresses has to accept a connection.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Resolves `HOST:PORT`; an address that is not loopback needs `allow_remote`. Of several addresses,
/// such as those of `localhost`, it is the first that accepts a connection. `unix:PATH` is the
/// address of a Unix socket, which is always on this host; the path may have any bytes.
///
/// The addresses are checked after the look-up: a name may stand for any address.
pub fn resolve(target: impl AsRef<OsStr>, allow_remote: bool) -> Result<Address, TargetError> {
    let target = target.as_ref();
    if let Some(path) = target.as_bytes().strip_prefix(UNIX_PREFIX.as_bytes()) {
        return Ok(Address::Unix(SocketPath::new(Path::new(OsStr::from_bytes(
            path,
        )))?));
    }
    let Some(text) = target.to_str() else {
        return Err(TargetError::Bytes(format!("{target:?}")));
    };
    let unresolved = |error| TargetError::Resolve {
        text: text.into(),
        error,
    };
    let found = look_up(text).map_err(unresolved)?;
    let first = *found
        .first()
        .ok_or_else(|| unresolved(io::Error::other("the name has no address")))?;
    let is_allowed = |address: &SocketAddr| allow_remote || address.ip().to_canonical().is_loopback();
    let allowed: Vec<SocketAddr> = found.into_iter().filter(is_allowed).collect();
    choose(&allowed, |address| {
        TcpStream::connect_timeout(address, ANSWERS_WITHIN).is_ok()
    })
    .map(Address::Internet)
    .ok_or(TargetError::Remote(first))
}

/// The addresses in the order of the system. An IPv6 address in brackets may have a zone:
/// `[fe80::1%eth0]:7007`.
fn look_up(text: &str) -> io::Result<Vec<SocketAddr>> {
    let in_brackets = text
        .strip_prefix('[')
        .and_then(|rest| rest.rsplit_once("]:"))
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    Ok(match in_brackets {
        Some(host_and_port) => host_and_port.to_socket_addrs()?.collect(),
        None => text.to_socket_addrs()?.collect(),
    })
}

/// The first address that answers, if there are several, or the first of all.
fn choose(addresses: &[SocketAddr], answers: impl Fn(&SocketAddr) -> bool) -> Option<SocketAddr> {
    let answering = match addresses {
        [] | [_] => None,
        several => several.iter().find(|address| answers(address)),
    };
    answering.or(addresses.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_needs_no_permission() {
        for text in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "localhost:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(resolve(text, false).is_ok(), "{text}");
        }
    }

    #[test]
    fn of_several_addresses_the_first_that_answers_is_taken() {
        let addresses: Vec<SocketAddr> = ["[::1]:7", "127.0.0.1:7", "127.0.0.2:7"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        assert_eq!(
            choose(&addresses, |address| address.is_ipv4()),
            Some(addresses[1])
        );
        assert_eq!(choose(&addresses, |_| false), Some(addresses[0]));
        let asked = |_: &SocketAddr| panic!("there is no choice");
        assert_eq!(choose(&addresses[..1], asked), Some(addresses[0]));
        assert_eq!(choose(&[], asked), None);
    }

    #[test]
    fn an_address_may_have_a_zone() {
        let address = resolve("[fe80::1%lo]:7", true).unwrap();
        let Address::Internet(SocketAddr::V6(address)) = address else {
            panic!("{address}")
        };
        assert_eq!(address.ip().to_string(), "fe80::1");
        assert!(address.scope_id() > 0 && address.port() == 7);
    }

    #[test]
    fn a_unix_socket_needs_no_permission_and_no_server_yet() {
        let address = resolve("unix:/nowhere/echo.sock", false).unwrap();
        assert_eq!(address.to_string(), "unix:/nowhere/echo.sock");
        let too_long = format!("unix:{}", "x".repeat(200));
        assert!(matches!(resolve(too_long, true), Err(TargetError::Path(_))));
    }

    #[test]
    fn other_hosts_need_permission() {
        for text in [
            "192.0.2.1:1",
            "0.0.0.0:1",
            "[2001:db8::1]:1",
            "[::ffff:192.0.2.1]:1",
        ] {
            assert!(
                matches!(resolve(text, false), Err(TargetError::Remote(_))),
                "{text}"
            );
            assert!(resolve(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn invalid_addresses_are_refused() {
        for text in ["", "127.0.0.1", "127.0.0.1:70000", "host.invalid:1"] {
            assert!(
                matches!(resolve(text, true), Err(TargetError::Resolve { .. })),
                "{text}"
            );
        }
    }
}
