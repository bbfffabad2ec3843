//! C26: many short connections.
//!
//! The client ends each one with a half-close, so that both sides are done before the next one
//! starts. The port in TIME_WAIT is the client's, and there are enough.

use anyhow::{Context, ensure};

use crate::conformance::kit::exemption::Kind;
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C26",
    "churn",
    "After thousands of consecutive connections, is everything released?",
    drive,
)
.over_udp(drive)
.full_form(0);

/// By then everything that is allocated on first use exists.
const WARM_UP: usize = 100;

const QUICK: usize = 300;
const FULL: usize = 10_000;

/// Growth that is the allocator's, whatever the number of connections.
const GROWTH_BELOW_BYTES: u64 = 512 << 10;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let connections = server.by_scale(QUICK, FULL);
    churn(server, 0..WARM_UP)?;
    let before = server.memory_bytes()?;
    churn(server, WARM_UP..connections)?;
    let after = server.memory_bytes()?;
    let grown = after.saturating_sub(before);
    ensure!(
        grown < GROWTH_BELOW_BYTES,
        "the server's memory grew by {} KiB from connection {WARM_UP} to {connections}",
        grown / 1024
    );
    server.note(format!(
        "{connections} connections, memory {} KiB before and {} KiB after",
        before / 1024,
        after / 1024
    ));
    Ok(())
}

fn churn(server: &mut ServerUnderTest, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
    let has_eof = server.is(Kind::Stream);
    for number in numbers {
        let mut client = server.connect()?;
        client
            .echo(&noise(number as u64, 64))
            .and_then(|()| if has_eof { client.finish(b"") } else { Ok(()) })
            .with_context(|| format!("connection {}", number + 1))?;
    }
    server.expect_released()
}
