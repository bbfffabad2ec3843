//! A private network: hosts around a router, and faults between them.
//!
//! The hosts and the router are unnamed network namespaces. A namespace lasts as long as one of
//! its processes or descriptors, so nothing remains however the harness ends, and the network
//! is invisible from outside.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::{panic, process, thread};

use anyhow::{Context, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};

use crate::conformance::kit::setup::Unsupported;

/// Address of the router. All addresses are from a block that RFC 5737 reserves for
/// documentation.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

/// A server's host, client hosts, and a router between them.
#[derive(Debug)]
pub struct Network {
    router: Namespace,
    server: Host,
    clients: Vec<Host>,
    /// Has the address of the server's host, but none of its connections.
    _replacement: Host,
}

/// A host of a network.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    address: Ipv4Addr,
    /// The router's interface to it.
    port: String,
}

/// A fault between a client host and the server's host. The value is the number of the
/// router's table that implements it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The peer has crashed: the router drops all packets.
    Crashed = 101,
    /// The peer is unreachable: the router says so by ICMP.
    Unreachable = 102,
    /// The peer has rebooted: a host without connections has the server's address.
    Rebooted = 103,
}

/// Messages of the system and ip(8) for something this host lacks or does not allow.
const UNSUPPORTED: [&str; 5] = [
    "not permitted",
    "not supported",
    "Permission denied",
    "No such file",
    "Read-only file system",
];

impl Network {
    /// A network with a server's host and that many client hosts.
    pub fn new(clients: usize) -> anyhow::Result<Self> {
        let network = Network::create(clients);
        network.map_err(|error| {
            let reason = format!("cannot create a private network: {error:#}");
            match UNSUPPORTED.iter().any(|message| reason.contains(message)) {
                true => Unsupported(format!("{reason} (needs root, and ip(8) of iproute2)")).into(),
                false => anyhow!(reason),
            }
        })
    }

    fn create(clients: usize) -> anyhow::Result<Self> {
        let router = Namespace::new()?;
        let forwarding = router.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?;
        forwarding.context("cannot enable forwarding in a namespace")?;
        let address = |number: usize| Ipv4Addr::new(192, 0, 2, number as u8);
        let host = |number: usize, address| Host::new(number, address, &router);
        let server = host(1, address(1))?;
        let replacement = host(2, address(1))?;
        let clients: Vec<_> = (3..3 + clients)
            .map(|number| host(number, address(number)))
            .collect::<Result<_, _>>()?;
        let mut commands = format!("link set lo up\naddress add {ROUTER}/32 dev lo\n");
        for Host { address, port, .. } in clients.iter().chain([&server]) {
            let _ = writeln!(commands, "route add {address}/32 dev {port}");
        }
        for (route, fault) in [
            ("blackhole default", Fault::Crashed),
            ("unreachable default", Fault::Unreachable),
            (&format!("default dev {}", replacement.port), Fault::Rebooted),
        ] {
            let _ = writeln!(commands, "route add {route} table {}", fault as u8);
        }
        router.ip(&commands)?;
        Ok(Network {
            router,
            server,
            clients,
            _replacement: replacement,
        })
    }

    /// The server's host.
    pub fn server(&self) -> &Host {
        &self.server
    }

    /// The hosts of its clients.
    pub fn clients(&self) -> &[Host] {
        &self.clients
    }

    /// Starts a fault between a client host and the server's host.
    pub fn impose(&self, fault: Fault, client: &Host) -> anyhow::Result<()> {
        self.router.ip(&self.rules("add", fault, client))
    }

    /// Ends it.
    pub fn lift(&self, fault: Fault, client: &Host) -> anyhow::Result<()> {
        self.router.ip(&self.rules("delete", fault, client))
    }

    fn rules(&self, action: &str, fault: Fault, client: &Host) -> String {
        let (table, address) = (fault as u8, client.address);
        format!(
            "rule {action} iif {} lookup {table}\nrule {action} iif {} to {address} lookup {table}\n",
            client.port, self.server.port
        )
    }
}

impl Host {
    fn new(number: usize, address: Ipv4Addr, router: &Namespace) -> anyhow::Result<Self> {
        let (namespace, port) = (Namespace::new()?, format!("host{number}"));
        router.ip(&format!(
            "link add {port} type veth peer name eth0 netns {}\nlink set {port} up\n",
            namespace.path()
        ))?;
        namespace.ip(&format!(
            "link set lo up\nlink set eth0 up\naddress add {address}/32 dev eth0\n\
             route add default via {ROUTER} dev eth0 onlink\n"
        ))?;
        Ok(Host {
            namespace,
            address,
            port,
        })
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// Runs something on it: sockets created and processes started there stay there.
    pub fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        self.namespace.run(action)
    }
}

/// A network namespace, kept alive by its descriptor.
#[derive(Debug)]
struct Namespace(File);

impl Namespace {
    fn new() -> anyhow::Result<Self> {
        // On a thread of its own, because unshare(2) moves the calling thread.
        let namespace = on_a_thread(|| -> anyhow::Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot create a network namespace")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        });
        namespace.map(Namespace)
    }

    /// Its path for other processes.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }

    fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")?;
            Ok(action())
        })
    }

    /// Runs commands of ip(8) in it, one per line.
    fn ip(&self, commands: &str) -> anyhow::Result<()> {
        self.run(|| {
            let mut ip = Command::new("ip")
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .context("ip(8)")?;
            if let Some(mut input) = ip.stdin.take() {
                input.write_all(commands.as_bytes())?;
            }
            let output = ip.wait_with_output()?;
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "ip(8): {}", errors.trim_end());
            Ok(())
        })?
    }
}

/// Runs something on a short-lived thread, which may change its namespace.
fn on_a_thread<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    let result = thread::scope(|scope| scope.spawn(action).join());
    result.unwrap_or_else(|panic| panic::resume_unwind(panic))
}
