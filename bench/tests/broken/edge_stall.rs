//! The bug: an edge-triggered loop that has run out of descriptors waits for a new client before it
//! accepts those in the backlog.

use std::thread;

use servers::conn;
use servers::sys::epoll::{Epoll, Event, Flags};
use servers::work::Work;

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "edge_stall",
    serve,
    fails: "C9",
    evidence: "clients still waited 1s after descriptors had become free",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    listener.set_nonblocking()?;
    let epoll = Epoll::new()?;
    epoll.add(&listener, Flags::EPOLLIN | Flags::EPOLLET, 0)?;
    listener.announce()?;
    loop {
        epoll.wait(&mut [Event::empty()], None)?;
        while let Ok(stream) = listener.try_accept() {
            stream.set_nonblocking(false)?;
            thread::spawn(move || conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None));
        }
    }
}
