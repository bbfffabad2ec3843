//! The bug: a descriptor is left open for every connection.

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
    // None asks for it: what every case ends with finds it.
    fails: "C2",
    evidence: "had not given everything back: descriptors:",
};
