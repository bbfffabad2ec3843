//! The echo itself: what came in goes out, byte for byte, until the peer ends.
//!
//! [`echo`] is the blocking form, [`Echo`] the same as a state machine for loops that
//! are told when a socket is ready. In both, the server reads only while nothing is
//! left to write: a client that does not read is not read from, and holds one buffer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::sys::socket;
use crate::work::Work;

/// Echoes until the peer has sent its FIN and has everything back, or is gone.
///
/// A peer that resets or vanishes ends its own connection and nothing else, so there
/// is no error to return.
/// `buffer` is used up to its capacity.
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

/// What a connection waits for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Input.
    Read,
    /// Room for output.
    Write,
    /// Nothing: it is over and can be dropped, which closes it.
    Close,
}

/// What the last step says about input that still waits in the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// There may be more.
    No,
    /// A read of a stream that does not fill the buffer has taken all the data
    /// (epoll(7), "Questions and answers"). The end of input may stand behind it, and so may what
    /// follows urgent data, at which a read stops short.
    OfData,
    /// There was none, not even the end.
    Fully,
}

/// One connection of a readiness loop.
#[derive(Debug)]
pub struct Echo {
    stream: TcpStream,
    /// What was read and did not fit into the socket; empty nearly always, and then
    /// without memory of its own, so that an idle connection costs none.
    unsent: Vec<u8>,
    sent: usize,
    drained: Drained,
}

impl Echo {
    /// Takes over a stream that does not block.
    pub fn new(stream: TcpStream) -> Self {
        Echo {
            stream,
            unsent: Vec::new(),
            sent: 0,
            drained: Drained::No,
        }
    }

    /// The stream, for its descriptor.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// How much of the input the last [`Echo::advance`] has left, for loops that hear of
    /// it only once.
    pub fn drained(&self) -> Drained {
        self.drained
    }

    /// Does what can be done without blocking: sends the rest, or reads once and echoes.
    ///
    /// One read per call keeps a client that always has more from starving the others;
    /// a level-triggered loop is told again. `scratch` is shared by all connections.
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
        // Input that comes while this waits is not looked at: its event is spent.
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
    fn a_client_that_does_not_read_is_not_read_from_and_holds_one_buffer() {
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
        assert_eq!(echo.unsent.capacity(), 0, "an idle connection holds no memory");
    }

    #[test]
    fn the_end_of_input_closes() {
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
