//! A server under test: what a case does to it, and what every case leaves behind.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fmt::Write as _, io, thread};

use anyhow::{Context, anyhow, bail, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid};
use servers::listener::Transport;

use super::client::{Client, STALL, noise, wait_until};
use super::observe::{self, Holdings};
use super::subject::Subject;
use crate::processes::process;
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
    arguments: &'static [&'static str],
    server: Server,
    group: Pid,
    baseline: Holdings,
    stopping: bool,
    log: Log,
}

impl Running {
    /// Starts a subject on a port of its own.
    pub(super) fn start(subject: Subject, arguments: &'static [&'static str]) -> anyhow::Result<Self> {
        let log = Log::new()?;
        let (server, group, baseline) = start(&subject, ANY_PORT, arguments, &log)?;
        Ok(Running {
            subject,
            arguments,
            server,
            group,
            baseline,
            stopping: false,
            log,
        })
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

    /// Connects a client that waits no longer than `patience`.
    pub fn client_within(&self, patience: Duration) -> anyhow::Result<Client> {
        match self.subject.transport() {
            Transport::Stream => Client::connect_within(self.address(), patience),
            Transport::Datagram => Client::over_datagrams(self.address(), patience),
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

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) -> anyhow::Result<()> {
        Ok(self.server.signal(Signal::SIGCONT)?)
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
        let mut left = Holdings::default();
        let is_gone = || {
            left = observe::holdings(self.group).unwrap_or_default();
            left.processes == 0
        };
        ensure!(
            wait_until(SETTLED_WITHIN, is_gone),
            "the server has ended and left behind {}",
            left.difference(&Holdings::default())
        );
        let further = self.server.further_output();
        ensure!(
            further.is_empty(),
            "after the ready line nothing is due on standard output, but there was: {further:?}"
        );
        Ok(())
    }

    /// Starts it again at once on the port that it had, after a clean exit.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let address = self.address();
        let (server, group, baseline) = start(&self.subject, address, self.arguments, &self.log)
            .with_context(|| format!("it could not be started again on {address}"))?;
        (self.server, self.group, self.baseline) = (server, group, baseline);
        self.stopping = false;
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
    listen: SocketAddr,
    arguments: &[&str],
    log: &Log,
) -> anyhow::Result<(Server, Pid, Holdings)> {
    let server = Server::start(&subject.launch(listen, arguments, &log.path()))
        .map_err(|error| anyhow!("{error}{}", log.quoted()))?;
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

/// Where a server's standard error goes: memory, so that nothing is left on a disk
/// however the harness ends.
#[derive(Debug)]
struct Log(OwnedFd);

impl Log {
    fn new() -> io::Result<Self> {
        Ok(Log(memfd_create("stderr", MFdFlags::MFD_CLOEXEC)?))
    }

    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// What it holds, as the end of a sentence; nothing where there is nothing.
    fn quoted(&self) -> String {
        match server::stderr_tail(&self.path()).trim_end() {
            "" => String::new(),
            said => format!("; it said: {said}"),
        }
    }
}
