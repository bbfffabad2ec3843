//! The bug: one descriptor per connection is never closed.

use std::fs::File;

use servers::conn;
use servers::work::Work;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "leak",
    serve: |options| {
        thread_per_client(options, |stream| {
            std::mem::forget(File::open("/dev/null")?);
            conn::echo(stream, &mut Vec::with_capacity(4096), Work::None);
            Ok(())
        })
    },
    // The checks after every case find it.
    fails: "C2",
    evidence: "had not released everything: descriptors:",
};
