//! A network of the harness's own: hosts around a router, and what becomes of them.
//!
//! The hosts and the router are network namespaces without names. Such a one lasts as long
//! as a process or a descriptor of it, so nothing is left however the harness ends, and
//! nothing of it is ever seen from outside.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::{panic, process, thread};

use anyhow::{Context, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};

use crate::conformance::NotHere;

/// Where the router answers. All addresses are from a block that RFC 5737 keeps free for
/// documentation: nobody's real network.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

/// A server's host, the hosts of its clients, and a router between them.
#[derive(Debug)]
pub struct Network {
    router: Namespace,
    server: Host,
    clients: Vec<Host>,
    /// Has the address of the server's host, and none of its connections.
    _newcomer: Host,
}

/// A host of a network.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    address: Ipv4Addr,
    /// The interface of the router that it is connected to.
    port: String,
}

/// What a client's host and the server's are to each other; the value is the number of the
/// router's table that makes it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Silent: the router drops what they send.
    Crashed = 101,
    /// Out of reach: the router answers so.
    Unreachable = 102,
    /// New: at the server's address there is a host that has just started.
    Rebooted = 103,
}

/// What the system and ip(8) say of what this host lacks or does not allow.
const LACKS: [&str; 5] = [
    "not permitted",
    "not supported",
    "Permission denied",
    "No such file",
    "Read-only file system",
];

impl Network {
    /// A network of a server's host and so many others.
    pub fn new(clients: usize) -> anyhow::Result<Self> {
        let made = Network::make(clients);
        made.map_err(|error| {
            let reason = format!("no network of its own can be made: {error:#}");
            match LACKS.iter().any(|lack| reason.contains(lack)) {
                true => NotHere(format!("{reason} (it needs root, and ip(8) of iproute2)")).into(),
                false => anyhow!(reason),
            }
        })
    }

    fn make(clients: usize) -> anyhow::Result<Self> {
        let router = Namespace::new()?;
        let forwarding = router.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?;
        forwarding.context("a namespace that may not forward")?;
        let address = |number: usize| Ipv4Addr::new(192, 0, 2, number as u8);
        let host = |number: usize, address| Host::new(number, address, &router);
        let server = host(1, address(1))?;
        let newcomer = host(2, address(1))?;
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
            (&format!("default dev {}", newcomer.port), Fault::Rebooted),
        ] {
            let _ = writeln!(commands, "route add {route} table {}", fault as u8);
        }
        router.ip(&commands)?;
        Ok(Network {
            router,
            server,
            clients,
            _newcomer: newcomer,
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

    /// From now on a client's host and the server's find each other so.
    pub fn impose(&self, fault: Fault, client: &Host) -> anyhow::Result<()> {
        self.router.ip(&self.rules("add", fault, client))
    }

    /// Takes that back.
    pub fn lift(&self, fault: Fault, client: &Host) -> anyhow::Result<()> {
        self.router.ip(&self.rules("delete", fault, client))
    }

    fn rules(&self, act: &str, fault: Fault, client: &Host) -> String {
        let (table, address) = (fault as u8, client.address);
        format!(
            "rule {act} iif {} lookup {table}\nrule {act} iif {} to {address} lookup {table}\n",
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

    /// Does something on it: sockets that are made and processes that are started in there
    /// stay there.
    pub fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        self.namespace.run(action)
    }
}

/// A network namespace that is held by its descriptor.
#[derive(Debug)]
struct Namespace(File);

impl Namespace {
    fn new() -> anyhow::Result<Self> {
        // The thread leaves the namespace that the others of this process are in.
        let made = on_a_thread(|| -> anyhow::Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        });
        made.map(Namespace)
    }

    /// By what another process finds it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }

    fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")?;
            Ok(action())
        })
    }

    /// Gives commands to ip(8) in there, a line each.
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
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "ip(8): {}", said.trim_end());
            Ok(())
        })?
    }
}

/// Runs on a thread of its own, which may change its namespace and ends.
fn on_a_thread<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    let result = thread::scope(|scope| scope.spawn(action).join());
    result.unwrap_or_else(|panic| panic::resume_unwind(panic))
}
