//! The connections of a loop that hears of each event only once, and their turns.
//!
//! An edge or a signal that has been taken does not come again, so a connection has to
//! be read until its socket is empty. One that always has more must not starve the
//! others: it reads once, then goes to the end of the queue.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

use crate::conn::{Drained, Echo, Wants};
use crate::descriptor_map::DescriptorMap;
use crate::work::Work;

/// How far a connection is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until a read falls short: what comes later is another event. It spares the read
    /// that finds nothing.
    Short,
    /// Until there is nothing at all: needed where the end of input may stand behind the
    /// data and was reported with it, or not at all.
    Nothing,
}

/// The connections, and the queue of those that something has happened to.
#[derive(Debug, Default)]
pub struct Turns {
    connections: DescriptorMap<Connection>,
    due: VecDeque<RawFd>,
}

#[derive(Debug)]
struct Connection {
    echo: Echo,
    /// Whether it is in the queue, where it stands once at most.
    is_due: bool,
    until: Until,
}

impl Turns {
    /// Takes over a stream that does not block; its first turn comes with its first event.
    pub fn insert(&mut self, stream: TcpStream) {
        let fd = stream.as_raw_fd();
        let connection = Connection {
            echo: Echo::new(stream),
            is_due: false,
            until: Until::Short,
        };
        self.connections.insert(fd, connection);
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.connections.count()
    }

    /// Whether nobody waits for a turn, so that the loop may sleep.
    pub fn is_idle(&self) -> bool {
        self.due.is_empty()
    }

    /// Something has happened to a descriptor. If it stands for another connection by
    /// now, that one finds nothing to do.
    pub fn wake(&mut self, fd: RawFd, until: Until) {
        if let Some(connection) = self.connections.find(fd) {
            connection.wake(fd, until, &mut self.due);
        }
    }

    /// Something may have happened to anybody, and it is not known what.
    pub fn wake_all(&mut self) {
        for (fd, connection) in self.connections.iter_mut() {
            connection.wake(fd, Until::Nothing, &mut self.due);
        }
    }

    /// Gives a turn to each that waits for one: one read, or one attempt to send the rest.
    pub fn take(&mut self, scratch: &mut [u8], work: Work) {
        for _ in 0..self.due.len() {
            let Some(fd) = self.due.pop_front() else { return };
            let Some(connection) = self.connections.find(fd) else {
                continue;
            };
            match connection.echo.advance(scratch, work) {
                Wants::Read if connection.has_more() => self.due.push_back(fd),
                Wants::Read => {
                    connection.is_due = false;
                    connection.until = Until::Short;
                }
                Wants::Write => {
                    connection.is_due = false;
                    // The end may come meanwhile, and then its event is spent.
                    connection.until = Until::Nothing;
                }
                Wants::Close => drop(self.connections.remove(fd)),
            }
        }
    }
}

impl Connection {
    fn wake(&mut self, fd: RawFd, until: Until, due: &mut VecDeque<RawFd>) {
        // The second event before one turn may be the end of input behind the data that
        // the first one told of, and no third will come.
        if until == Until::Nothing || self.is_due {
            self.until = Until::Nothing;
        }
        if !self.is_due {
            self.is_due = true;
            due.push_back(fd);
        }
    }

    fn has_more(&self) -> bool {
        match self.echo.drained() {
            Drained::No => true,
            Drained::OfData => self.until == Until::Nothing,
            Drained::Fully => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};

    fn pair() -> (TcpStream, Turns, RawFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        let (mut turns, fd) = (Turns::default(), server.as_raw_fd());
        turns.insert(server);
        (client, turns, fd)
    }

    fn take_all(turns: &mut Turns) {
        let mut scratch = [0; 4096];
        while !turns.is_idle() {
            turns.take(&mut scratch, Work::None);
        }
    }

    fn waits_to_send(turns: &mut Turns, fd: RawFd) -> bool {
        let connection = turns.connections.find(fd);
        connection.is_some_and(|connection| !connection.is_due && connection.echo.drained() == Drained::No)
    }

    #[test]
    fn two_events_before_one_turn_may_be_data_and_the_end() {
        let (mut client, mut turns, fd) = pair();
        client.write_all(b"data").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        turns.wake(fd, Until::Short);
        turns.wake(fd, Until::Short);
        take_all(&mut turns);
        assert_eq!(turns.open(), 0);
    }

    #[test]
    fn the_end_may_come_while_a_connection_waits_to_send() {
        let (mut client, mut turns, fd) = pair();
        client.set_nonblocking(true).unwrap();
        let mut written = 0;
        loop {
            written += client.write(&[7; 4096]).unwrap_or(0);
            turns.wake(fd, Until::Short);
            take_all(&mut turns);
            if waits_to_send(&mut turns, fd) {
                break;
            }
        }
        written += client.write(b"the rest").unwrap();
        turns.wake(fd, Until::Short);
        take_all(&mut turns);
        client.shutdown(Shutdown::Write).unwrap();
        turns.wake(fd, Until::Short);
        take_all(&mut turns);

        // From here on there is only room to hear of.
        let mut back = 0;
        let mut sink = vec![0; 1 << 16];
        while back < written {
            back += client.read(&mut sink).unwrap_or(0);
            if waits_to_send(&mut turns, fd) {
                turns.wake(fd, Until::Short);
            }
            take_all(&mut turns);
        }
        assert_eq!(turns.open(), 0);
    }

    #[test]
    fn each_has_one_turn_before_anybody_has_a_second() {
        let (mut first, mut turns, fd) = pair();
        first.write_all(&[7; 4096]).unwrap();
        turns.wake(fd, Until::Short);
        turns.take(&mut [0; 16], Work::None);
        assert!(!turns.is_idle(), "there is more, and it keeps its place");
        let mut answer = [0; 64];
        assert_eq!(first.read(&mut answer).unwrap(), 16, "it was read once");
    }
}
