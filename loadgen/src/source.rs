//! Where connections come from: more local addresses have more ports.
//!
//! One address has some 28,000 ports for connections to one server, and a port is not free
//! again until the connection has left TIME_WAIT.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::Socket;

/// Addresses of one range beyond this are a typing error.
const MOST: u128 = 65_536;

/// Why a text is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a range of local addresses: give one, or the first and the last of at most 65536, such as 127.0.0.2-127.0.0.9"
)]
pub struct SourceError(String);

/// `127.0.0.2`, or `127.0.0.2-127.0.0.9`: every address from the first to the last.
pub fn range(text: &str) -> Result<Vec<IpAddr>, SourceError> {
    let error = || SourceError(text.into());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let parse = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| error());
    let (number, make): (_, fn(u128) -> IpAddr) = match (parse(first)?, parse(last)?) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (
            u128::from(u32::from(first))..=u128::from(u32::from(last)),
            |number| Ipv4Addr::from(number as u32).into(),
        ),
        (IpAddr::V6(first), IpAddr::V6(last)) => (u128::from(first)..=u128::from(last), |number| {
            Ipv6Addr::from(number).into()
        }),
        _ => return Err(error()),
    };
    match number.end().checked_sub(*number.start()) {
        Some(0..MOST) => Ok(number.map(make).collect()),
        _ => Err(error()),
    }
}

/// Binds a socket to a local address and leaves the port to connect, where only the pair of
/// both ends has to be unique.
pub fn bind(socket: &Socket, address: IpAddr) -> io::Result<()> {
    setsockopt(socket, IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::from((address, 0)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_both_its_ends() {
        let v4 = range("127.0.0.254-127.0.1.1").unwrap();
        assert_eq!(v4.len(), 4);
        assert_eq!(v4[3].to_string(), "127.0.1.1");
        assert_eq!(range("::1").unwrap(), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert_eq!(range("fd00::1-fd00::3").unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "127.0.0.1-",
            "127.0.0.9-127.0.0.2",
            "127.0.0.1-::1",
            "0.0.0.0-9.0.0.0",
            "lo",
        ] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
