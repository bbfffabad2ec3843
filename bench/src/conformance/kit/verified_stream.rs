//! Non-blocking connections that know which bytes are due, so that a lost, doubled, swapped or
//! foreign byte shows as soon as it arrives.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use socket2::{Domain, SockRef, Socket, Type};

use super::client::{ETHERNET_SEGMENT, uninterrupted};
use super::payload::{Pattern, compare};
use super::wait::STALL;

/// Receive buffer of a narrow connection.
const NARROW_BYTES: usize = 8 * 1024;

/// The result of one read.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing has arrived.
    Nothing,
    /// That many correct bytes.
    Bytes(usize),
    /// The server's FIN.
    Eof,
}

/// A connection that sends the [`Pattern`] and compares what comes back with it.
#[derive(Debug)]
pub struct VerifiedStream {
    stream: TcpStream,
    number: u64,
    sent: u64,
    received: u64,
}

impl VerifiedStream {
    /// Connects. A `narrow` connection takes little at a time, as over a slow path, so that
    /// the server soon meets a partial write.
    pub fn connect(address: SocketAddr, number: u64, narrow: bool) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if narrow {
            // Before connecting, which fixes both.
            socket.set_recv_buffer_size(NARROW_BYTES)?;
            socket.set_tcp_mss(ETHERNET_SEGMENT)?;
        }
        let connected = socket.connect_timeout(&address.into(), STALL);
        connected.with_context(|| format!("cannot connect to {address}"))?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(VerifiedStream {
            stream: socket.into(),
            number,
            sent: 0,
            received: 0,
        })
    }

    /// Its number, which selects its part of the pattern.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that came back so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Sends up to the byte at `until`, as far as the socket takes it.
    pub fn send(&mut self, pattern: &Pattern, until: u64) -> anyhow::Result<()> {
        while self.sent < until {
            let piece = pattern.piece(self.number, self.sent, until - self.sent);
            match self.stream.write(piece) {
                Ok(length) => self.sent += length as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => bail!("{error} on sending byte {}", self.sent),
            }
        }
        Ok(())
    }

    /// Reads once into `buffer` and compares the bytes with those that are due.
    pub fn receive(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> anyhow::Result<Received> {
        let length = match uninterrupted(|| self.stream.read(buffer)) {
            Ok(0) => return Ok(Received::Eof),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::Nothing),
            Err(error) => bail!("{error} {}", self.progress()),
        };
        let due = self.sent - self.received;
        ensure!(
            length as u64 <= due,
            "more came back than was sent: {length} bytes instead of {due}, {}",
            self.progress()
        );
        let mut done = 0;
        while done < length {
            let left = (length - done) as u64;
            let expected = pattern.piece(self.number, self.received, left);
            compare(&buffer[done..done + expected.len()], expected, self.received)?;
            done += expected.len();
            self.received += expected.len() as u64;
        }
        Ok(Received::Bytes(length))
    }

    /// Ends its input with a FIN.
    pub fn half_close(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Half-closes once everything has come back, and waits for the server's FIN.
    pub fn finish(self) -> anyhow::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(STALL))?;
        self.half_close()?;
        match uninterrupted(|| (&self.stream).read(&mut [0; 1])) {
            Ok(0) => Ok(()),
            Ok(_) => bail!("more came back than was sent, {}", self.progress()),
            Err(error) => bail!("no FIN came back for {STALL:?} ({error}), {}", self.progress()),
        }
    }

    /// Closes with a reset.
    pub fn reset(self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    /// Its progress: `after 17 of 170 bytes had come back`.
    pub fn progress(&self) -> String {
        format!("after {} of {} bytes had come back", self.received, self.sent)
    }
}

impl AsFd for VerifiedStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// What a client receives when `answer` has changed the echo of its first 1000 bytes.
    fn client_on(answer: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<Received> {
        let pattern = Pattern::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = VerifiedStream::connect(listener.local_addr().unwrap(), 7, false).unwrap();
        client.send(&pattern, 1000).unwrap();
        let mut bytes = pattern.piece(7, 0, 1000).to_vec();
        answer(&mut bytes);
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(&bytes).unwrap();
        drop(listener);
        loop {
            match client.receive(&pattern, &mut [0; 2000]) {
                Ok(Received::Nothing) => thread::yield_now(),
                other => return other,
            }
        }
    }

    #[test]
    fn wrong_and_surplus_bytes_are_named() {
        assert_eq!(client_on(|_| {}).unwrap(), Received::Bytes(1000));
        let wrong = client_on(|bytes| bytes[500] ^= 1).unwrap_err().to_string();
        assert!(wrong.starts_with("byte 500 came back as "), "{wrong}");
        let lost = client_on(|bytes| {
            bytes.remove(3);
        });
        let lost = lost.unwrap_err().to_string();
        assert!(lost.starts_with("byte 3 came back as "), "{lost}");
        let more = client_on(|bytes| bytes.push(0)).unwrap_err().to_string();
        assert!(more.contains("1001 bytes instead of 1000"), "{more}");
    }
}
