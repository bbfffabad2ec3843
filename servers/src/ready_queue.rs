//! The connections of a loop that learns of each event only once, and the queue of those
//! that are ready.
//!
//! An edge or a signal does not come twice, so a connection must be read until its socket
//! is empty. To keep a busy client from starving the others, a connection is read once per
//! round and then goes to the end of the queue.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

use crate::conn::{Drained, Echo, Wants};
use crate::descriptor_map::DescriptorMap;
use crate::work::Work;

/// How far to read a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadUntil {
    /// Until a short read: later input raises another event. Saves the read that would
    /// return EAGAIN.
    ShortRead,
    /// Until EAGAIN: needed where the end of input may follow the data without an event of
    /// its own.
    WouldBlock,
}

/// The connections, and the queue of the ready ones.
#[derive(Debug, Default)]
pub struct ReadyQueue {
    connections: DescriptorMap<Connection>,
    queue: VecDeque<RawFd>,
}

#[derive(Debug)]
struct Connection {
    echo: Echo,
    /// Whether it is in the queue, which holds it at most once.
    queued: bool,
    until: ReadUntil,
}

impl ReadyQueue {
    /// Adds a nonblocking stream, which is queued at its first event.
    pub fn insert(&mut self, stream: TcpStream) {
        let fd = stream.as_raw_fd();
        let connection = Connection {
            echo: Echo::new(stream),
            queued: false,
            until: ReadUntil::ShortRead,
        };
        self.connections.insert(fd, connection);
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.connections.count()
    }

    /// Whether no connection is ready, so that the loop may sleep.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Queues the connection with this descriptor. An outdated event may queue the next
    /// owner of the number, which does no harm.
    pub fn push(&mut self, fd: RawFd, until: ReadUntil) {
        if let Some(connection) = self.connections.find(fd) {
            connection.push(fd, until, &mut self.queue);
        }
    }

    /// Queues all connections, after events were lost.
    pub fn push_all(&mut self) {
        for (fd, connection) in self.connections.iter_mut() {
            connection.push(fd, ReadUntil::WouldBlock, &mut self.queue);
        }
    }

    /// Serves each queued connection once: reads and echoes, or sends the unsent rest.
    pub fn serve_round(&mut self, scratch: &mut [u8], work: Work) {
        for _ in 0..self.queue.len() {
            let Some(fd) = self.queue.pop_front() else { return };
            let Some(connection) = self.connections.find(fd) else {
                continue;
            };
            match connection.echo.advance(scratch, work) {
                Wants::Read if connection.has_more() => self.queue.push_back(fd),
                Wants::Read => {
                    connection.queued = false;
                    connection.until = ReadUntil::ShortRead;
                }
                Wants::Write => {
                    connection.queued = false;
                    // The end of input may come before the rest is sent, and its event with it.
                    connection.until = ReadUntil::WouldBlock;
                }
                Wants::Close => drop(self.connections.remove(fd)),
            }
        }
    }
}

impl Connection {
    fn push(&mut self, fd: RawFd, until: ReadUntil, queue: &mut VecDeque<RawFd>) {
        // A second event before the connection is served may be the end of input behind the
        // data of the first, and no third one follows.
        if until == ReadUntil::WouldBlock || self.queued {
            self.until = ReadUntil::WouldBlock;
        }
        if !self.queued {
            self.queued = true;
            queue.push_back(fd);
        }
    }

    fn has_more(&self) -> bool {
        match self.echo.drained() {
            Drained::No => true,
            Drained::OfData => self.until == ReadUntil::WouldBlock,
            Drained::Fully => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};

    fn pair() -> (TcpStream, ReadyQueue, RawFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let (mut ready, fd) = (ReadyQueue::default(), server.as_raw_fd());
        ready.insert(server);
        (client, ready, fd)
    }

    fn serve_all(ready: &mut ReadyQueue) {
        let mut scratch = [0; 4096];
        while !ready.is_idle() {
            ready.serve_round(&mut scratch, Work::None);
        }
    }

    fn waits_to_send(ready: &mut ReadyQueue, fd: RawFd) -> bool {
        let connection = ready.connections.find(fd);
        connection.is_some_and(|connection| !connection.queued && connection.echo.drained() == Drained::No)
    }

    #[test]
    fn two_events_in_one_round_may_be_data_and_the_end_of_input() {
        let (mut client, mut ready, fd) = pair();
        client.write_all(b"data").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        ready.push(fd, ReadUntil::ShortRead);
        ready.push(fd, ReadUntil::ShortRead);
        serve_all(&mut ready);
        assert_eq!(ready.open(), 0);
    }

    #[test]
    fn the_end_of_input_may_come_while_a_connection_waits_to_send() {
        let (mut client, mut ready, fd) = pair();
        client.set_nonblocking(true).unwrap();
        let mut written = 0;
        loop {
            written += client.write(&[7; 4096]).unwrap_or(0);
            ready.push(fd, ReadUntil::ShortRead);
            serve_all(&mut ready);
            if waits_to_send(&mut ready, fd) {
                break;
            }
        }
        written += client.write(b"the rest").unwrap();
        ready.push(fd, ReadUntil::ShortRead);
        serve_all(&mut ready);
        client.shutdown(Shutdown::Write).unwrap();
        ready.push(fd, ReadUntil::ShortRead);
        serve_all(&mut ready);

        // From here on, events report room for output only.
        let mut back = 0;
        let mut sink = vec![0; 1 << 16];
        while back < written {
            back += client.read(&mut sink).unwrap_or(0);
            if waits_to_send(&mut ready, fd) {
                ready.push(fd, ReadUntil::ShortRead);
            }
            serve_all(&mut ready);
        }
        assert_eq!(ready.open(), 0);
    }

    #[test]
    fn a_round_reads_each_connection_once() {
        let (mut first, mut ready, fd) = pair();
        first.write_all(&[7; 4096]).unwrap();
        ready.push(fd, ReadUntil::ShortRead);
        ready.serve_round(&mut [0; 16], Work::None);
        assert!(!ready.is_idle(), "more input keeps it in the queue");
        let mut answer = [0; 64];
        assert_eq!(first.read(&mut answer).unwrap(), 16, "one read was echoed");
    }
}
