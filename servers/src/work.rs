//! `--work`: simulated work for each read, before the echo.
//!
//! Pure echo hides how the models differ once requests take time.

use std::hint::black_box;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use crate::sys::clock;

/// Longer than any client waits; a wrong unit must not stop a server for days.
const LONGEST: Duration = Duration::from_secs(60);

/// As long as [`LONGEST`], about.
const MOST_STEPS: u64 = 60_000_000_000;

/// Work per read that returned data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Work {
    /// None: pure echo.
    #[default]
    None,
    /// Use this much CPU time, as a handler that computes.
    Cpu(Duration),
    /// Wait this long, as a handler that calls a backend.
    Sleep(Duration),
    /// This many rounds of arithmetic, each about a nanosecond. Less than the cost of reading a clock
    /// can be asked for, so that a server can be made slower by a few percent.
    Steps(u64),
}

impl Work {
    /// Does the work on the calling thread.
    pub fn perform(self) {
        match self {
            Work::None => {}
            Work::Cpu(duration) => burn(duration),
            Work::Sleep(duration) => thread::sleep(duration),
            Work::Steps(steps) => step(steps),
        }
    }

    /// Does the work in a task; waits with `sleep`, the timer of the runtime.
    pub async fn perform_in_task<Sleeping: Future>(self, sleep: impl FnOnce(Duration) -> Sleeping) {
        match self {
            Work::Sleep(duration) => drop(sleep(duration).await),
            work => work.perform(),
        }
    }
}

/// Measures CPU time, not wall time: two threads that share a core take twice as long.
fn burn(duration: Duration) {
    let end = clock::thread_cpu_time() + duration;
    while clock::thread_cpu_time() < end {
        std::hint::spin_loop();
    }
}

/// Each round needs the result of the one before, so that none is left out or done beside another.
fn step(steps: u64) {
    let mut value = 0u64;
    for round in 0..steps {
        value = black_box(value.rotate_left(5) ^ round);
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not `cpu:TIME` or `sleep:TIME`: try cpu:50us or sleep:5ms");
        let (kind, time) = text.split_once(':').ok_or_else(form)?;
        if kind == "steps" {
            let steps: u64 = time.parse().map_err(|error| format!("`{time}`: {error}"))?;
            return match steps {
                ..=MOST_STEPS => Ok(Work::Steps(steps)),
                _ => Err(format!(
                    "`{time}` is too many: the maximum per read is {MOST_STEPS}"
                )),
            };
        }
        let duration = humantime::parse_duration(time).map_err(|error| format!("`{time}`: {error}"))?;
        if duration > LONGEST {
            return Err(format!(
                "`{time}` is too long: the maximum per read is {LONGEST:?}"
            ));
        }
        match kind {
            "cpu" => Ok(Work::Cpu(duration)),
            "sleep" => Ok(Work::Sleep(duration)),
            _ => Err(form()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_parsed_with_their_units() {
        assert_eq!("cpu:50us".parse(), Ok(Work::Cpu(Duration::from_micros(50))));
        assert_eq!("sleep:5ms".parse(), Ok(Work::Sleep(Duration::from_millis(5))));
        assert_eq!("steps:300".parse(), Ok(Work::Steps(300)));
    }

    #[test]
    fn a_bare_number_and_an_unknown_kind_are_refused() {
        for wrong in [
            "cpu:50",
            "sleep",
            "nap:5ms",
            "cpu:",
            "",
            "cpu:99999999y",
            "steps:5us",
            "steps:99999999999",
        ] {
            assert!(wrong.parse::<Work>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn cpu_work_uses_cpu_time() {
        let before = clock::thread_cpu_time();
        Work::Cpu(Duration::from_millis(2)).perform();
        assert!(clock::thread_cpu_time() - before >= Duration::from_millis(2));
    }
}
