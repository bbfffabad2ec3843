//! The target of a load: resolves its name once, and refuses other hosts without permission.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// Why a target is refused.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not `HOST:PORT`, or an unknown name.
    #[error("cannot resolve `{text}`: {error}; give HOST:PORT, such as 127.0.0.1:7007")]
    Resolve {
        /// The text.
        text: String,
        /// The error of the resolver.
        error: io::Error,
    },
    /// Another host.
    #[error(
        "{0} is not a loopback address, and a load can take a host or a network down; \
         if you may load that host, give --allow-remote"
    )]
    Remote(SocketAddr),
}

/// Resolves `HOST:PORT`; an address that is not loopback needs `allow_remote`.
///
/// The address is checked after the look-up: a name may stand for any address.
pub fn resolve(text: &str, allow_remote: bool) -> Result<SocketAddr, TargetError> {
    let unresolved = |error| TargetError::Resolve {
        text: text.into(),
        error,
    };
    let address = text
        .to_socket_addrs()
        .map_err(unresolved)?
        .next()
        .ok_or_else(|| unresolved(io::Error::other("the name has no address")))?;
    if address.ip().to_canonical().is_loopback() || allow_remote {
        Ok(address)
    } else {
        Err(TargetError::Remote(address))
    }
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
