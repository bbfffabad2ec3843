//! C26: connections that come and go.
//!
//! The client ends each with a half-close, so that it is over on both sides before the next one
//! begins; the port that stays in TIME_WAIT is the client's, and there are enough of them.

use anyhow::{Context, ensure};
use servers::by_design::Kind;

use super::client::noise;
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C26",
    "churn",
    "After thousands of connections, one after another, is everything given back?",
    drive,
)
.over_datagrams(drive)
.full(0);

/// By then whatever is made at its first use has been made.
const WARM_UP: usize = 100;

const QUICK: usize = 300;
const FULL: usize = 10_000;

/// So much more memory is the allocator's, whatever the number of connections.
const GROWTH_BELOW_BYTES: u64 = 512 << 10;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let connections = running.pick(QUICK, FULL);
    churn(running, 0..WARM_UP)?;
    let before = running.memory_bytes()?;
    churn(running, WARM_UP..connections)?;
    let after = running.memory_bytes()?;
    let grown = after.saturating_sub(before);
    ensure!(
        grown < GROWTH_BELOW_BYTES,
        "the server's memory grew by {} KiB from connection {WARM_UP} to {connections}, one after another",
        grown / 1024
    );
    running.saw(format!(
        "{connections} connections, memory {} KiB and then {} KiB",
        before / 1024,
        after / 1024
    ));
    Ok(())
}

fn churn(running: &mut Running, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
    let has_end = running.kinds().contains(&Kind::Streams);
    for number in numbers {
        let mut client = running.client()?;
        client
            .echo(&noise(number as u64, 64))
            .and_then(|()| if has_end { client.finish(b"") } else { Ok(()) })
            .with_context(|| format!("connection {}", number + 1))?;
    }
    running.settle()
}
