//! The bug: a worker process does not notice that its parent is gone, and continues to serve.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::work::Work;
use servers::{conn, stop};

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "survivor",
    serve,
    fails: "C12",
    evidence: "new clients were still accepted 1s after the main process was killed",
};

/// Set for the worker.
const WORKER: &str = "ECHOBENCH_BROKEN_WORKER";

/// Interval of the checks for the stop.
const GLANCE: Duration = Duration::from_millis(1);

fn serve(options: &Options) -> anyhow::Result<()> {
    if env::var_os(WORKER).is_some() {
        return work();
    }
    let listener = listen(options)?;
    // Its standard input is the listener.
    let shared: OwnedFd = listener.as_fd().try_clone_to_owned()?;
    let mut worker = Command::new("/proc/self/exe")
        .env(WORKER, "1")
        .stdin(shared)
        .spawn()?;
    listener.announce()?;
    while !stop::requested() {
        thread::sleep(GLANCE);
    }
    kill(Pid::from_raw(worker.id() as i32), Signal::SIGKILL)?;
    worker.wait()?;
    Ok(())
}

fn work() -> anyhow::Result<()> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    loop {
        let (stream, _) = listener.accept()?;
        thread::spawn(move || conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None));
    }
}
