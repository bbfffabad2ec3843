//! The bug: the listener is watched edge-triggered, and each event accepts one connection. Others
//! of the same event stay in the backlog.

use std::os::fd::AsFd;
use std::thread;

use servers::clients::Clients;
use servers::conn;
use servers::sys::epoll::{Epoll, Event, Flags};
use servers::work::Work;

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "one_per_edge",
    serve,
    fails: "C18",
    evidence: "of 50 was not served",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    let epoll = Epoll::new()?;
    epoll.add(listener.as_fd(), Flags::EPOLLIN | Flags::EPOLLET, 0)?;
    let clients = Clients::default();
    thread::scope(|scope| {
        listener.announce()?;
        let mut events = [Event::empty()];
        loop {
            if epoll.wait(&mut events, None)? == 0 {
                continue;
            }
            let Some(stream) = listener.accept()? else { break };
            let client = clients.enter(stream);
            scope.spawn(move || conn::echo(&client, &mut Vec::with_capacity(4096), Work::None));
        }
        clients.drain();
        Ok(())
    })
}
