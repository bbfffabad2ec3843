//! C2: end of input is not the end of the connection.

use std::fmt::Write as _;

use anyhow::Context;

use super::client::Reading;
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C2",
    "half-close",
    "Does a client that has sent 20,000 lines and its FIN get all of them back, and then the server's FIN?",
    drive,
);

const LINES: usize = 20_000;

/// Lines of up to this length are 16 MB together: more than both directions of a
/// connection hold, so at the end of input much of the output is still due.
const LONGEST: usize = 1600;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let text = lines();
    let mut client = running.client()?;
    client
        .converse(text.as_bytes(), 64 * 1024, Reading::Late)
        .with_context(|| {
            let back = text.as_bytes()[..client.received()]
                .iter()
                .filter(|&&byte| byte == b'\n');
            format!("{} of {LINES} lines came back", back.count())
        })?;
    running.saw(format!(
        "{LINES} lines, {} bytes, came back, and then the end",
        text.len()
    ));
    Ok(())
}

fn lines() -> String {
    let mut text = String::new();
    for number in 0..LINES {
        let filler = number * 37 % LONGEST;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{number:05} {:.>filler$}", "");
    }
    text
}
