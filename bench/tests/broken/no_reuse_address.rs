//! The bug: the server binds without SO_REUSEADDR, so old connections in TIME_WAIT hold the port
//! for a minute.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::thread;

use servers::clients::Clients;
use servers::work::Work;
use servers::{conn, stop};
use socket2::{Domain, Socket, Type};

use super::{Broken, Options};

pub const SERVER: Broken = Broken {
    name: "no_reuse_address",
    serve,
    fails: "C24",
    evidence: "Address already in use",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&options.listen.into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from(socket);
    stop::on_signals(listener.as_fd(), options.drain)?;
    let clients = Clients::default();
    thread::scope(|scope| {
        println!("ready {}", listener.local_addr()?);
        // SIGTERM shuts the listener down, which makes `accept` fail.
        while let Ok((stream, _)) = listener.accept() {
            let client = clients.enter(stream);
            scope.spawn(move || conn::echo(&client, &mut Vec::with_capacity(4096), Work::None));
        }
        clients.drain();
        Ok(())
    })
}
