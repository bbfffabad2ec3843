//! A client that checks every byte and never waits forever.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;
use std::{fmt, io};

use anyhow::{Context, bail, ensure};
use servers::listener::Transport;
use socket2::{Domain, SockRef, Socket, Type};

use super::payload::compare;
use super::wait::{STALL, wait_until};

/// Time without progress after which a connection counts as full in both directions. If it is
/// too short, filling ends early; nothing else depends on it.
const FULL_AFTER: Duration = Duration::from_millis(200);

/// When a client that streams starts to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStart {
    /// While it writes.
    Immediate,
    /// When everything is written or no more can be: every buffer on the way is full then,
    /// and the server has met a partial write.
    WhenFull,
}

/// What a connection delivered before it was closed.
#[derive(Debug, Default)]
pub struct Closed {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether it was closed by a reset instead of a FIN.
    pub was_reset: bool,
}

/// The longest datagram over IPv4: 16 bits of length, minus the headers.
pub const LONGEST_DATAGRAM: usize = 65_507;

/// The payload of an Ethernet frame. Segments of loopback are 64 KiB, and the kernel sizes
/// send buffers by the number of segments, so it grants megabytes there.
pub(super) const ETHERNET_SEGMENT: u32 = 1460;

/// One connection to a server, or one UDP socket that talks to it.
#[derive(Debug)]
pub struct Client {
    /// Over UDP a connected socket, which the same calls read and write, one datagram each.
    stream: TcpStream,
    transport: Transport,
    received: usize,
}

