//! The bug: the server declares to serve clients concurrently, and serves each where it accepts it.

use servers::work::Work;
use servers::{conn, stop};

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "one_at_a_time",
    serve,
    fails: "C3",
    evidence: "a second client was not answered while the first one was idle",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    let mut buffer = vec![0; 64 * 1024];
    listener.announce()?;
    while let Some(stream) = listener.accept()? {
        let _held = stop::hold(&stream);
        conn::echo(&stream, &mut buffer, Work::None);
    }
    Ok(())
}
