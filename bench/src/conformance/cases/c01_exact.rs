//! C1: what comes back is what was sent, byte for byte, in every size.

use anyhow::Context;

use super::client::{LONGEST_DATAGRAM, Reading, noise};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C1",
    "exact",
    "Does every byte come back, whatever its value, in any size from nothing to 64 MiB?",
    drive,
)
.over_datagrams(drive_datagrams);

/// Around the usual size of a server's buffer, where a loop that is off by one shows,
/// and far above what the kernel holds for a connection.
const SIZES: [usize; 7] = [0, 1, 1000, 64 * 1024, 64 * 1024 + 1, 1 << 20, 64 << 20];

const PIECE: usize = 64 * 1024;

/// Sizes that are sent byte by byte.
const SIZES_IN_BYTES: [usize; 3] = [1, 255, 64 * 1024];

fn drive(running: &mut Running) -> anyhow::Result<()> {
    every_value(running).context("a message of all 256 byte values")?;
    for size in SIZES {
        converse(running, size, PIECE, Reading::Late)?;
    }
    for size in SIZES_IN_BYTES {
        converse(running, size, 1, Reading::AtOnce)?;
    }
    let bytes = SIZES.iter().chain(&SIZES_IN_BYTES).sum::<usize>();
    running.saw(format!(
        "{bytes} bytes came back, in messages of up to {} bytes",
        SIZES[SIZES.len() - 1]
    ));
    Ok(())
}

/// Lengths around those at which a datagram is cut up on its way, and around the buffer of
/// a server that forgot the longest.
const DATAGRAMS: [usize; 10] = [0, 1, 2, 1471, 1472, 1473, 9000, 32_768, 65_506, LONGEST_DATAGRAM];

/// Every length in one datagram, which comes back in one.
fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    every_value(running).context("a datagram of all 256 byte values")?;
    let mut client = running.client()?;
    for size in DATAGRAMS {
        client
            .echo(&noise(size as u64, size))
            .with_context(|| format!("a datagram of {size} bytes"))?;
    }
    running.saw(format!("datagrams of up to {LONGEST_DATAGRAM} bytes came back"));
    Ok(())
}

fn every_value(running: &Running) -> anyhow::Result<()> {
    let message: Vec<u8> = (0..=255).collect();
    running.client()?.echo(&message)
}

fn converse(running: &Running, size: usize, piece: usize, reading: Reading) -> anyhow::Result<()> {
    running
        .client()?
        .converse(&noise(size as u64, size), piece, reading)
        .with_context(|| format!("{size} bytes in pieces of {piece}"))
}
