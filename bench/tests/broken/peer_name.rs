//! The bug: the server asks for the peer's name right after `accept`, and treats a missing peer as
//! its own error.

use std::thread;

use servers::clients::Clients;
use servers::conn;
use servers::work::Work;

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "peer_name",
    serve,
    fails: "C4",
    evidence: "Transport endpoint is not connected",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    let clients = Clients::default();
    thread::scope(|scope| {
        listener.announce()?;
        while let Some(stream) = listener.accept()? {
            stream.peer_addr()?;
            let client = clients.enter(stream);
            scope.spawn(move || conn::echo(&client, &mut Vec::with_capacity(4096), Work::None));
        }
        clients.drain();
        Ok(())
    })
}
