//! The bug: SIGTERM sets a flag that is checked only when no client is left; until then the server
//! accepts new ones.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use servers::conn;
use servers::sys::signal;
use servers::work::Work;

use super::{Broken, Options};

pub const SERVER: Broken = Broken {
    name: "keeps_accepting",
    serve,
    fails: "C13",
    evidence: "new clients were still accepted 2s after SIGTERM",
};

static STOP: AtomicBool = AtomicBool::new(false);
static OPEN: AtomicUsize = AtomicUsize::new(0);

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen)?;
    listener.set_nonblocking(true)?;
    signal::catch(Signal::SIGTERM as i32, stop)?;
    println!("ready {}", listener.local_addr()?);
    while !STOP.load(SeqCst) || OPEN.load(SeqCst) > 0 {
        match listener.accept() {
            Ok((stream, _)) => {
                OPEN.fetch_add(1, SeqCst);
                thread::spawn(|| serve_client(stream));
            }
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
    Ok(())
}

fn serve_client(stream: TcpStream) {
    conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None);
    drop(stream);
    OPEN.fetch_sub(1, SeqCst);
}

extern "C" fn stop(_: i32) {
    STOP.store(true, SeqCst);
}
