//! The bug: after its first client the server serves no other, like a loop that has lost its
//! listener.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use servers::work::Work;
use servers::{conn, stop};

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "wedged",
    serve: |options| {
        thread_per_client(options, |stream| {
            if WEDGED.swap(true, SeqCst) {
                thread::sleep(stop::drain_left());
            }
            conn::echo(stream, &mut Vec::with_capacity(4096), Work::None);
            Ok(())
        })
    },
    fails: "C2",
    evidence: "a fresh client got no echo within 1s",
};

static WEDGED: AtomicBool = AtomicBool::new(false);
