//! Connections of which every byte depends on its place, so that whatever is lost, doubled,
//! swapped or another's shows as soon as it comes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use socket2::{Domain, SockRef, Socket, Type};

use super::client::{ETHERNET_SEGMENT, STALL, noise, uninterrupted};

/// Bytes after which the pattern repeats: a prime, so that no size of message or buffer falls
/// into step with it, and what was lost whole still shows.
const PERIOD: usize = 65_521;

/// The longest piece of the pattern: writing more at once gains nothing.
pub const LONGEST_PIECE: usize = 256 * 1024;

/// Steps between the places where connections begin: neighbours are far apart, and any
/// [`PERIOD`] of them begin at as many places.
const STRIDE: u64 = 40_503;

/// What a narrow connection has room for when it does not read.
const NARROW_BYTES: usize = 8 * 1024;

/// What connections send: byte k of connection n is a function of both.
#[derive(Debug)]
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// Lays the bytes out so that every piece is in one piece.
    pub fn new() -> Self {
        let mut bytes = noise(0, PERIOD);
        bytes.extend_from_within(..);
        while bytes.len() < PERIOD + LONGEST_PIECE {
            bytes.extend_from_within(..PERIOD);
        }
        Pattern(bytes)
    }

    /// What connection `number` sends from `position` on, as much as fits into a piece.
    pub fn piece(&self, number: u64, position: u64, length: u64) -> &[u8] {
        let period = PERIOD as u64;
        let start = (number % period * STRIDE + position % period) % period;
        let length = length.min(LONGEST_PIECE as u64);
        &self.0[start as usize..][..length as usize]
    }
}

/// What a look at a connection found.
#[derive(Debug, PartialEq, Eq)]
pub enum Came {
    /// Nothing yet.
    Nothing,
    /// So many bytes, which are right.
    Bytes(usize),
    /// The end.
    End,
}

/// A connection that does not block, and knows what is due on it.
#[derive(Debug)]
pub struct Checked {
    stream: TcpStream,
    number: u64,
    sent: u64,
    received: u64,
}

impl Checked {
    /// Connects; a `narrow` one takes little at a time, as if from far away, so that a server
    /// soon meets a write that is taken in part.
    pub fn connect(address: SocketAddr, number: u64, narrow: bool) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if narrow {
            // Before the connection is made, which settles both.
            socket.set_recv_buffer_size(NARROW_BYTES)?;
            socket.set_tcp_mss(ETHERNET_SEGMENT)?;
        }
        let connected = socket.connect_timeout(&address.into(), STALL);
        connected.with_context(|| format!("cannot connect to {address}"))?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Checked {
            stream: socket.into(),
            number,
            sent: 0,
            received: 0,
        })
    }

    /// Which one it is.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many of them have come back.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Sends up to the byte at `until`, as far as there is room.
    pub fn send(&mut self, pattern: &Pattern, until: u64) -> anyhow::Result<()> {
        while self.sent < until {
            let piece = pattern.piece(self.number, self.sent, until - self.sent);
            match self.stream.write(piece) {
                Ok(length) => self.sent += length as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => bail!("{error} when byte {} was to be sent", self.sent),
            }
        }
        Ok(())
    }

    /// Takes what has come, as much as fits into `buffer`, and compares it with what is due.
    pub fn receive(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> anyhow::Result<Came> {
        let length = match uninterrupted(|| self.stream.read(buffer)) {
            Ok(0) => return Ok(Came::End),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Came::Nothing),
            Err(error) => bail!("{error} {}", self.standing()),
        };
        let due = self.sent - self.received;
        ensure!(
            length as u64 <= due,
            "more came back than was sent: {length} bytes where {due} were due, {}",
            self.standing()
        );
        let mut done = 0;
        while done < length {
            let left = (length - done) as u64;
            let expected = pattern.piece(self.number, self.received, left);
            self.compare(&buffer[done..done + expected.len()], expected)?;
            done += expected.len();
            self.received += expected.len() as u64;
        }
        Ok(Came::Bytes(length))
    }

    /// Says that there is no more input.
    pub fn half_close(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// With everything back, says that there is no more input and waits for the server's end.
    pub fn finish(self) -> anyhow::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(STALL))?;
        self.half_close()?;
        match uninterrupted(|| (&self.stream).read(&mut [0; 1])) {
            Ok(0) => Ok(()),
            Ok(_) => bail!("more came back than was sent, {}", self.standing()),
            Err(error) => bail!("no end came back for {STALL:?} ({error}), {}", self.standing()),
        }
    }

    /// Closes with a reset, whatever is on its way.
    pub fn reset(self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    /// Where it stands: `after 17 of 170 bytes had come back`.
    pub fn standing(&self) -> String {
        format!("after {} of {} bytes had come back", self.received, self.sent)
    }

    fn compare(&self, came: &[u8], expected: &[u8]) -> anyhow::Result<()> {
        if came == expected {
            return Ok(());
        }
        let same = came.iter().zip(expected).take_while(|(a, b)| a == b).count();
        bail!(
            "byte {} came back as {:#04x} where {:#04x} was sent",
            self.received + same as u64,
            came[same],
            expected[same]
        )
    }
}

impl AsFd for Checked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::TcpListener;
    use std::thread;

    proptest! {
        #[test]
        fn a_byte_depends_on_connection_and_position_and_not_on_the_piece(
            number: u64, position in 0..u64::MAX / 2, within in 0..LONGEST_PIECE as u64
        ) {
            let pattern = Pattern::new();
            let whole = pattern.piece(number, position, u64::MAX);
            prop_assert_eq!(whole.len(), LONGEST_PIECE);
            prop_assert_eq!(pattern.piece(number, position + within, 1)[0], whole[within as usize]);
        }

        #[test]
        fn what_is_shifted_or_of_another_connection_differs_at_once(
            number in 0..20_000u64, other in 1..20_000u64, lost in 1..2 * LONGEST_PIECE as u64
        ) {
            prop_assume!(lost % PERIOD as u64 != 0);
            let pattern = Pattern::new();
            let right = pattern.piece(number, 0, 16);
            prop_assert_ne!(right, pattern.piece(number + other, 0, 16));
            prop_assert_ne!(right, pattern.piece(number, lost, 16));
        }
    }

    /// What a client makes of an answer to its first 1000 bytes.
    fn client_on(answer: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<Came> {
        let pattern = Pattern::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Checked::connect(listener.local_addr().unwrap(), 7, false).unwrap();
        client.send(&pattern, 1000).unwrap();
        let mut bytes = pattern.piece(7, 0, 1000).to_vec();
        answer(&mut bytes);
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(&bytes).unwrap();
        drop(listener);
        loop {
            match client.receive(&pattern, &mut [0; 2000]) {
                Ok(Came::Nothing) => thread::yield_now(),
                other => return other,
            }
        }
    }

    #[test]
    fn a_wrong_byte_and_one_too_many_are_named() {
        assert_eq!(client_on(|_| {}).unwrap(), Came::Bytes(1000));
        let wrong = client_on(|bytes| bytes[500] ^= 1).unwrap_err().to_string();
        assert!(wrong.starts_with("byte 500 came back as "), "{wrong}");
        let lost = client_on(|bytes| {
            bytes.remove(3);
        });
        let lost = lost.unwrap_err().to_string();
        assert!(lost.starts_with("byte 3 came back as "), "{lost}");
        let more = client_on(|bytes| bytes.push(0)).unwrap_err().to_string();
        assert!(more.contains("1001 bytes where 1000 were due"), "{more}");
    }
}