impl Client {
    /// Connects; later calls wait for at most [`STALL`].
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Client::connect_within(address, STALL)
    }

    /// Connects; every call, including this one, waits for at most `timeout`.
    pub fn connect_within(address: SocketAddr, timeout: Duration) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        Client::start(socket, address, timeout)
    }

    /// Connects with the smallest receive buffer and short segments: unread replies soon stay
    /// in the server, and its kernel holds few of them.
    pub fn connect_narrow(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Before connecting, which fixes the window scale.
        socket.set_recv_buffer_size(1)?;
        socket.set_tcp_mss(ETHERNET_SEGMENT)?;
        Client::start(socket, address, STALL)
    }

    /// A client over UDP. Nothing is sent yet.
    pub fn udp(address: SocketAddr, timeout: Duration) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        Client::start_udp(socket, address, timeout)
    }

    /// A client over UDP with a given source address and port.
    pub fn udp_from(source: SocketAddr, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        let bound = socket.bind(&source.into());
        bound.with_context(|| format!("cannot send from {source}"))?;
        Client::start_udp(socket, address, STALL)
    }

    fn start_udp(socket: Socket, address: SocketAddr, timeout: Duration) -> anyhow::Result<Self> {
        socket.connect(&address.into())?;
        socket.set_read_timeout(Some(timeout))?;
        Ok(Client {
            stream: socket.into(),
            transport: Transport::Datagram,
            received: 0,
        })
    }

    fn start(socket: Socket, address: SocketAddr, timeout: Duration) -> anyhow::Result<Self> {
        let connected = socket.connect_timeout(&address.into(), timeout);
        connected.with_context(|| format!("cannot connect to {address}"))?;
        Client::over(socket, timeout)
    }

    /// A client over an established connection.
    pub(super) fn over(socket: Socket, timeout: Duration) -> anyhow::Result<Self> {
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Client {
            stream,
            transport: Transport::Stream,
            received: 0,
        })
    }

    /// Its own address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Bytes that came back correctly so far.
    pub fn received(&self) -> usize {
        self.received
    }

    /// Sends a message and waits until it has come back.
    pub fn echo(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.send(message)?;
        self.receive(message)
    }

    /// Sends a message.
    pub fn send(&self, message: &[u8]) -> anyhow::Result<()> {
        if self.transport == Transport::Datagram {
            let sent = uninterrupted(|| (&self.stream).write(message));
            return sent.map(drop).context("sending a datagram");
        }
        write(&self.stream, message).with_context(|| format!("sending {} bytes", message.len()))
    }

    /// Sends a byte of urgent data, at which the server's reads stop short.
    pub fn send_urgent(&self, byte: u8) -> io::Result<()> {
        SockRef::from(&self.stream).send_out_of_band(&[byte]).map(drop)
    }

    /// Sends from `message` until the connection takes no more; returns how many bytes it took.
    pub fn fill(&self, message: &[u8]) -> anyhow::Result<usize> {
        let timeout = self.stream.write_timeout()?;
        self.stream.set_write_timeout(Some(FULL_AFTER))?;
        let mut sent = 0;
        while sent < message.len() {
            match uninterrupted(|| (&self.stream).write(&message[sent..])) {
                Ok(length) => sent += length,
                Err(error) if is_timeout(&error) => break,
                Err(error) => bail!("{error} after {sent} bytes were sent"),
            }
        }
        self.stream.set_write_timeout(timeout)?;
        Ok(sent)
    }

    /// Half-closes, receives the outstanding bytes `rest`, and waits for the server to close.
    pub fn finish(&mut self, rest: &[u8]) -> anyhow::Result<()> {
        self.half_close()?;
        self.receive(rest)?;
        self.expect_eof()
    }

    /// Sends `message` in pieces, half-closes, and checks everything that comes back up to the
    /// FIN. Writes and reads in parallel: a client that writes everything before it reads
    /// deadlocks against any server that bounds its memory.
    pub fn echo_to_eof(&mut self, message: &[u8], piece: usize, start: ReadStart) -> anyhow::Result<()> {
        let written = AtomicUsize::new(0);
        let stream = self.stream.try_clone()?;
        thread::scope(|scope| {
            let writer = scope.spawn(|| write_pieces(&stream, message, piece, &written));
            if start == ReadStart::WhenFull {
                wait_until_stuck(&written, message.len());
            }
            let read = self.receive(message).and_then(|()| self.expect_eof());
            if read.is_err() {
                // Unblocks the writer; the connection may already be closed.
                let _ = stream.shutdown(Shutdown::Both);
            }
            let wrote = writer.join();
            read?;
            match wrote {
                Ok(wrote) => wrote,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Ends its input with a FIN (`shutdown(SHUT_WR)`).
    pub fn half_close(&self) -> anyhow::Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// Waits for exactly these bytes.
    pub fn receive(&mut self, expected: &[u8]) -> anyhow::Result<()> {
        if self.transport == Transport::Datagram {
            return self.receive_datagram(expected);
        }
        let mut buffer = vec![0; expected.len().min(64 * 1024)];
        let mut done = 0;
        while done < expected.len() {
            let progress = Progress { expected, done };
            let most = buffer.len().min(expected.len() - done);
            let length = match uninterrupted(|| self.stream.read(&mut buffer[..most])) {
                Ok(0) => bail!("the server closed the connection {progress}"),
                Ok(length) => length,
                Err(error) => {
                    let stalled = format!("nothing came back for {:?}", self.timeout());
                    return Err(explain(error, &stalled).context(progress.to_string()));
                }
            };
            compare(&buffer[..length], &expected[done..done + length], done as u64)?;
            done += length;
            self.received += length;
        }
        Ok(())
    }

    /// Waits for one datagram with exactly these bytes.
    fn receive_datagram(&mut self, expected: &[u8]) -> anyhow::Result<()> {
        let mut buffer = vec![0; LONGEST_DATAGRAM + 1];
        let length = uninterrupted(|| self.stream.read(&mut buffer)).map_err(|error| {
            let stalled = format!("no datagram came back for {:?}", self.timeout());
            explain(error, &stalled).context(format!("after {} bytes were sent", expected.len()))
        })?;
        let same = length.min(expected.len());
        compare(&buffer[..same], &expected[..same], 0)?;
        ensure!(
            length == expected.len(),
            "a datagram of {} bytes came back with {length} bytes",
            expected.len()
        );
        self.received += length;
        Ok(())
    }

    /// Waits for the server's FIN, which is due once everything has come back.
    pub fn expect_eof(&mut self) -> anyhow::Result<()> {
        match uninterrupted(|| self.stream.read(&mut [0; 1])) {
            Ok(0) => Ok(()),
            Ok(_) => bail!("more came back than was sent"),
            Err(error) => {
                let stalled = format!(
                    "the server did not answer a FIN with its own for {:?}",
                    self.timeout()
                );
                Err(explain(error, &stalled).context("after everything had come back"))
            }
        }
    }

    /// Whether data or a close has arrived. Does not wait.
    pub fn has_input(&self) -> anyhow::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let peeked = uninterrupted(|| self.stream.peek(&mut [0; 1]));
        self.stream.set_nonblocking(false)?;
        Ok(!matches!(peeked, Err(error) if is_timeout(&error)))
    }

    /// Whether nothing arrives for `time`.
    pub fn is_silent_for(&mut self, time: Duration) -> anyhow::Result<bool> {
        let timeout = self.stream.read_timeout()?;
        self.stream.set_read_timeout(Some(time))?;
        let peeked = uninterrupted(|| self.stream.peek(&mut [0; 1]));
        self.stream.set_read_timeout(timeout)?;
        Ok(matches!(peeked, Err(error) if is_timeout(&error)))
    }

    /// Closes with a reset (SO_LINGER with a time of 0).
    pub fn reset(self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    /// Reads until the connection is closed in any way; the error is a connection that the
    /// server leaves open.
    pub fn read_until_closed(&mut self) -> anyhow::Result<Closed> {
        let mut closed = Closed::default();
        let mut buffer = [0; 4096];
        loop {
            match uninterrupted(|| self.stream.read(&mut buffer)) {
                Ok(0) => return Ok(closed),
                Ok(length) => closed.bytes.extend(&buffer[..length]),
                Err(error) => {
                    ensure!(
                        !is_timeout(&error),
                        "the connection was left open without any data for {:?}",
                        self.timeout()
                    );
                    closed.was_reset = true;
                    return Ok(closed);
                }
            }
        }
    }

    /// The same with a time limit for each read.
    pub fn read_until_closed_within(&mut self, time: Duration) -> anyhow::Result<Closed> {
        self.stream.set_read_timeout(Some(time))?;
        self.read_until_closed()
    }

    fn timeout(&self) -> Duration {
        self.stream.read_timeout().ok().flatten().unwrap_or(STALL)
    }
}

/// How much of the expected bytes a connection has delivered.
struct Progress<'a> {
    expected: &'a [u8],
    done: usize,
}

impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (done, all) = (self.done, self.expected.len());
        write!(f, "after {done} of {all} bytes had come back")?;
        match self.expected.get(done) {
            Some(byte) => write!(f, ", expecting {byte:#04x} next"),
            None => Ok(()),
        }
    }
}

