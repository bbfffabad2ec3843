//! Targets: servers that already run somewhere, on this host or on another.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use loadgen::{Address, target};
use record::UNIX_PREFIX;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::names::check_free;

/// Time for a target to accept the connection that checks it: a lost packet is sent again after
/// one second and after three.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(4);

/// A server that already runs: `NAME=HOST:PORT` or `NAME=unix:PATH`. The host is a name, an IPv4
/// address or an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Entry")]
pub struct Target {
    name: String,
    address: String,
}

/// A target in a suite file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    address: String,
}

/// A target whose host was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedTarget {
    name: String,
    address: Address,
    summary: String,
}

impl TryFrom<Entry> for Target {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Self, String> {
        Target::new(&entry.name, &entry.address).map_err(|error| format!("{error:#}"))
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, address) = text
            .split_once('=')
            .context("a target is `NAME=HOST:PORT`, such as new=192.0.2.7:7007, or `NAME=unix:PATH`")?;
        Target::new(name, address)
    }
}

impl Target {
    /// Creates a target; its host is not looked up yet.
    pub fn new(name: &str, address: &str) -> anyhow::Result<Self> {
        check_free(name)?;
        let address = address.trim();
        if address.starts_with(UNIX_PREFIX) {
            let checked = address.parse::<Address>();
            checked.with_context(|| format!("the address of `{name}` is not that of a Unix socket"))?;
        } else {
            ensure!(
                is_host_and_port(address),
                "the address of `{name}` is not HOST:PORT: `{address}`: give a name, an IPv4 address or an IPv6 \
                 address in brackets, and a port, such as 192.0.2.7:7007 or [2001:db8::7]:7007; or the path of a \
                 Unix socket, such as unix:/tmp/echo.sock"
            );
        }
        Ok(Target {
            name: name.into(),
            address: address.into(),
        })
    }

    /// Its name in results.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Looks up its host and checks that a server listens there. An address that is not loopback
    /// needs `allow_remote`, since a load can take a host or a network down.
    pub fn resolve(&self, allow_remote: bool) -> anyhow::Result<ResolvedTarget> {
        let named = || format!("the target `{}` cannot be measured", self.name);
        let address = target::resolve(&self.address, allow_remote).with_context(named)?;
        connect(&address)
            .map_err(|error| unreachable(&address, &error))
            .with_context(named)?;
        let summary = match address.to_string() {
            resolved if resolved == self.address => resolved,
            resolved => format!("{} ({resolved})", self.address),
        };
        Ok(ResolvedTarget {
            name: self.name.clone(),
            address,
            summary,
        })
    }
}

impl ResolvedTarget {
    /// Its name in results.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its address as typed and, if that has a name, as resolved.
    pub fn summary(&self) -> &str {
        &self.summary
    }
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_host = match host.strip_prefix('[') {
        Some(_) => address.parse::<SocketAddr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '/', ' ']),
    };
    is_port && is_host
}

fn connect(address: &Address) -> io::Result<()> {
    match address {
        Address::Internet(address) => TcpStream::connect_timeout(address, ACCEPTS_WITHIN).map(drop),
        Address::Unix(_) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // Also limits how long it waits while the backlog is full.
            socket.set_write_timeout(Some(ACCEPTS_WITHIN))?;
            socket.connect(&address.for_system())
        }
    }
}

fn unreachable(address: &Address, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            anyhow!("nothing listens on {address}: start the server first, or correct the address")
        }
        io::ErrorKind::WouldBlock => anyhow!(
            "{address} did not accept a connection within {ACCEPTS_WITHIN:?}: check that the server accepts \
             connections, as its queue of them is full"
        ),
        io::ErrorKind::TimedOut => anyhow!(
            "{address} did not accept a connection within {ACCEPTS_WITHIN:?}: check that the host is up and that no \
             firewall drops the packets"
        ),
        _ => anyhow!("{address} cannot be reached: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn error(text: &str) -> String {
        format!("{:#}", text.parse::<Target>().unwrap_err())
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for text in [
            "new=localhost:7007",
            "new=192.0.2.7:7007",
            "new=[::1]:7007",
            "new= echo.example:1 ",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().name(), "new", "{text}");
        }
    }

    #[test]
    fn invalid_targets_are_refused_with_advice() {
        assert!(error("192.0.2.7:7007").contains("NAME=HOST:PORT"));
        assert!(error("=192.0.2.7:7007").contains("is not a name"));
        assert!(error("epoll=192.0.2.7:7007").contains("the name of a model"));
        for address in [
            "",
            "192.0.2.7",
            ":7007",
            "192.0.2.7:0",
            "192.0.2.7:70000",
            "2001:db8::7:7007",
            "[host]:7007",
            "http://host:80",
        ] {
            let error = error(&format!("new={address}"));
            assert!(error.contains("such as 192.0.2.7:7007"), "{error}");
        }
    }

    #[test]
    fn a_target_is_resolved_and_described_by_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target = Target::new("new", &address.to_string()).unwrap();
        let resolved = target.resolve(false).unwrap();
        assert_eq!(
            (resolved.address(), resolved.summary()),
            (&address.into(), address.to_string().as_str())
        );
    }

    #[test]
    fn a_unix_socket_is_a_target_of_this_host() {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("unix:{}", folder.path().join("a=b.sock").display());
        let target: Target = format!("new={address}").parse().unwrap();
        let refused = format!("{:#}", target.resolve(false).unwrap_err());
        assert!(
            refused.contains(&address) && refused.contains("start the server first"),
            "{refused}"
        );
        let _listener = UnixListener::bind(address.strip_prefix("unix:").unwrap()).unwrap();
        let resolved = target.resolve(false).unwrap();
        assert_eq!(
            (resolved.address().to_string(), resolved.summary()),
            (address.clone(), address.as_str())
        );
        assert!(error("new=unix:").contains("unix:PATH"));
        assert!(error(&format!("new=unix:/{}", "x".repeat(200))).contains("at most 107"));
    }

    #[test]
    fn a_target_that_cannot_be_measured_is_refused_with_advice() {
        let error = |address: &str| {
            let target = Target::new("new", address).unwrap();
            format!("{:#}", target.resolve(false).unwrap_err())
        };
        // Bound but not listening: no other process can take the port.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let closed = socket.local_addr().unwrap().as_socket().unwrap();
        let refused = error(&closed.to_string());
        assert!(
            refused.contains("`new`") && refused.contains("start the server first"),
            "{refused}"
        );
        assert!(error("192.0.2.7:7007").contains("--allow-remote"));
        assert!(error("host.invalid:7007").contains("cannot resolve `host.invalid:7007`"));
    }

    #[test]
    fn a_timeout_is_told_from_other_errors() {
        let address = Address::Internet(([192, 0, 2, 7], 7007).into());
        let text = |kind: io::ErrorKind| unreachable(&address, &kind.into()).to_string();
        assert!(text(io::ErrorKind::TimedOut).contains("firewall"));
        assert!(text(io::ErrorKind::NetworkUnreachable).contains("cannot be reached"));
    }
}
