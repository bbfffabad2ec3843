//! A server under test: what a case does to it, and what every case leaves behind.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fmt::Write as _, io, thread};

use anyhow::{Context, anyhow, bail, ensure};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid};
use servers::by_design::Kind;
use servers::listener::Transport;

use super::client::{Client, STALL, noise, wait_until};
use super::fault::network::Network;
use super::log::Log;
use super::observe::{self, Holdings};
use super::subject::Subject;
use super::{Case, NotHere, Scale, Settings};
use crate::proc::descriptors;
use crate::proc::processes::{Process, group_members, process};
use crate::proc::tcp::{self, Socket};
use crate::proc::usage;
use crate::server::conditions::Conditions;
use crate::server::{self, ANY_PORT, Server};

/// Time for a fresh client to have its echo after a case.
const FRESH_WITHIN: Duration = Duration::from_secs(1);

/// Time for a server to give back what the clients of a case took: closing hundreds of
/// connections takes milliseconds, on a busy machine more.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// Readings this far apart that agree are the state at rest.
const REST: Duration = Duration::from_millis(20);

/// What a client says to find out whether it is served.
const HELLO: &[u8] = b"hello\n";

/// A subject that runs. Dropping it ends all that belongs to it.
#[derive(Debug)]
pub struct Running {
    subject: Subject,
    case: Case,
    settings: Settings,
    server: Server,
    group: Pid,
    baseline: Holdings,
    stopping: bool,
    log: Log,
    seen: Vec<String>,
    network: Option<Network>,
}

impl Running {
    /// Starts a subject on a port of its own.
    pub(super) fn start(subject: Subject, case: Case, settings: Settings) -> anyhow::Result<Self> {
        let log = Log::new()?;
        let network = match case.hosts {
            0 => None,
            hosts => Some(Network::new(hosts)?),
        };
        let listen = match &network {
            None => ANY_PORT,
            Some(network) => (network.server().address(), ANY_PORT.port()).into(),
        };
        let (server, group, baseline) = start(&subject, network.as_ref(), listen, &case, &log)?;
        Ok(Running {
            subject,
            case,
            settings,
            server,
            group,
            baseline,
            stopping: false,
            log,
            seen: Vec::new(),
            network,
        })
    }

    /// In which form the case runs.
    pub fn scale(&self) -> Scale {
        self.settings.scale
    }

