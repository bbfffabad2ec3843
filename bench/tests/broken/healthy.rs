//! The control: no bug.

use servers::conn;
use servers::work::Work;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "healthy",
    serve: |options| {
        thread_per_client(options, |stream| {
            conn::echo(stream, &mut vec![0; 64 * 1024], Work::None);
            Ok(())
        })
    },
    fails: "",
    evidence: "",
};
