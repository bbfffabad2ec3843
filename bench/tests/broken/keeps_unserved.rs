//! The bug: if no thread can be started for a client, the connection stays open without being
//! served.

use std::sync::Arc;
use std::thread::Builder;

use servers::conn;
use servers::work::Work;

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "keeps_unserved",
    serve,
    fails: "C10",
    evidence: "the connection was left open",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    listener.announce()?;
    let mut unserved = Vec::new();
    while let Some(stream) = listener.accept()? {
        let stream = Arc::new(stream);
        let same = Arc::clone(&stream);
        let body = move || conn::echo(&same, &mut Vec::with_capacity(4096), Work::None);
        if Builder::new().spawn(body).is_err() {
            unserved.push(stream);
        }
    }
    Ok(())
}
