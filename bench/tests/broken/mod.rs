//! Servers with one bug each, and what they share with the healthy one.

mod answers_anyone;
mod closed_listener;
mod crash;
mod cut_off;
mod deaf_to_backlog;
mod dies_of_a_lost_client;
mod dies_of_sigterm;
mod drains_first;
mod early_close;
mod edge_stall;
mod forgets_queue;
mod freed_twice;
mod full_set;
mod gives_up;
mod hasty;
mod healthy;
mod hoards;
mod interrupted;
mod keeps_accepting;
mod keeps_buffers;
mod keeps_unserved;
mod leak;
mod level_spin;
mod must_have_thread;
mod no_deadline;
mod no_drain;
mod no_end_of_input;
mod no_keepalive;
mod no_reuse_address;
mod not_replaced;
mod one_at_a_time;
mod one_per_edge;
mod one_wait;
mod orphan;
mod partial_send;
mod peer_name;
mod precedence;
mod queue_only;
mod shared_slot;
mod sigpipe;
mod slots;
mod small_queue;
mod strlen;
mod survivor;
mod swapped;
mod sweep;
mod talkative;
mod tries_on;
mod unaccounted;
mod undrained;
mod wedged;

use std::env;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread::{self, Builder};
use std::time::Duration;

use servers::clients::Clients;
use servers::datagram;
use servers::listener::{self, Listener};
use servers::stop;
use servers::sys::socket::{self, Datagram};
use socket2::SockRef;

pub use healthy::SERVER as HEALTHY;

/// Set for a process of this test that must be one of the servers.
pub const SERVER_VARIABLE: &str = "ECHOBENCH_BROKEN";

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
    no_keepalive::SERVER,
    dies_of_a_lost_client::SERVER,
    peer_name::SERVER,
    sigpipe::SERVER,
    interrupted::SERVER,
    not_replaced::SERVER,
    survivor::SERVER,
    forgets_queue::SERVER,
    hasty::SERVER,
    hoards::SERVER,
    no_deadline::SERVER,
    drains_first::SERVER,
    one_per_edge::SERVER,
    deaf_to_backlog::SERVER,
    full_set::SERVER,
    sweep::SERVER,
    small_queue::SERVER,
    keeps_buffers::SERVER,
    freed_twice::SERVER,
    shared_slot::SERVER,
    gives_up::SERVER,
    tries_on::SERVER,
    level_spin::SERVER,
    edge_stall::SERVER,
    must_have_thread::SERVER,
    keeps_unserved::SERVER,
    queue_only::SERVER,
    precedence::SERVER,
];

/// Servers over UDP.
pub static OF_DATAGRAMS: &[Broken] = &[
    answers_anyone::SERVER,
    cut_off::SERVER,
    unaccounted::SERVER,
    undrained::SERVER,
];

/// A server with a bug.
pub struct Broken {
    pub name: &'static str,
    pub serve: fn(&Options) -> anyhow::Result<()>,
    /// Id of the case that must fail.
    pub fails: &'static str,
    /// What the evidence must contain.
    pub evidence: &'static str,
}

/// The options that cases use.
pub struct Options {
    pub listen: SocketAddr,
    pub drain: Duration,
    pub buffer: usize,
    pub keepalive: Option<Duration>,
    pub write_deadline: Option<Duration>,
    pub backlog: i32,
}

/// Runs one of the servers if this process was started for that.
pub fn play() -> Option<ExitCode> {
    let name = env::var(SERVER_VARIABLE).ok()?;
    let server = SERVERS
        .iter()
        .chain(OF_DATAGRAMS)
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

/// A thread per client; correct except for what `echo` does with the connection.
pub fn thread_per_client(options: &Options, echo: fn(&TcpStream) -> io::Result<()>) -> anyhow::Result<()> {
    let listener = listen(options)?;
    let clients = Clients::default();
    thread::scope(|scope| {
        listener.announce()?;
        while let Some(stream) = listener.accept()? {
            let client = clients.enter(stream);
            // If no thread can be started, the closure is dropped with the client. The stack has
            // the usual size, because many of these servers have their buffers there.
            let _ = Builder::new().spawn_scoped(scope, move || drop(echo(&client)));
        }
        clients.drain();
        Ok(())
    })
}

/// Answers the datagrams that `is_answered` selects with the part that fits into the buffer,
/// including those queued at the stop; counts nothing.
pub fn answer_each(options: &Options, is_answered: fn(&Datagram, &Options) -> bool) -> anyhow::Result<()> {
    let listener = Listener::bind_datagram(options.listen)?;
    stop::on_signals(listener.as_fd(), options.drain)?;
    listener.announce()?;
    let options = &Options {
        listen: listener.socket().local_addr()?,
        ..*options
    };
    let mut buffer = vec![0; options.buffer];
    loop {
        let datagram = socket::receive_from(listener.as_fd(), &mut buffer)?;
        let Some(source) = datagram.source else {
            return Ok(());
        };
        if is_answered(&datagram, options) {
            let message = &buffer[..datagram.length.min(options.buffer)];
            SockRef::from(&listener).send_to(message, &source.into())?;
        }
    }
}

/// Whether a server on that port may answer the source.
pub fn is_client(datagram: &Datagram, options: &Options) -> bool {
    let source = datagram.source;
    source.is_some_and(|source| datagram::refusal(source, options.listen.port()).is_none())
}

/// A listener that SIGTERM shuts down.
pub fn listen(options: &Options) -> anyhow::Result<Listener> {
    let listener = Listener::bind(&listener::Options {
        address: options.listen.into(),
        backlog: options.backlog,
        keepalive: options.keepalive,
        write_deadline: options.write_deadline,
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
        buffer: 64 * 1024,
        keepalive: None,
        write_deadline: None,
        backlog: 4096,
    };
    let mut arguments = env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--listen" => options.listen = value.parse()?,
            "--drain" => options.drain = humantime::parse_duration(&value)?,
            "--write-deadline" => options.write_deadline = Some(humantime::parse_duration(&value)?),
            "--backlog" => options.backlog = value.parse()?,
            "--buffer" => options.buffer = record::units::size(&value)? as usize,
            "--keepalive" => options.keepalive = Some(humantime::parse_duration(&value)?),
            other => anyhow::bail!("no case uses {other}"),
        }
    }
    Ok(options)
}
