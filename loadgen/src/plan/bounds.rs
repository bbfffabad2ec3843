//! Bounds of a plan.

use std::time::Duration;

/// Above this the buffers alone would fill a machine.
pub const LARGEST_MESSAGE: u64 = 64 << 20;

/// The longest datagram: 65,535 bytes without the headers of IPv4 and UDP.
pub const LARGEST_DATAGRAM: u64 = 65_507;

/// A smaller datagram does not identify the message that it answers: every eight bytes of the
/// pattern occur at one place only.
pub const SMALLEST_DATAGRAM: u64 = 8;

/// A forgotten unit should not load a host for days.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// More messages in flight on a connection fill no network path that exists.
pub const DEEPEST: u32 = 65_536;

/// No generator sends more; a typing error should not build a schedule of it.
pub const HIGHEST_RATE: f64 = 1e7;
