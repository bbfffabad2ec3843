//! The CPU clock of the descendants of a process, cheap enough to be read before and after every slice.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::processes::{children, lists_children};
use super::usage::{children_cpu_time, own_cpu_time};

/// Finding the members takes at most one part in so many of the time, also on a host on which tasks
/// start all the time.
const FINDING: u32 = 20;

/// The CPU time of the descendants of a process, also of those that have ended and been waited for. Of
/// a server the process is its guard, which takes no part.
///
/// Reading 1,000 clocks takes 0.5 ms, and finding 1,000 processes or threads 5 to 16 ms. So the
/// processes are found again only when a task was started somewhere on the host, and a new one is
/// counted from one of the next readings on, with all that it has used.
///
/// The kernel counts nanoseconds: at once when a task blocks, and in every tick (1 to 10 ms) while
/// it runs. Of processes that have ended it tells steps of 10 ms.
#[derive(Debug)]
pub struct TreeClock {
    root: Pid,
    members: Vec<Pid>,
    /// The root, and members that have or had children.
    parents: BTreeSet<Pid>,
    /// The newest task when the members were found.
    newest: Option<String>,
    found_at: Instant,
    finding_took: Duration,
    latest: Duration,
}

impl TreeClock {
    /// The clock of what is below `root`; `None` if the kernel does not list children.
    pub fn new(root: Pid) -> Option<Self> {
        let mut clock = TreeClock {
            root,
            members: Vec::new(),
            parents: BTreeSet::new(),
            newest: None,
            found_at: Instant::now(),
            finding_took: Duration::ZERO,
            latest: Duration::ZERO,
        };
        lists_children().then(|| {
            clock.find(newest_task());
            clock
        })
    }

    /// The CPU time so far, never less than before; `None` if the root has ended.
    pub fn read(&mut self) -> Option<Duration> {
        let newest = newest_task();
        let may_have_grown = newest.is_none() || newest != self.newest;
        if may_have_grown && self.found_at.elapsed() >= self.finding_took * FINDING {
            self.find(newest);
        }
        own_cpu_time(self.root)?;
        let live: Duration = self.members.iter().filter_map(|&pid| own_cpu_time(pid)).sum();
        let ended: Duration = self.parents.iter().map(|&pid| children_cpu_time(pid)).sum();
        // When a process ends, steps take the place of nanoseconds.
        self.latest = self.latest.max(live + ended);
        Some(self.latest)
    }

    /// Finds the members, where `newest` was read before, so that none is missed later.
    fn find(&mut self, newest: Option<String>) {
        let begin = Instant::now();
        self.members = children(self.root);
        let mut parents = BTreeSet::from([self.root]);
        let mut next = 0;
        while let Some(&member) = self.members.get(next) {
            let children = children(member);
            if !children.is_empty() || self.parents.contains(&member) {
                parents.insert(member);
            }
            self.members.extend(children);
            next += 1;
        }
        self.parents = parents;
        self.newest = newest;
        self.found_at = Instant::now();
        self.finding_took = self.found_at - begin;
    }
}

/// The id of the task that was started last on this host, or in this container.
fn newest_task() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().nth(4).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use std::io::Write;
    use std::process::{Child, Command, Stdio};
    use std::thread;

    const SPIN: &str = "while :; do :; done";

    /// More than the shells of these tests need for everything else.
    const MUCH: Duration = Duration::from_millis(300);

    fn shell(script: &str) -> (Child, TreeClock) {
        let mut command = Command::new("sh");
        let child = command
            .args(["-c", script])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let clock = TreeClock::new(Pid::from_raw(child.id() as i32)).unwrap();
        (child, clock)
    }

    fn wait_until_it_grows(clock: &mut TreeClock) {
        let before = clock.read().unwrap();
        while clock.read().unwrap() < before + MUCH {
            thread::yield_now();
        }
    }

    fn end(mut child: Child, clock: &mut TreeClock) {
        clock.find(None);
        for &pid in clock.members.iter().rev() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(clock.read(), None, "the root has ended");
    }

    #[test]
    fn a_task_that_starts_becomes_the_newest() {
        let before = newest_task().unwrap();
        thread::spawn(|| ()).join().unwrap();
        assert_ne!(newest_task().unwrap(), before);
    }

    #[test]
    fn a_grandchild_counts_that_starts_when_the_clock_runs() {
        let (mut child, mut clock) = shell(&format!("sh -c 'read go; sh -c \"{SPIN}\"; true'; true"));
        while clock.members.is_empty() {
            clock.read().unwrap();
        }
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        wait_until_it_grows(&mut clock);
        end(child, &mut clock);
    }

    #[test]
    fn the_time_of_a_grandchild_that_has_ended_stays() {
        let (mut child, mut clock) = shell(&format!("sh -c 'sh -c \"{SPIN}\"; read go'; true"));
        wait_until_it_grows(&mut clock);
        let before = clock.read().unwrap();
        let last = *clock.members.last().unwrap();
        kill(last, Signal::SIGKILL).unwrap();
        while own_cpu_time(last).is_some() {
            thread::yield_now();
        }
        assert!(clock.read().unwrap() >= before);
        // A clock without a memory of it learns it from the parent, which is not the root.
        let mut fresh = TreeClock::new(clock.root).unwrap();
        fresh.parents.clone_from(&clock.parents);
        assert!(fresh.read().unwrap() + MUCH / 10 > before);
        child.stdin.take();
        child.wait().unwrap();
        assert_eq!(clock.read(), None, "the root has ended");
    }
}
