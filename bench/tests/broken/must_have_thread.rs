//! The bug: the server panics if it cannot start a thread.

use std::thread;

use servers::conn;
use servers::work::Work;

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "must_have_thread",
    serve,
    fails: "C10",
    evidence: "failed to spawn thread",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    listener.announce()?;
    while let Some(stream) = listener.accept()? {
        thread::spawn(move || conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None));
    }
    Ok(())
}
