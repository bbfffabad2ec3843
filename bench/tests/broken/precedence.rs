//! The bug: `if (fd = accept(...) < 0)` compares first and assigns then, so that the number
//! of the connection is 0, or 1 where there is none: standard input is served in its place,
//! and the connection is lost.

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
        // What C does with it: nobody knows its number any more.
        mem::forget(accepted);
        // An echo of nothing: in a server it is /dev/null.
        io::stdin().read_to_end(&mut Vec::new())?;
    }
}
