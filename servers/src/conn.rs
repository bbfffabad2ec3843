//! The echo itself: returns the input, byte for byte, until the end of input.
//!
//! [`echo`] blocks; [`Echo`] is the same as a state machine for readiness loops. Both read
//! only while nothing is left to write, so a client that does not read holds one buffer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::sys::socket;
use crate::work::Work;

/// Memory for this number of bytes. If there is none left, that is an error here, where a vector would
/// abort the process.
pub fn buffer(bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    match buffer.try_reserve_exact(bytes) {
        Ok(()) => Ok(buffer),
        Err(_) => {
            let message = format!("no memory for a buffer of {bytes} bytes");
            Err(io::Error::new(ErrorKind::OutOfMemory, message))
        }
    }
}

/// Memory to read into, filled with zeroes; as for [`buffer`].
pub fn scratch(bytes: usize) -> io::Result<Vec<u8>> {
    let mut scratch = buffer(bytes)?;
    scratch.resize(bytes, 0);
    Ok(scratch)
}

/// Echoes until the peer has sent its FIN and received everything, or is gone.
///
/// Returns no error, since a peer that resets or disappears ends only its own connection.
/// Uses `buffer` up to its capacity.
pub fn echo(mut stream: &TcpStream, buffer: &mut Vec<u8>, work: Work) {
    loop {
        match socket::receive(stream, buffer) {
            Ok(0) => return,
            Ok(_) => {
                work.perform();
                if stream.write_all(buffer).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// What a connection needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Input.
    Read,
    /// Room for output.
    Write,
    /// To be closed, by dropping it.
    Close,
}

/// What the last step revealed about further input in the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// There may be more.
    No,
    /// A read that does not fill the buffer has taken all data of a stream (epoll(7), "Questions
    /// and answers"). The end of input may follow, or data behind an urgent byte, at which a
    /// read stops.
    OfData,
    /// There was none, not even the end of input.
    Fully,
}

/// A connection of a readiness loop.
#[derive(Debug)]
pub struct Echo {
    stream: TcpStream,
    /// Input that did not fit into the socket. Empty most of the time, and then without an
    /// allocation, so an idle connection needs no memory.
    unsent: Vec<u8>,
    sent: usize,
    drained: Drained,
}

impl Echo {
    /// Echoes on a nonblocking stream.
    pub fn new(stream: TcpStream) -> Self {
        Echo {
            stream,
            unsent: Vec::new(),
            sent: 0,
            drained: Drained::No,
        }
    }

    /// The stream.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether the last [`Echo::advance`] left input in the socket, for loops that learn of it
    /// only once.
    pub fn drained(&self) -> Drained {
        self.drained
    }

    /// Sends the unsent rest, or reads once and echoes, without blocking.
    ///
    /// One read per call keeps a busy client from starving the others; level-triggered
    /// notification reports the remaining input again. All connections share `scratch`.
    pub fn advance(&mut self, scratch: &mut [u8], work: Work) -> Wants {
        if !self.unsent.is_empty() {
            return self.send_rest();
        }
        match self.stream.read(scratch) {
            Ok(0) => Wants::Close,
            Ok(length) => {
                self.drained = match length < scratch.len() {
                    true => Drained::OfData,
                    false => Drained::No,
                };
                work.perform();
                self.send(&scratch[..length])
            }
            Err(error) if is_transient(&error) => {
                self.drained = match error.kind() {
                    ErrorKind::WouldBlock => Drained::Fully,
                    _ => Drained::No,
                };
                Wants::Read
            }
            Err(_) => Wants::Close,
        }
    }

    fn send(&mut self, input: &[u8]) -> Wants {
        let sent = match self.stream.write(input) {
            Ok(sent) if sent == input.len() => return Wants::Read,
            Ok(sent) => sent,
            Err(error) if is_transient(&error) => 0,
            Err(_) => return Wants::Close,
        };
        self.unsent = input[sent..].to_vec();
        self.sent = 0;
        // An event for input is lost while the connection waits to send.
        self.drained = Drained::No;
        Wants::Write
    }

    fn send_rest(&mut self) -> Wants {
        match self.stream.write(&self.unsent[self.sent..]) {
            Ok(sent) => self.sent += sent,
            Err(error) if is_transient(&error) => {}
            Err(_) => return Wants::Close,
        }
        if self.sent < self.unsent.len() {
            return Wants::Write;
        }
        self.unsent = Vec::new();
        Wants::Read
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (TcpStream, Echo) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        (client, Echo::new(server))
    }

    #[test]
    fn a_client_that_does_not_read_holds_one_buffer() {
        let (mut client, mut echo) = pair();
        client.set_nonblocking(true).unwrap();
        let mut scratch = vec![0; 4096];
        let mut written = 0;
        while echo.unsent.is_empty() {
            written += client.write(&[7; 4096]).unwrap_or(0);
            echo.advance(&mut scratch, Work::None);
        }
        assert_eq!(echo.advance(&mut scratch, Work::None), Wants::Write);
        assert!(echo.unsent.len() <= 4096);

        let mut back = 0;
        let mut sink = vec![0; 65536];
        while back < written {
            match client.read(&mut sink) {
                Ok(length) => back += length,
                Err(_) => std::thread::yield_now(),
            }
            echo.advance(&mut scratch, Work::None);
        }
        assert_eq!(back, written);
        assert_eq!(echo.unsent.capacity(), 0, "an idle connection has no buffer");
    }

    #[test]
    fn the_end_of_input_closes_the_connection() {
        let (client, mut echo) = pair();
        assert_eq!(echo.advance(&mut [0; 16], Work::None), Wants::Read);
        drop(client);
        let mut wants = Wants::Read;
        while wants == Wants::Read {
            wants = echo.advance(&mut [0; 16], Work::None);
        }
        assert_eq!(wants, Wants::Close);
    }
}
