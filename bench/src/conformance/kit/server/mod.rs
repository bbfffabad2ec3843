//! A server under test: started with the setup of a case, observed from outside.

mod checks;
mod processes;

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{io, thread};

use anyhow::Context;
use nix::unistd::Pid;
use servers::listener::Transport;

use super::client::Client;
use super::exemption::{self, Kind};
use super::faults::network::Network;
use super::launch::{concurrency, launch};
use super::log::Log;
use super::payload::noise;
use super::resources::{self, Resources};
use super::setup::{Scale, Settings, Setup};
use super::wait::STALL;
use crate::participant::Participant;
use crate::proc::processes::guarded_by;
use crate::server::conditions::Conditions;
use crate::server::{self, ANY_PORT, Server};

/// Time for a server to release what the clients of a case took: closing hundreds of
/// connections takes milliseconds, on a busy machine more.
const RELEASED_WITHIN: Duration = Duration::from_secs(5);

/// Time between two readings of a server's resources.
const READING_INTERVAL: Duration = Duration::from_millis(20);

/// Equal readings in a row after which a server that never sleeps counts as started.
const EQUAL_READINGS: usize = 10;

/// A participant that runs. Dropping it ends everything that belongs to it.
#[derive(Debug)]
pub struct ServerUnderTest {
    participant: Participant,
    kinds: Vec<Kind>,
    setup: Setup,
    settings: Settings,
    server: Server,
    baseline: Resources,
    stopping: bool,
    log: Log,
    notes: Vec<String>,
    network: Option<Network>,
}

impl ServerUnderTest {
    /// Starts a participant on a free port.
    pub fn start(participant: &Participant, setup: Setup, settings: Settings) -> anyhow::Result<Self> {
        let log = Log::new()?;
        let network = match setup.hosts {
            0 => None,
            hosts => Some(Network::new(hosts)?),
        };
        let listen = match &network {
            None => ANY_PORT,
            Some(network) => (network.server().address(), ANY_PORT.port()).into(),
        };
        let (server, baseline) = start(participant, network.as_ref(), listen, &setup, &log)?;
        Ok(ServerUnderTest {
            participant: participant.clone(),
            kinds: exemption::kinds(participant),
            setup,
            settings,
            server,
            baseline,
            stopping: false,
            log,
            notes: Vec::new(),
            network,
        })
    }

    /// Starts it again on the same port after it has ended.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let address = self.address();
        self.start_on(address)
            .with_context(|| format!("it could not be restarted on {address}"))
    }

    /// Starts it again under other conditions, on another port.
    pub fn restart_under(&mut self, conditions: Conditions) -> anyhow::Result<()> {
        self.setup.conditions = conditions;
        self.start_on(SocketAddr::new(self.address().ip(), 0))
    }

    fn start_on(&mut self, listen: SocketAddr) -> anyhow::Result<()> {
        let network = self.network.as_ref();
        let (server, baseline) = start(&self.participant, network, listen, &self.setup, &self.log)?;
        (self.server, self.baseline) = (server, baseline);
        self.stopping = false;
        Ok(())
    }

    /// The scale that the case runs at.
    pub fn scale(&self) -> Scale {
        self.settings.scale
    }

    /// Seed of everything random in the case.
    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// The value for the scale that the case runs at.
    pub fn by_scale<T>(&self, quick: T, full: T) -> T {
        match self.scale() {
            Scale::Quick => quick,
            Scale::Full => full,
        }
    }

    /// Notes an observation, half a sentence such as `7 of 20 were reset`. The notes are the
    /// evidence of a case that passes.
    pub fn note(&mut self, observation: impl Into<String>) {
        self.notes.push(observation.into());
    }

    /// All observations.
    pub fn notes(&self) -> String {
        self.notes.join("; ")
    }

    /// The protocol that it serves.
    pub fn transport(&self) -> Transport {
        self.participant.transport()
    }

    /// The kinds that it is of.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Whether it is of a kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The network that it runs in, if the case asks for one.
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many connections it serves concurrently; `None` if it has no limit.
    pub fn concurrency(&self) -> Option<usize> {
        concurrency(&self.participant, self.setup.connections)
    }

    /// How many of this number of open connections it serves concurrently.
    pub fn served_of(&self, clients: usize) -> usize {
        self.concurrency().map_or(clients, |most| most.min(clients))
    }

    /// Connects a client.
    pub fn connect(&self) -> anyhow::Result<Client> {
        self.connect_within(STALL)
    }

    /// Connects a client whose calls wait for at most `timeout`; in a network, from its last
    /// host.
    pub fn connect_within(&self, timeout: Duration) -> anyhow::Result<Client> {
        let (address, transport) = (self.address(), self.transport());
        let connect = || match transport {
            Transport::Stream => Client::connect_within(address, timeout),
            Transport::Datagram => Client::udp(address, timeout),
        };
        match self.network().and_then(|network| network.clients().last()) {
            Some(host) => host.run(connect)?,
            None => connect(),
        }
    }

    /// Connects that many clients. Those that can be served concurrently have had an echo; the
    /// others have sent a message and wait.
    pub fn connect_clients(&self, clients: usize) -> anyhow::Result<Vec<Client>> {
        let served = self.served_of(clients);
        let connect = |number| -> anyhow::Result<Client> {
            let mut client = self.connect()?;
            let message = noise(number as u64, 64);
            if number < served {
                client.echo(&message)?;
            } else {
                client.send(&message)?;
            }
            Ok(client)
        };
        (0..clients)
            .map(|number| connect(number).with_context(|| format!("client {} of {clients}", number + 1)))
            .collect()
    }

    /// What it holds now.
    pub fn resources(&self) -> io::Result<Resources> {
        resources::of_server(self.guard())
    }

    /// What it held after its start.
    pub fn baseline(&self) -> Resources {
        self.baseline
    }

    /// The end of its standard error.
    pub fn stderr(&self) -> String {
        server::stderr_tail(&self.log.path())
    }
}

/// Starts a server and takes its baseline.
fn start(
    participant: &Participant,
    network: Option<&Network>,
    listen: SocketAddr,
    setup: &Setup,
    log: &Log,
) -> anyhow::Result<(Server, Resources)> {
    let launch = launch(participant, setup, listen, &log.path());
    let server = match network {
        Some(network) => network.server().run(|| Server::start(&launch))?,
        None => Server::start(&launch),
    }
    .map_err(|error| {
        let evidence = format!("{error}{}", log.quoted());
        anyhow::Error::new(error).context(evidence)
    })?;
    let baseline = baseline(server.guard())?;
    Ok((server, baseline))
}

/// What a server holds when it has started everything: it may still start threads after the
/// ready line. Two equal readings are enough if all of its processes sleep; a process that
/// still starts something is runnable, however long it waits for a processor.
fn baseline(guard: Pid) -> io::Result<Resources> {
    let deadline = Instant::now() + RELEASED_WITHIN;
    let mut last = resources::of_server(guard)?;
    let mut equal = 0;
    loop {
        thread::sleep(READING_INTERVAL);
        let sleeps = guarded_by(guard)?.iter().all(|process| process.state != 'R');
        let now = resources::of_server(guard)?;
        equal = if now == last { equal + 1 } else { 0 };
        if equal >= EQUAL_READINGS || (equal > 0 && sleeps) || Instant::now() >= deadline {
            return Ok(now);
        }
        last = now;
    }
}
