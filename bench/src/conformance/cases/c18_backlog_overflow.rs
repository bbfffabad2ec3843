//! C18: more connections at once than the backlog holds.
//!
//! The kernel drops the SYN of a connection that finds the backlog full; the client's kernel sends
//! it again, after a second at first. No side sees an error: clients are late.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

use crate::conformance::kit::connecting::Connecting;
use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::{Case, ServerUnderTest};
use crate::proc::counters::backlog_overflows;
use crate::proc::tcp;

pub const CASE: Case = Case::new(
    "C18",
    "backlog overflow",
    "With a backlog of 2, are 50 simultaneous clients all served within 10 s, and does the kernel count the overflow?",
    drive,
)
.arguments(&["--backlog", "2"])
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[Exemption::new(
    Kind::Datagram,
    "there is no backlog of connections; C27 covers dropped datagrams",
)];

/// What a listener with a backlog of 2 holds: Linux adds one.
const QUEUE: usize = 3;

const CLIENTS: usize = 50;

/// On a host with many processors a server has as many listeners: enough clients per listener to
/// overflow most of them.
const CLIENTS_PER_LISTENER: usize = 3 * QUEUE;

/// SYNs dropped at the same moment are repeated at the same moment, second after second, and three
/// of them fit. So clients connect at different times.
const APART: Duration = Duration::from_millis(10);

const SERVED_WITHIN: Duration = Duration::from_secs(10);

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let address = server.address();
    let all = tcp::listeners()?.into_iter();
    let listeners = all.filter(|listener| listener.local == address).count();
    let clients = CLIENTS.max(listeners * CLIENTS_PER_LISTENER);

    let before = backlog_overflows()?;
    server.freeze_all()?;
    let mut asked = Vec::with_capacity(clients);
    for _ in 0..clients {
        asked.push(Connecting::to(address)?);
        thread::sleep(APART);
    }
    let queued = asked.iter().filter(|asked| asked.is_connected()).count();
    let overflows = backlog_overflows()? - before;
    server.thaw_all()?;

    ensure!(
        queued <= listeners * QUEUE,
        "{queued} of {clients} clients were queued by {listeners} listeners with a backlog of 2"
    );
    ensure!(
        overflows >= (clients - queued) as u64,
        "{queued} of {clients} clients were queued, and the kernel counted {overflows} overflows"
    );
    let longest = serve_all(asked)?;
    server.note(format!(
        "{queued} of {clients} were queued and the kernel counted {} overflows; the last was served after {:.1} s",
        backlog_overflows()? - before,
        longest.as_secs_f64()
    ));
    Ok(())
}

/// Serves each client on its own thread, because the kernel decides which is next; returns the
/// longest time.
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
            "the last of {clients} clients was served after {longest:?}; the limit is {SERVED_WITHIN:?}"
        );
        Ok(longest)
    })
}