    /// What is random in the case follows from it.
    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// One of two numbers, as the case runs in its quick form or in full.
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        match self.scale() {
            Scale::Quick => quick,
            Scale::Full => full,
        }
    }

    /// Notes what was seen, which is the evidence when the case passes: half a sentence,
    /// such as `7 of 20 were reset`.
    pub fn saw(&mut self, what: impl Into<String>) {
        self.seen.push(what.into());
    }

    /// Everything that was noted.
    pub(super) fn seen(&self) -> String {
        self.seen.join("; ")
    }

    /// What it speaks.
    pub fn transport(&self) -> Transport {
        self.subject.transport()
    }

    /// What it is by design.
    pub fn kinds(&self) -> &[Kind] {
        self.subject.kinds()
    }

    /// The network that it runs in, if the case has asked for one.
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many connections it serves at the same time; `None` where nothing limits it.
    pub fn at_once(&self) -> Option<usize> {
        self.subject.at_once()
    }

    /// How many of so many clients are served while all of them are connected.
    pub fn served_of(&self, clients: usize) -> usize {
        self.at_once().map_or(clients, |most| most.min(clients))
    }

    /// Connects a client.
    pub fn client(&self) -> anyhow::Result<Client> {
        self.client_within(STALL)
    }

    /// Connects a client that waits no longer than `patience`; in a network, from the last
    /// host of it.
    pub fn client_within(&self, patience: Duration) -> anyhow::Result<Client> {
        let (address, transport) = (self.address(), self.subject.transport());
        let connect = || match transport {
            Transport::Stream => Client::connect_within(address, patience),
            Transport::Datagram => Client::over_datagrams(address, patience),
        };
        match self.network().and_then(|network| network.clients().last()) {
            Some(host) => host.run(connect)?,
            None => connect(),
        }
    }

    /// Connects so many clients. All that can be served at the same time have had an
    /// echo; the others have sent a message, and wait.
    pub fn crowd(&self, clients: usize) -> anyhow::Result<Vec<Client>> {
        let served = self.served_of(clients);
        let enter = |number| -> anyhow::Result<Client> {
            let mut client = self.client()?;
            let message = noise(number as u64, 64);
            if number < served {
                client.echo(&message)?;
            } else {
                client.send(&message)?;
            }
            Ok(client)
        };
        (0..clients)
            .map(|number| enter(number).with_context(|| format!("client {} of {clients}", number + 1)))
            .collect()
    }

    /// Whether a connection is a process or a thread to it.
    pub fn has_worker_per_connection(&mut self) -> anyhow::Result<bool> {
        /// More than a server may start for other reasons with its first connections.
        const SAMPLE: usize = 16;
        let _crowd = self.crowd(SAMPLE)?;
        let (now, before) = (self.holdings()?, self.baseline);
        Ok(now.threads + now.processes >= before.threads + before.processes + SAMPLE)
    }

    /// What it holds now.
    pub fn holdings(&self) -> io::Result<Holdings> {
        observe::holdings(self.group)
    }

    /// What it held after its start.
    pub fn baseline(&self) -> Holdings {
        self.baseline
    }

    /// Stops the main process where it is (SIGSTOP); its children go on.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.server.signal(Signal::SIGSTOP)?;
        let is_stopped = || process(self.server.pid()).is_some_and(|process| process.state == 'T');
        ensure!(wait_until(STALL, is_stopped), "SIGSTOP did not stop the server");
        Ok(())
    }

    /// Stops all of its processes where they are.
    pub fn freeze_all(&self) -> anyhow::Result<()> {
        let are_stopped = || {
            // Again and again, for those that were being forked meanwhile.
            self.signal_all(Signal::SIGSTOP).is_ok()
                && self
                    .processes()
                    .is_ok_and(|all| all.iter().all(|process| process.state == 'T'))
        };
        ensure!(wait_until(STALL, are_stopped), "SIGSTOP did not stop the server");
        Ok(())
    }

    /// Lets all of them go on.
    pub fn thaw_all(&self) -> anyhow::Result<()> {
        self.signal_all(Signal::SIGCONT)
    }

    /// Sends a signal to the main process.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(self.server.signal(signal)?)
    }

    fn signal_all(&self, signal: Signal) -> anyhow::Result<()> {
        for process in self.processes()? {
            // One that has ended meanwhile needs no signal.
            let _ = kill(process.pid, signal);
        }
        Ok(())
    }

    /// Id of the main process.
    pub fn pid(&self) -> Pid {
        self.server.pid()
    }

    /// The process group of all that belongs to it.
    pub fn group(&self) -> Pid {
        self.group
    }

    /// Has a folder removed at its end, however the harness ends.
    pub fn remove_at_end(&self, folder: &Path) -> anyhow::Result<()> {
        Ok(self.server.remove_at_end(folder)?)
    }

    /// All of its processes that have not ended.
    pub fn processes(&self) -> io::Result<Vec<Process>> {
        let mut members = group_members(self.group)?;
        members.retain(|process| process.state != 'Z');
        Ok(members)
    }

    /// Its processes beside the main one, which are its workers.
    pub fn workers(&self) -> io::Result<Vec<Pid>> {
        let all = self.processes()?;
        let pids = all.iter().map(|process| process.pid);
        Ok(pids.filter(|&pid| pid != self.pid()).collect())
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) -> anyhow::Result<()> {
        Ok(self.server.signal(Signal::SIGCONT)?)
    }

    /// The process that serves a client which has had an answer. While the main process
    /// hands it over both have the connection: then it is the worker.
    pub fn server_of(&self, client: &Client) -> anyhow::Result<Pid> {
        let (here, there) = (self.address(), client.address()?);
        let is_it = |socket: &Socket| socket.local.port() == here.port() && socket.remote == there;
        let Some(connection) = tcp::all()?.into_iter().find(is_it) else {
            bail!("the server has no connection to its client on {there}");
        };
        let mut candidates = self.workers()?.into_iter().chain([self.pid()]);
        let owner = candidates.find(|&pid| descriptors::sockets(pid).contains(&connection.inode));
        owner.ok_or_else(|| anyhow!("no process of the server has the connection to {there}"))
    }

    /// Takes note of a kind of server that only shows when it runs. A model says itself what
    /// it is.
    pub fn shows_to_be(&mut self, kind: Kind) -> anyhow::Result<()> {
        self.subject.shows_to_be(kind)
    }

    /// Kills one of its processes and waits until it has ended. The signal is sent until then:
    /// a Rust program survives the first SIGSEGV that another process sends it.
    pub fn kill(&self, pid: Pid, signal: Signal) -> anyhow::Result<()> {
        let has_ended = || process(pid).is_none_or(|process| process.state == 'Z');
        let is_killed = || {
            has_ended() || {
                // It may end at any moment.
                let _ = kill(pid, signal);
                false
            }
        };
        ensure!(wait_until(STALL, is_killed), "a process outlived {signal}");
        Ok(())
    }

    /// Waits for the end of a server whose main process was killed: it died of the signal,
    /// and nothing of it is left.
    pub fn expect_death_by(&mut self, signal: Signal) -> anyhow::Result<()> {
        let status = self.server.wait(STALL)?;
        let Some(status) = status.filter(|status| status.signal() == Some(signal as i32)) else {
            bail!("after {signal} the main process had ended as {status:?}");
        };
        self.expect_nobody_left()
            .with_context(|| format!("after the end of the main process ({status})"))
    }

    /// Tells it to stop (SIGTERM).
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.ensure_alive()?;
        self.stopping = true;
        Ok(self.server.signal(Signal::SIGTERM)?)
    }

    /// What it has said on standard error, as far as its last words.
    pub fn said(&self) -> String {
        server::stderr_tail(&self.log.path())
    }

    /// Waits for the end of a server that was told to stop: exit status 0 (unless it is
    /// external, which may die of the signal), nothing left behind, nothing said.
    pub fn expect_clean_exit(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.server.wait(STALL)? else {
            bail!("the server had not ended {STALL:?} after SIGTERM and the end of its last client");
        };
        ensure!(
            status.success() || self.subject.is_external(),
            "the server ended with {status} after SIGTERM where exit status 0 was due"
        );
        self.expect_nobody_left()?;
        let further = self.server.further_output();
        ensure!(
            further.is_empty(),
            "after the ready line nothing is due on standard output, but there was: {further:?}"
        );
        Ok(())
    }

    fn expect_nobody_left(&self) -> anyhow::Result<()> {
        let mut left = Holdings::default();
        let is_gone = || {
            left = self.holdings().unwrap_or_default();
            left.processes == 0
        };
        ensure!(
            wait_until(SETTLED_WITHIN, is_gone),
            "the server has ended and left behind {}",
            left.difference(&Holdings::default())
        );
        Ok(())
    }

    /// Starts it again at once on the port that it had, after its end.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let address = self.address();
        self.start_on(address)
            .with_context(|| format!("it could not be started again on {address}"))
    }

    /// The same under other conditions, and on a port of its own.
    pub fn start_again_under(&mut self, conditions: Conditions) -> anyhow::Result<()> {
        self.case.conditions = conditions;
        self.start_on(SocketAddr::new(self.address().ip(), 0))
    }

    fn start_on(&mut self, listen: SocketAddr) -> anyhow::Result<()> {
        let network = self.network.as_ref();
        let (server, group, baseline) = start(&self.subject, network, listen, &self.case, &self.log)?;
        (self.server, self.group, self.baseline) = (server, group, baseline);
        self.stopping = false;
        Ok(())
    }

    /// How many sockets it has open, and how many of these have a descriptor from `first` on.
    pub fn sockets_from(&self, first: RawFd) -> io::Result<(usize, usize)> {
        observe::sockets_from(first, self.group)
    }

    /// Memory that its processes have made for themselves, what several share counted once.
    pub fn memory_bytes(&self) -> anyhow::Result<u64> {
        let mut all = 0;
        for Process { pid, .. } in self.processes()? {
            match usage::anonymous_pss_bytes(&[pid]) {
                Some(bytes) => all += bytes,
                None if process(pid).is_none_or(|process| process.state == 'Z') => {}
                None => bail!(NotHere(
                    "the memory of another process cannot be read here: run it as root".into()
                )),
            }
        }
        Ok(all)
    }

    /// Whether one of its processes has an io_uring.
    pub fn has_ring(&self) -> io::Result<bool> {
        let processes = self.processes()?;
        Ok(processes.iter().any(|process| descriptors::has_ring(process.pid)))
    }

    /// Fails as not possible here if the harness may not have descriptors for so many clients.
    pub fn require_descriptors_for(&self, clients: usize) -> anyhow::Result<()> {
        /// For all that is not a client, of cases beside this one as well.
        const OTHERS: u64 = 200;
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let needed = clients as u64 + OTHERS;
        ensure!(
            limit >= needed,
            NotHere(format!(
                "{clients} clients need {needed} descriptors, and {limit} are allowed: raise the hard limit (`ulimit -Hn`)"
            ))
        );
        Ok(())
    }

    /// Waits until everything that clients took is given back.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            self.ensure_alive()?;
            let now = self.holdings()?;
            if now == self.baseline {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{SETTLED_WITHIN:?} after its last client had gone the server had not given everything back: {}",
                now.difference(&self.baseline)
            );
            thread::sleep(REST);
        }
    }

    /// What every case ends with.
    pub(super) fn aftermath(&mut self) -> anyhow::Result<()> {
        if !self.stopping {
            self.ensure_alive()?;
            self.expect_fresh_echo()?;
            self.settle()?;
            self.terminate()?;
        }
        self.expect_clean_exit()
    }

    /// An error and what else is known about the server.
    pub(super) fn evidence(&mut self, error: &anyhow::Error) -> String {
        let mut evidence = format!("{error:#}");
        // A process that dies closes its connections a moment before it has ended.
        if let Ok(Some(status)) = self.server.wait(SETTLED_WITHIN / 20) {
            let _ = write!(evidence, "; the server had ended by then: {status}");
        }
        evidence + &self.log.quoted()
    }

    fn expect_fresh_echo(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        self.client_within(FRESH_WITHIN)
            .and_then(|mut client| client.echo(HELLO))
            .with_context(|| format!("a fresh client had no echo within {FRESH_WITHIN:?}"))?;
        ensure!(
            start.elapsed() <= FRESH_WITHIN,
            "a fresh client had its echo after {:?} where {FRESH_WITHIN:?} are allowed",
            start.elapsed()
        );
        Ok(())
    }

    fn ensure_alive(&mut self) -> anyhow::Result<()> {
        match self.server.ended()? {
            Some(status) => bail!("the server ended unasked: {status}"),
            None => Ok(()),
        }
    }
}

/// Starts a server and takes its baseline.
fn start(
    subject: &Subject,
    network: Option<&Network>,
    listen: SocketAddr,
    case: &Case,
    log: &Log,
) -> anyhow::Result<(Server, Pid, Holdings)> {
    let launch = subject.launch(listen, case, &log.path());
    let server = match network {
        Some(network) => network.server().run(|| Server::start(&launch))?,
        None => Server::start(&launch),
    }
    .map_err(|error| {
        let evidence = format!("{error}{}", log.quoted());
        anyhow::Error::new(error).context(evidence)
    })?;
    let group = getpgid(Some(server.pid()))?;
    let baseline = at_rest(group)?;
    Ok((server, group, baseline))
}

/// What a server holds once that no longer changes: it may still be starting threads
/// when it is ready.
fn at_rest(group: Pid) -> io::Result<Holdings> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let mut last = observe::holdings(group)?;
    loop {
        thread::sleep(REST);
        let now = observe::holdings(group)?;
        if now == last || Instant::now() >= deadline {
            return Ok(now);
        }
        last = now;
    }
}
