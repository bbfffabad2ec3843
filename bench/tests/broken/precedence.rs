//! The bug: `if (fd = accept(...) < 0)` compares before it assigns, so the descriptor is 0, or 1 on
//! an error: the server serves standard input and loses the connection.

use std::io::{self, Read};
use std::mem;

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "precedence",
    serve,
    fails: "C1",
    evidence: "nothing came back for 10s",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    listener.announce()?;
    loop {
        let accepted = listener.accept()?;
        // As in C: its descriptor is lost, and the connection stays open.
        mem::forget(accepted);
        // Reads standard input, which is /dev/null for a server.
        io::stdin().read_to_end(&mut Vec::new())?;
    }
}
