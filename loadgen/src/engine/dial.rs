//! Connects: many at once, none of them waited for alone.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Protocol, Socket, Type};

use super::tally::Tally;
use crate::plan::Request;
use crate::record::{ErrorKind, Transport};

/// Connections under way at once: enough to hide a round trip to another host, few
/// enough not to overflow the backlog of a server that has the usual one of 128.
const UNDER_WAY: usize = 100;

/// How long to wait for news before looking at the clock and the stop flag.
const GLANCE_MS: u16 = 20;

/// Establishes `count` connections that do not block; failures are counted in `tally`.
///
/// A socket connected over UDP has asked nobody: whether anybody is there, its first
/// message finds out.
pub fn dial(
    request: &Request,
    count: usize,
    stop: &AtomicBool,
    tally: &mut Tally,
) -> io::Result<Vec<Socket>> {
    let timeout = request.connect_timeout;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut pending: Vec<Option<(Socket, Instant)>> = Vec::with_capacity(count);
    let mut sockets = Vec::with_capacity(count);
    let mut under_way = 0;
    let mut events = [EpollEvent::empty(); UNDER_WAY];
    while (pending.len() < count || under_way > 0) && !stop.load(Relaxed) {
        while pending.len() < count && under_way < UNDER_WAY {
            pending.push(None);
            match start(request.target, request.transport) {
                Ok((socket, true)) => sockets.extend(settle(socket, tally)),
                Ok((socket, false)) => {
                    let at = pending.len() - 1;
                    epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLOUT, at as u64))?;
                    pending[at] = Some((socket, Instant::now()));
                    under_way += 1;
                }
                Err(error) => tally.io_error(&error),
            }
        }
        let ready = match epoll.wait(&mut events, EpollTimeout::from(GLANCE_MS)) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..ready] {
            let Some((socket, _)) = pending[event.data() as usize].take() else {
                continue;
            };
            under_way -= 1;
            epoll.delete(&socket)?;
            sockets.extend(settle(socket, tally));
        }
        if ready == 0 {
            let late = |entry: &&mut Option<(Socket, Instant)>| matches!(entry, Some((_, since)) if since.elapsed() > timeout);
            for entry in pending.iter_mut().filter(late) {
                *entry = None;
                under_way -= 1;
                tally.error(ErrorKind::TimedOut, format!("no connection within {timeout:?}"));
            }
        }
    }
    Ok(sockets)
}

/// Begins a connection; tells whether it is established already.
fn start(target: SocketAddr, transport: Transport) -> io::Result<(Socket, bool)> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(target), kind.nonblocking(), Some(protocol))?;
    if transport == Transport::Tcp {
        socket.set_tcp_nodelay(true)?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => Ok((socket, true)),
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => Ok((socket, false)),
        Err(error) => Err(error),
    }
}

/// The socket of a connection that is no longer under way, if it came about.
fn settle(socket: Socket, tally: &mut Tally) -> Option<Socket> {
    let error = match socket.take_error() {
        Ok(None) if is_connected_to_itself(&socket) => Errno::ECONNREFUSED.into(),
        Ok(None) => return Some(socket),
        Ok(Some(error)) | Err(error) => error,
    };
    tally.io_error(&error);
    None
}

/// A socket is connected to itself when nobody listens on the port and the kernel happens
/// to pick the same one for this side; such a connection echoes perfectly.
fn is_connected_to_itself(socket: &Socket) -> bool {
    match (socket.local_addr(), socket.peer_addr()) {
        (Ok(local), Ok(peer)) => local.as_socket() == peer.as_socket(),
        _ => false,
    }
}
