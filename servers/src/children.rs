//! Children that serve: what the models that fork have in common.
//!
//! A child takes a place and serves there until it ends. A place whose child has died is
//! given to a new one, though not so often that children which die at once keep the
//! machine busy.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::stop;
use crate::sys::process::{self, Forked, Pid};
use crate::sys::signal::{self, SignalFd};

/// How often a place is given to a child. One that lived longer is replaced at once; one
/// that died at once, or could not be started, costs a fork a second and no more.
const START_EVERY: Duration = Duration::from_secs(1);

/// Makes this process fit to fork.
pub fn prepare() -> io::Result<()> {
    process::require_one_thread()?;
    // Rust catches these to tell of an overflow of the stack, and by that survives the
    // first one that another process sends.
    signal::restore(libc::SIGSEGV)?;
    signal::restore(libc::SIGBUS)
}

/// The life of a child, which ends the process.
pub fn live(serve: impl FnOnce() -> io::Result<()>) -> ! {
    let result = stop::leave_to_parent().and_then(|()| serve());
    if let Err(error) = &result {
        eprintln!("echo-server: a worker ends: {error}");
    }
    process::exit_now(result.is_err().into())
}

/// Waits until no child is left, and at the end of the drain time kills those that are.
pub fn drain() -> io::Result<()> {
    // Blocked, a SIGCHLD that comes between the check and the wait is kept.
    signal::block(libc::SIGCHLD)?;
    loop {
        process::reap().for_each(drop);
        if !process::has_children() {
            return Ok(());
        }
        if stop::left().is_zero() {
            return process::kill_children();
        }
        process::wait_for_child(stop::left());
    }
}

/// A fixed number of children, started ahead and replaced. Its descriptor is ready when
/// one has ended.
#[derive(Debug)]
pub struct Children {
    places: Vec<Place>,
    ended: SignalFd,
    were_complete: bool,
    /// Each of the first children has a copy, and closes it when it begins. The last
    /// field, so that it is the last that a child closes of what it does not use.
    beginning: Option<(PipeReader, PipeWriter)>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    child: Option<Pid>,
    /// When it may be given to the next child.
    due: Instant,
}

impl Children {
    /// So many places, all of them vacant.
    pub fn new(count: usize) -> io::Result<Self> {
        prepare()?;
        let place = Place {
            child: None,
            due: Instant::now(),
        };
        Ok(Children {
            places: vec![place; count],
            ended: signal::descriptor(libc::SIGCHLD)?,
            were_complete: false,
            beginning: Some(io::pipe()?),
        })
    }

    /// Waits until each of the first children has let go of what is its parent's.
    pub fn wait_for_beginning(&mut self) -> io::Result<()> {
        let Some((mut all, own)) = self.beginning.take() else {
            return Ok(());
        };
        drop(own);
        all.read_to_end(&mut Vec::new())?;
        Ok(())
    }

    /// Starts a child wherever a place is vacant and its time has come. Returns in each of
    /// them with its place, and in the parent with `None`.
    pub fn fill(&mut self) -> io::Result<Option<usize>> {
        while let Some(place) = self.vacancy() {
            if let Some((Forked::Child, ())) = self.start(place, || Ok(()))? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// A place that may be given to a child now.
    pub fn vacancy(&mut self) -> Option<usize> {
        let now = Instant::now();
        let vacant = |place: &Place| place.child.is_none() && place.due <= now;
        let found = self.places.iter().position(vacant);
        self.were_complete |= found.is_none();
        found
    }

    /// Starts a child in a place with what it is to have; returns in both processes.
    ///
    /// That there can be none is an error at first, since so many were asked for; later it
    /// is said, once, and tried again when the place is due.
    pub fn start<T>(
        &mut self,
        place: usize,
        equip: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<Option<(Forked, T)>> {
        self.places[place].due = Instant::now() + START_EVERY;
        let started = equip().and_then(|equipment| Ok((process::fork()?, equipment)));
        match started {
            Ok((forked, equipment)) => {
                if let Forked::Parent(child) = forked {
                    self.places[place].child = Some(child);
                }
                Ok(Some((forked, equipment)))
            }
            Err(error) if self.were_complete => {
                say_that_one_is_missing(&error);
                Ok(None)
            }
            Err(error) => {
                let (number, count) = (place + 1, self.places.len());
                Err(io::Error::other(format!(
                    "cannot start worker {number} of {count}: {error}: ask for fewer --workers"
                )))
            }
        }
    }

    /// Collects the children that have ended, and returns the places that are vacant now.
    pub fn collect(&mut self) -> Vec<usize> {
        // Read before they are collected: one that ends after that makes it ready again.
        while let Ok(Some(_)) = self.ended.read_signal() {}
        process::reap()
            .filter_map(|(child, status)| {
                let place = self.places.iter().position(|place| place.child == Some(child))?;
                self.places[place].child = None;
                say_that_one_has_ended(status);
                Some(place)
            })
            .collect()
    }

    /// How long until a vacant place may be given to a child; `None` where none is vacant.
    pub fn due_in(&self) -> Option<Duration> {
        let vacant = self.places.iter().filter(|place| place.child.is_none());
        let due = vacant.map(|place| place.due).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }
}

impl AsFd for Children {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

fn say_that_one_has_ended(status: ExitStatus) {
    static SAID: Once = Once::new();
    // Status 0 is that of one that has heard of the stop before its parent.
    if !status.success() {
        SAID.call_once(|| {
            eprintln!("echo-server: a worker has ended ({status}): another takes its place (said once)");
        });
    }
}

fn say_that_one_is_missing(error: &io::Error) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        eprintln!("echo-server: cannot start a worker: {error}: the other workers serve until it succeeds (said once)");
    });
}
