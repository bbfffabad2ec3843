//! The bug: the server closes its listener to stop a thread that is blocked in `accept` on it.
//! Closing a descriptor wakes no thread, so the server ends with its next client, if any.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use servers::conn;
use servers::sys::signal;
use servers::work::Work;

use super::{Broken, Options};

pub const SERVER: Broken = Broken {
    name: "closed_listener",
    serve,
    fails: "C2",
    evidence: "the server had not ended 10s after SIGTERM",
};

static STOP: AtomicBool = AtomicBool::new(false);

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen)?;
    // A blocked `accept` keeps its socket open even after another thread closes the descriptor; a
    // duplicate has the same effect without unsafe code.
    let blocked = listener.try_clone()?;
    signal::catch(Signal::SIGTERM as i32, stop)?;
    let accepting = thread::spawn(move || accept(&blocked));
    println!("ready {}", listener.local_addr()?);
    while !STOP.load(SeqCst) {
        thread::sleep(Duration::from_millis(1));
    }
    drop(listener);
    let _ = accepting.join();
    Ok(())
}

fn accept(listener: &TcpListener) {
    while let Ok((stream, _)) = listener.accept() {
        if STOP.load(SeqCst) {
            return;
        }
        thread::spawn(move || conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None));
    }
}

extern "C" fn stop(_: i32) {
    STOP.store(true, SeqCst);
}
