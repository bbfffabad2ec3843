//! The bug: a level-triggered loop goes on watching its listener when descriptors have run
//! out, and is told all the time that somebody waits there.

use std::thread;

use servers::conn;
use servers::sys::poll::{Entry, Interest, poll};
use servers::work::Work;

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "level_spin",
    serve,
    fails: "C9",
    evidence: "out of descriptors it took",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    listener.set_nonblocking()?;
    listener.announce()?;
    loop {
        poll(&mut [Entry::new(&listener, Interest::Read)], None)?;
        while let Ok(stream) = listener.try_accept() {
            stream.set_nonblocking(false)?;
            thread::spawn(move || conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None));
        }
    }
}
