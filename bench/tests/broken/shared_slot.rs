//! The bug: connections are identified by the last seven bits of their number, so from 128
//! connections on two share a buffer. It shows when both send at the same moment.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{Broken, slots, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "shared_slot",
    serve: |options| {
        thread_per_client(options, |stream| {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            slots::echo(stream, NEXT.fetch_add(1, Relaxed))
        })
    },
    fails: "C30",
    evidence: "came back as",
};