fn write_pieces(
    stream: &TcpStream,
    message: &[u8],
    piece: usize,
    written: &AtomicUsize,
) -> anyhow::Result<()> {
    for piece in message.chunks(piece) {
        let sent = written.load(Relaxed);
        write(stream, piece).with_context(|| format!("after {sent} bytes were sent"))?;
        written.store(sent + piece.len(), Relaxed);
    }
    Ok(stream.shutdown(Shutdown::Write)?)
}

fn write(mut stream: &TcpStream, message: &[u8]) -> anyhow::Result<()> {
    stream.write_all(message).map_err(|error| {
        let timeout = stream.write_timeout().ok().flatten().unwrap_or(STALL);
        explain(error, &format!("the server took no more input for {timeout:?}"))
    })
}

fn wait_until_stuck(written: &AtomicUsize, all: usize) {
    let mut last = written.load(Relaxed);
    while wait_until(FULL_AFTER, || written.load(Relaxed) != last) && last != all {
        last = written.load(Relaxed);
    }
}

/// Retries a call on EINTR. On a socket with a time-out the kernel does not restart calls, and
/// tearing down an io_uring of this process interrupts its threads.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Describes an error of a socket. A time-out is EAGAIN, whose own text explains nothing.
pub(super) fn explain(error: io::Error, stalled: &str) -> anyhow::Error {
    if is_timeout(&error) {
        anyhow::anyhow!("{stalled}")
    } else {
        error.into()
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::kit::payload::noise;
    use std::net::TcpListener;
    use std::sync::mpsc::channel;

    /// A client whose connection `serve` handles.
    fn client_within(timeout: Duration, serve: impl FnOnce(TcpStream) + Send + 'static) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(listener.accept().unwrap().0));
        Client::connect_within(address, timeout).unwrap()
    }

    fn client_of(serve: impl FnOnce(TcpStream) + Send + 'static) -> Client {
        client_within(STALL, serve)
    }

    fn evidence(result: anyhow::Result<()>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn a_wrong_byte_is_named() {
        let mut client = client_of(|mut stream| stream.write_all(b"abXd").unwrap());
        let error = evidence(client.receive(b"abcd"));
        assert_eq!(error, "byte 2 came back as 0x58 instead of 0x63");
    }

    #[test]
    fn an_early_close_names_the_missing_bytes() {
        let mut client = client_of(|mut stream| stream.write_all(b"ab").unwrap());
        let error = evidence(client.receive(b"abcd"));
        assert!(
            error.contains("closed") && error.contains("2 of 4") && error.contains("0x63"),
            "{error}"
        );
    }

    #[test]
    fn a_stall_names_the_missing_bytes() {
        let (sent, both_bytes_sent) = channel();
        let mut client = client_within(Duration::from_millis(500), move |mut stream| {
            stream.write_all(b"ab").unwrap();
            sent.send(()).unwrap();
            let _ = stream.read(&mut [0; 1]);
        });
        both_bytes_sent.recv().unwrap();
        let error = evidence(client.receive(b"abcd"));
        assert!(
            error.contains("nothing came back for 500ms") && error.contains("2 of 4"),
            "{error}"
        );
    }

    #[test]
    fn surplus_bytes_are_an_error() {
        let mut client = client_of(|mut stream| stream.write_all(b"abc").unwrap());
        assert!(evidence(client.finish(b"ab")).contains("more came back"));
    }

    #[test]
    fn a_message_larger_than_all_buffers_is_echoed_without_a_deadlock() {
        let mut client = client_of(|stream| {
            io::copy(&mut &stream, &mut &stream).unwrap();
        });
        let message = noise(3, 24 << 20);
        client
            .echo_to_eof(&message, 64 * 1024, ReadStart::WhenFull)
            .unwrap();
        assert_eq!(client.received(), message.len());
    }

    #[test]
    fn filling_stops_if_the_server_does_not_read() {
        let (done, wait) = channel::<()>();
        let client = client_of(move |_stream| {
            let _ = wait.recv();
        });
        let message = noise(4, 64 << 20);
        let sent = client.fill(&message).unwrap();
        assert!(sent > 0 && sent < message.len(), "{sent}");
        drop(done);
    }
}
