//! C18: more connections at once than the backlog holds.
//!
//! The kernel drops the first packet of a connection that finds the backlog full, and the
//! client's kernel sends it again, at first every second. So nobody hears of it; clients are late.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

use super::client::{Connecting, noise};
use super::observe::backlog_overflows;
use super::{Case, Running};
use crate::proc::tcp;

pub const CASE: Case = Case::new(
    "C18",
    "backlog overflow",
    "With a backlog of 2, are 50 clients that come at once all served within 10 s, and does the kernel count the overflow?",
    drive,
)
.arguments(&["--backlog", "2"]);

/// What a listener holds with a backlog of 2: Linux takes one more.
const QUEUE: usize = 3;

const CLIENTS: usize = 50;

/// On a host with many processors a server has as many listeners: so many clients for each, so
/// that most of them find no room there either.
const CLIENTS_PER_LISTENER: usize = 3 * QUEUE;

/// Those that are dropped at one moment ask again at one moment, second after second, and three
/// of them find room. So they do not all come at the same one.
const APART: Duration = Duration::from_millis(10);

const SERVED_WITHIN: Duration = Duration::from_secs(10);

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let address = running.address();
    let own = tcp::listeners()?.into_iter();
    let listeners = own.filter(|listener| listener.local == address).count();
    let clients = CLIENTS.max(listeners * CLIENTS_PER_LISTENER);

    let before = backlog_overflows()?;
    running.freeze_all()?;
    let mut asked = Vec::with_capacity(clients);
    for _ in 0..clients {
        asked.push(Connecting::to(address)?);
        thread::sleep(APART);
    }
    let queued = asked.iter().filter(|asked| asked.is_connected()).count();
    let overflows = backlog_overflows()? - before;
    running.thaw_all()?;

    ensure!(
        queued <= listeners * QUEUE,
        "{queued} of {clients} clients were queued by {listeners} listeners with a backlog of 2"
    );
    ensure!(
        overflows >= (clients - queued) as u64,
        "{queued} of {clients} clients were queued, and the kernel counted {overflows} overflows"
    );
    let longest = serve_all(asked)?;
    running.saw(format!(
        "{queued} of {clients} were queued and the kernel counted {} overflows; the last was served after {:.1} s",
        backlog_overflows()? - before,
        longest.as_secs_f64()
    ));
    Ok(())
}

/// Each on a thread of its own: who comes next is the kernel's choice. Returns the longest time.
fn serve_all(asked: Vec<Connecting>) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let clients = asked.len();
    let serve = |number: usize, asked: Connecting| {
        let mut client = asked.wait(SERVED_WITHIN)?;
        client.echo(&noise(number as u64, 64))?;
        anyhow::Ok(start.elapsed())
    };
    thread::scope(|scope| {
        let serve = &serve;
        let all: Vec<_> = asked
            .into_iter()
            .enumerate()
            .map(|(number, asked)| scope.spawn(move || serve(number, asked)))
            .collect();
        let mut longest = Duration::ZERO;
        for (number, served) in all.into_iter().enumerate() {
            let served = served.join().map_err(|_| anyhow!("a client panicked"))?;
            let time =
                served.with_context(|| format!("client {} of {clients} was not served", number + 1))?;
            longest = longest.max(time);
        }
        ensure!(
            longest <= SERVED_WITHIN,
            "the last of {clients} clients was served after {longest:?}, where {SERVED_WITHIN:?} are allowed"
        );
        Ok(longest)
    })
}
