//! Servers with one bug each, and what they share with the healthy one.

mod closed_listener;
mod crash;
mod dies_of_sigterm;
mod early_close;
mod healthy;
mod keeps_accepting;
mod leak;
mod no_drain;
mod no_end_of_input;
mod no_reuse_address;
mod one_at_a_time;
mod one_wait;
mod orphan;
mod partial_send;
mod strlen;
mod swapped;
mod talkative;
mod wedged;

use std::env;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use servers::clients::Clients;
use servers::listener::{self, Listener};
use servers::stop;

pub use healthy::SERVER as HEALTHY;

/// Set for a process of this test that is to be one of the servers.
pub const ROLE: &str = "ECHOBENCH_BROKEN";

pub static SERVERS: &[Broken] = &[
    strlen::SERVER,
    swapped::SERVER,
    partial_send::SERVER,
    early_close::SERVER,
    one_at_a_time::SERVER,
    one_wait::SERVER,
    no_end_of_input::SERVER,
    leak::SERVER,
    no_drain::SERVER,
    keeps_accepting::SERVER,
    closed_listener::SERVER,
    no_reuse_address::SERVER,
    wedged::SERVER,
    crash::SERVER,
    dies_of_sigterm::SERVER,
    talkative::SERVER,
    orphan::SERVER,
];

/// A server with a bug.
pub struct Broken {
    pub name: &'static str,
    pub serve: fn(&Options) -> anyhow::Result<()>,
    /// Id of the case that finds it out.
    pub fails: &'static str,
    /// What the evidence must name.
    pub evidence: &'static str,
}

/// The options that a case may give.
pub struct Options {
    pub listen: SocketAddr,
    pub drain: Duration,
}

/// Is one of the servers, if this process was started for that.
pub fn play() -> Option<ExitCode> {
    let name = env::var(ROLE).ok()?;
    let server = SERVERS
        .iter()
        .chain([&HEALTHY])
        .find(|server| server.name == name)?;
    let served = options().and_then(|options| (server.serve)(&options));
    Some(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    })
}

/// A thread per client, done right but for what `echo` does with the connection.
pub fn thread_per_client(options: &Options, echo: fn(&TcpStream) -> io::Result<()>) -> anyhow::Result<()> {
    let listener = listen(options)?;
    let clients = Clients::default();
    thread::scope(|scope| {
        listener.announce()?;
        while let Some(stream) = listener.accept()? {
            let client = clients.enter(stream);
            scope.spawn(move || echo(&client));
        }
        clients.drain();
        Ok(())
    })
}

/// A listener that SIGTERM shuts down.
pub fn listen(options: &Options) -> anyhow::Result<Listener> {
    let listener = Listener::bind(&listener::Options {
        address: options.listen,
        backlog: 4096,
        keepalive: None,
        nodelay: true,
        max_connections: None,
    })?;
    stop::on_signals(listener.as_fd(), options.drain)?;
    Ok(listener)
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        drain: Duration::from_secs(5),
    };
    let mut arguments = env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--listen" => options.listen = value.parse()?,
            "--drain" => options.drain = humantime::parse_duration(&value)?,
            other => anyhow::bail!("no case is expected to give {other}"),
        }
    }
    Ok(options)
}
