//! The bug: the server reaps a dead worker and does not replace it.

use servers::sys::process::{self, Forked};
use servers::work::Work;
use servers::{children, conn, stop};

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "not_replaced",
    serve,
    fails: "C11",
    evidence: "processes instead of 9",
};

const WORKERS: usize = 8;

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    for _ in 0..WORKERS {
        if process::fork()? == Forked::Child {
            stop::leave_to_parent()?;
            while let Some(stream) = listener.accept()? {
                conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None);
            }
            process::exit_now(0);
        }
    }
    listener.announce()?;
    Ok(children::drain()?)
}
