//! The bug: during the stop the server accepts queued connections, and neither serves nor closes
//! them until the end of the drain.

use std::io::ErrorKind;
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
    name: "forgets_queue",
    serve,
    fails: "C14",
    evidence: "that were queued at SIGTERM: the connection was left open",
};

static STOP: AtomicBool = AtomicBool::new(false);

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen)?;
    listener.set_nonblocking(true)?;
    signal::catch(Signal::SIGTERM as i32, stop)?;
    println!("ready {}", listener.local_addr()?);
    let mut forgotten = Vec::new();
    loop {
        match listener.accept() {
            Ok((stream, _)) if STOP.load(SeqCst) => forgotten.push(stream),
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                thread::spawn(move || conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None));
            }
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if STOP.load(SeqCst) => break,
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
    drop(listener);
    if !forgotten.is_empty() {
        thread::sleep(options.drain);
    }
    Ok(())
}

extern "C" fn stop(_: i32) {
    STOP.store(true, SeqCst);
}
