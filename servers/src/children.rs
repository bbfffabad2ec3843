//! Worker processes: what the models that fork have in common.
//!
//! A worker that dies is replaced, but workers that die at once must not keep the machine
//! busy, so each worker number starts at most one process per second.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::stop;
use crate::sys::process::{self, Forked, Pid};
use crate::sys::signal::{self, SignalFd};
use crate::workers;

/// The shortest time between two starts of the same worker. A worker that lived longer is
/// replaced at once; one that dies immediately, or that cannot start, costs one fork per
/// second.
const RESTART_INTERVAL: Duration = Duration::from_secs(1);

/// Prepares this process for forking.
pub fn prepare() -> io::Result<()> {
    process::require_one_thread()?;
    // Rust catches these signals to report stack overflows. That handler survives the first
    // one that another process sends.
    signal::restore(libc::SIGSEGV)?;
    signal::restore(libc::SIGBUS)
}

/// Runs a child process to its end.
pub fn run_child(serve: impl FnOnce() -> io::Result<()>) -> ! {
    let result = stop::leave_to_parent().and_then(|()| serve());
    if let Err(error) = &result {
        complain!("echo-server: a worker failed: {error}");
    }
    process::exit_now(result.is_err().into())
}

/// Waits until all children have ended; kills the rest at the end of the drain time.
pub fn drain() -> io::Result<()> {
    // A blocked SIGCHLD stays pending if it comes between the check and the wait.
    signal::block(libc::SIGCHLD)?;
    loop {
        process::reap().for_each(drop);
        if !process::has_children() {
            return Ok(());
        }
        if stop::drain_left().is_zero() {
            return process::kill_children();
        }
        process::wait_for_child(stop::drain_left());
    }
}

/// A fixed number of worker processes, started ahead and replaced when they die. Its
/// descriptor becomes ready when a child has ended.
#[derive(Debug)]
pub struct Children {
    workers: Vec<Worker>,
    ended: SignalFd,
    all_started_once: bool,
    /// Each of the first children inherits a copy of the pipe and closes it when it starts
    /// to serve. The last field, so that a child drops it last.
    startup: Option<(PipeReader, PipeWriter)>,
}

#[derive(Debug, Clone, Copy)]
struct Worker {
    process: Option<Pid>,
    /// The earliest time of the next start.
    start_at: Instant,
}

impl Children {
    /// This number of workers, none of which has started.
    pub fn new(count: usize) -> io::Result<Self> {
        prepare()?;
        let worker = Worker {
            process: None,
            start_at: Instant::now(),
        };
        Ok(Children {
            workers: vec![worker; count],
            ended: signal::descriptor(libc::SIGCHLD)?,
            all_started_once: false,
            startup: Some(io::pipe()?),
        })
    }

    /// Waits until each of the first children has closed the descriptors of its parent.
    pub fn wait_for_startup(&mut self) -> io::Result<()> {
        let Some((mut all, own)) = self.startup.take() else {
            return Ok(());
        };
        drop(own);
        all.read_to_end(&mut Vec::new())?;
        Ok(())
    }

    /// Starts all workers that are due. Returns the worker's number in each child, and
    /// `None` in the parent.
    pub fn start_missing(&mut self) -> io::Result<Option<usize>> {
        while let Some(worker) = self.next_missing() {
            if let Some((Forked::Child, ())) = self.start(worker, || Ok(()))? {
                return Ok(Some(worker));
            }
        }
        Ok(None)
    }

    /// A worker that has no process and may start now.
    pub fn next_missing(&mut self) -> Option<usize> {
        let now = Instant::now();
        let missing = |worker: &Worker| worker.process.is_none() && worker.start_at <= now;
        let found = self.workers.iter().position(missing);
        self.all_started_once |= found.is_none();
        found
    }

    /// Starts a worker with its resources; returns in both processes.
    ///
    /// During startup a failure is an error, since the requested number is not possible.
    /// Later it is reported once, and the start repeated when it is due.
    pub fn start<T>(
        &mut self,
        worker: usize,
        resources: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<Option<(Forked, T)>> {
        self.workers[worker].start_at = Instant::now() + RESTART_INTERVAL;
        let started = resources().and_then(|resources| Ok((process::fork()?, resources)));
        match started {
            Ok((forked, resources)) => {
                if let Forked::Parent(child) = forked {
                    self.workers[worker].process = Some(child);
                }
                Ok(Some((forked, resources)))
            }
            Err(error) if self.all_started_once => {
                report_failed_start(&error);
                Ok(None)
            }
            Err(error) => Err(workers::too_many(worker, self.workers.len(), error)),
        }
    }

    /// Reaps the children that have ended; returns the numbers of their workers.
    pub fn reap(&mut self) -> Vec<usize> {
        // Before reaping: a child that ends later makes the descriptor ready again.
        while let Ok(Some(_)) = self.ended.read_signal() {}
        process::reap()
            .filter_map(|(child, status)| {
                let worker = self
                    .workers
                    .iter()
                    .position(|worker| worker.process == Some(child))?;
                self.workers[worker].process = None;
                report_end(status);
                Some(worker)
            })
            .collect()
    }

    /// The time until a missing worker may start; `None` if none is missing.
    pub fn next_start_in(&self) -> Option<Duration> {
        let missing = self.workers.iter().filter(|worker| worker.process.is_none());
        let start_at = missing.map(|worker| worker.start_at).min()?;
        Some(start_at.saturating_duration_since(Instant::now()))
    }
}

impl AsFd for Children {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

fn report_end(status: ExitStatus) {
    static REPORTED: Once = Once::new();
    // A child that learns of the stop before its parent exits with status 0.
    if !status.success() {
        REPORTED.call_once(|| {
            complain!("echo-server: a worker ended ({status}): another one replaces it (reported once)");
        });
    }
}

fn report_failed_start(error: &io::Error) {
    static REPORTED: Once = Once::new();
    REPORTED.call_once(|| {
        complain!(
            "echo-server: cannot start a worker: {error}: retrying, the other workers serve (reported once)"
        );
    });
}
