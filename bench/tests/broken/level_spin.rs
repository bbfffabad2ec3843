//! The bug: a level-triggered loop keeps watching its listener when it has run out of descriptors,
//! so it never sleeps while a client waits.

use std::thread;

use servers::conn;
use servers::sys::poll::{Entry, Interest, poll};
use servers::work::Work;

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "level_spin",
    serve,
    fails: "C9",
    evidence: "out of descriptors it used",
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
