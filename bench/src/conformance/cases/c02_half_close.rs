//! C2: a client's FIN ends its input, not the connection.

use std::fmt::Write as _;

use anyhow::Context;

use crate::conformance::kit::client::ReadStart;
use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C2",
    "half-close",
    "Does a client that sends 20,000 lines and a FIN get all lines back, and then the server's FIN?",
    drive,
)
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[Exemption::new(
    Kind::Datagram,
    "a datagram socket has no half to close",
)];

const LINES: usize = 20_000;

/// With lines of up to this length the text is 16 MB, more than both directions of a connection
/// hold: much of the output is still due when the FIN arrives.
const LONGEST: usize = 1600;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let text = lines();
    let mut client = server.connect()?;
    client
        .echo_to_eof(text.as_bytes(), 64 * 1024, ReadStart::WhenFull)
        .with_context(|| {
            let back = text.as_bytes()[..client.received()]
                .iter()
                .filter(|&&byte| byte == b'\n');
            format!("{} of {LINES} lines came back", back.count())
        })?;
    server.note(format!(
        "{LINES} lines, {} bytes, came back, then the FIN",
        text.len()
    ));
    Ok(())
}

fn lines() -> String {
    let mut text = String::new();
    for number in 0..LINES {
        let filler = number * 37 % LONGEST;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{number:05} {:.>filler$}", "");
    }
    text
}
