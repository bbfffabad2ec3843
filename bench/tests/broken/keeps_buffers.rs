//! The bug: the memory of a connection is never freed.

use servers::conn;
use servers::work::Work;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "keeps_buffers",
    serve: |options| {
        thread_per_client(options, |stream| {
            // Filled, because untouched memory takes no room.
            std::mem::forget(vec![1_u8; 16 * 1024]);
            conn::echo(stream, &mut Vec::with_capacity(4096), Work::None);
            Ok(())
        })
    },
    fails: "C26",
    evidence: "the server's memory grew by",
};
