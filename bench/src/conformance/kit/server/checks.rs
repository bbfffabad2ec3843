//! What must hold for a server under test after every case.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;

use super::{READING_INTERVAL, RELEASED_WITHIN, ServerUnderTest};
use crate::conformance::kit::resources::Resources;
use crate::conformance::kit::wait::{STALL, wait_until};

/// Time for a fresh client to get its echo after a case.
const FRESH_WITHIN: Duration = Duration::from_secs(1);

/// Time for a process whose connections have closed to end.
const ENDED_WITHIN: Duration = Duration::from_secs(2);

const HELLO: &[u8] = b"hello\n";

impl ServerUnderTest {
    /// The checks that follow every case: a fresh client is served, all resources are
    /// released, and the server stops cleanly.
    pub fn check_after_case(&mut self) -> anyhow::Result<()> {
        if !self.stopping {
            self.ensure_alive()?;
            self.expect_fresh_echo()?;
            self.expect_released()?;
            self.terminate()?;
        }
        self.expect_clean_exit()
    }

    /// An error with everything else that is known about the server.
    pub fn evidence(&mut self, error: &anyhow::Error) -> String {
        let mut evidence = format!("{error:#}");
        // A process that dies closes its connections a moment before it ends.
        if let Ok(Some(status)) = self.server.wait(ENDED_WITHIN) {
            let _ = write!(evidence, "; the server had ended: {status}");
        }
        evidence + &self.log.quoted()
    }

    /// Waits until everything that clients took is released.
    pub fn expect_released(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + RELEASED_WITHIN;
        loop {
            self.ensure_alive()?;
            let now = self.resources()?;
            if now == self.baseline {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{RELEASED_WITHIN:?} after its last client had gone the server had not released everything: {}",
                now.difference(&self.baseline)
            );
            thread::sleep(READING_INTERVAL);
        }
    }

    /// Sends SIGTERM.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.ensure_alive()?;
        self.stopping = true;
        self.signal(Signal::SIGTERM)
    }

    /// Waits for the end after SIGTERM: exit status 0 (an external server may die of the
    /// signal), no process left behind, no further output.
    pub fn expect_clean_exit(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.server.wait(STALL)? else {
            bail!("the server had not ended {STALL:?} after SIGTERM and the end of its last client");
        };
        ensure!(
            status.success() || !self.participant.keeps_contract(),
            "the server ended with {status} after SIGTERM instead of exit status 0"
        );
        self.expect_no_processes()?;
        let further = self.server.further_output();
        ensure!(
            further.is_empty(),
            "standard output must contain only the ready line, but had more: {further:?}"
        );
        Ok(())
    }

    /// Waits for the end of a server whose main process was killed: it died of the signal and
    /// left no process behind.
    pub fn expect_killed_by(&mut self, signal: Signal) -> anyhow::Result<()> {
        let status = self.server.wait(STALL)?;
        let Some(status) = status.filter(|status| status.signal() == Some(signal as i32)) else {
            bail!("after {signal} the main process had ended as {status:?}");
        };
        self.expect_no_processes()
            .with_context(|| format!("after the end of the main process ({status})"))
    }

    fn expect_no_processes(&self) -> anyhow::Result<()> {
        let mut left = Resources::default();
        let is_gone = || {
            left = self.resources().unwrap_or_default();
            left.processes == 0
        };
        ensure!(
            wait_until(RELEASED_WITHIN, is_gone),
            "the server has ended and left behind {}",
            left.difference(&Resources::default())
        );
        Ok(())
    }

    fn expect_fresh_echo(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        self.connect_within(FRESH_WITHIN)
            .and_then(|mut client| client.echo(HELLO))
            .with_context(|| format!("a fresh client got no echo within {FRESH_WITHIN:?}"))?;
        ensure!(
            start.elapsed() <= FRESH_WITHIN,
            "a fresh client got its echo after {:?}; the limit is {FRESH_WITHIN:?}",
            start.elapsed()
        );
        Ok(())
    }

    fn ensure_alive(&mut self) -> anyhow::Result<()> {
        match self.server.ended()? {
            Some(status) => bail!("the server ended without SIGTERM: {status}"),
            None => Ok(()),
        }
    }
}
