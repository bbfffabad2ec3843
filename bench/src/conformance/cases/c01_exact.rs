//! C1: every byte comes back unchanged, in messages of every size.

use anyhow::Context;

use crate::conformance::kit::client::{LONGEST_DATAGRAM, ReadStart};
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C1",
    "exact",
    "Does every byte come back, whatever its value, in messages from 0 bytes to 64 MiB?",
    drive,
)
.over_udp(drive_datagrams);

/// Around the usual size of a server's buffer, where an off-by-one error shows, and far above what
/// the kernel holds for a connection.
const SIZES: [usize; 7] = [0, 1, 1000, 64 * 1024, 64 * 1024 + 1, 1 << 20, 64 << 20];

const PIECE: usize = 64 * 1024;

/// Sizes that are sent byte by byte.
const SIZES_IN_BYTES: [usize; 3] = [1, 255, 64 * 1024];

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    every_value(server).context("a message of all 256 byte values")?;
    for size in SIZES {
        converse(server, size, PIECE, ReadStart::WhenFull)?;
    }
    for size in SIZES_IN_BYTES {
        converse(server, size, 1, ReadStart::Immediate)?;
    }
    let bytes = SIZES.iter().chain(&SIZES_IN_BYTES).sum::<usize>();
    server.note(format!(
        "{bytes} bytes came back, in messages of up to {} bytes",
        SIZES[SIZES.len() - 1]
    ));
    Ok(())
}

/// Lengths around those at which IP fragments a datagram, and around the longest datagram.
const DATAGRAMS: [usize; 10] = [0, 1, 2, 1471, 1472, 1473, 9000, 32_768, 65_506, LONGEST_DATAGRAM];

/// Every length in one datagram, which must come back as one.
fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    every_value(server).context("a datagram of all 256 byte values")?;
    let mut client = server.connect()?;
    for size in DATAGRAMS {
        client
            .echo(&noise(size as u64, size))
            .with_context(|| format!("a datagram of {size} bytes"))?;
    }
    server.note(format!("datagrams of up to {LONGEST_DATAGRAM} bytes came back"));
    Ok(())
}

fn every_value(server: &ServerUnderTest) -> anyhow::Result<()> {
    let message: Vec<u8> = (0..=255).collect();
    server.connect()?.echo(&message)
}

fn converse(server: &ServerUnderTest, size: usize, piece: usize, reading: ReadStart) -> anyhow::Result<()> {
    server
        .connect()?
        .echo_to_eof(&noise(size as u64, size), piece, reading)
        .with_context(|| format!("{size} bytes in pieces of {piece}"))
}
