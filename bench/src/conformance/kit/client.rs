//! A client that checks every byte and never waits for ever.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, io};

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use servers::listener::Transport;
use socket2::{Domain, SockRef, Socket, Type};

/// Time after which a server that does nothing is stuck and not slow.
pub const STALL: Duration = Duration::from_secs(10);

/// Time without progress after which a connection is taken to be full in both
/// directions. Too short, it ends the filling early, and nothing else.
const FULL_AFTER: Duration = Duration::from_millis(200);

/// When a conversation starts to read what comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// While it writes.
    AtOnce,
    /// Only once all is written or nothing more can be: by then every buffer on the way
    /// is full, and a server has met a partial write.
    Late,
}

/// What a connection still brought before it ended.
#[derive(Debug, Default)]
pub struct Rest {
    /// Whatever came.
    pub bytes: Vec<u8>,
    /// Whether it ended with a reset where an end (FIN) was due.
    pub was_reset: bool,
}

/// The longest datagram over IPv4: what 16 bits count, without the headers.
pub const LONGEST_DATAGRAM: usize = 65_507;

/// The payload of an Ethernet frame. Over loopback it is 64 KiB, and the kernel gives each
/// connection megabytes to send from, since it counts them in segments.
pub(super) const ETHERNET_SEGMENT: u32 = 1460;

/// One connection to a server.
#[derive(Debug)]
pub struct Client {
    /// Over UDP it is a connected socket all the same, which the same calls read and write:
    /// a whole message each.
    stream: TcpStream,
    transport: Transport,
    received: usize,
}

impl Client {
    /// Connects; no later call waits longer than [`STALL`].
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Client::connect_within(address, STALL)
    }

    /// Connects; no call, this one included, waits longer than `patience`.
    pub fn connect_within(address: SocketAddr, patience: Duration) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        Client::start(socket, address, patience)
    }

    /// Connects with the smallest receive buffer there is, and segments as short as on a
    /// network: what it does not read is soon held by the server's side, and little of it by
    /// the kernel there.
    pub fn connect_narrow(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Before the connection is made, which settles the scale of the window.
        socket.set_recv_buffer_size(1)?;
        socket.set_tcp_mss(ETHERNET_SEGMENT)?;
        Client::start(socket, address, STALL)
    }

    /// A client over UDP. Nobody is asked before it sends.
    pub fn over_datagrams(address: SocketAddr, patience: Duration) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        Client::start_over_datagrams(socket, address, patience)
    }

    /// The same from an address and port of this host, which a server may know.
    pub fn over_datagrams_from(source: SocketAddr, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        let bound = socket.bind(&source.into());
        bound.with_context(|| format!("cannot send from {source}"))?;
        Client::start_over_datagrams(socket, address, STALL)
    }

    fn start_over_datagrams(socket: Socket, address: SocketAddr, patience: Duration) -> anyhow::Result<Self> {
        socket.connect(&address.into())?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Client {
            stream: socket.into(),
            transport: Transport::Datagram,
            received: 0,
        })
    }

    fn start(socket: Socket, address: SocketAddr, patience: Duration) -> anyhow::Result<Self> {
        let connected = socket.connect_timeout(&address.into(), patience);
        connected.with_context(|| format!("cannot connect to {address}"))?;
        Client::over(socket, patience)
    }

    /// A client over a connection that stands.
    fn over(socket: Socket, patience: Duration) -> anyhow::Result<Self> {
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Client {
            stream,
            transport: Transport::Stream,
            received: 0,
        })
    }

    /// Where it sends from.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// How many bytes have come back as they were sent.
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
            return sent.map(drop).context("while a datagram was sent");
        }
        write(&self.stream, message).with_context(|| format!("while {} bytes were sent", message.len()))
    }

    /// Sends a byte of urgent data, at which reads of a server stop short.
    pub fn send_urgent(&self, byte: u8) -> io::Result<()> {
        SockRef::from(&self.stream).send_out_of_band(&[byte]).map(drop)
    }

    /// Sends from `message` until the connection takes no more, and returns how much.
    pub fn fill(&self, message: &[u8]) -> anyhow::Result<usize> {
        let patience = self.stream.write_timeout()?;
        self.stream.set_write_timeout(Some(FULL_AFTER))?;
        let mut sent = 0;
        while sent < message.len() {
            match uninterrupted(|| (&self.stream).write(&message[sent..])) {
                Ok(length) => sent += length,
                Err(error) if is_timeout(&error) => break,
                Err(error) => bail!("{error} after {sent} bytes were sent"),
            }
        }
        self.stream.set_write_timeout(patience)?;
        Ok(sent)
    }

    /// Says that there is no more input (`shutdown(WR)`), and waits until `rest`, which
    /// is due, has come back and the server has closed.
    pub fn finish(&mut self, rest: &[u8]) -> anyhow::Result<()> {
        self.end()?;
        self.receive(rest)?;
        self.expect_end()
    }

    /// Sends `message` in pieces, ends with a half-close, and checks what comes back
    /// until the end. Writes and reads at the same time: a client that writes first and
    /// then reads would deadlock against any server that bounds its memory.
    pub fn converse(&mut self, message: &[u8], piece: usize, reading: Reading) -> anyhow::Result<()> {
        let written = AtomicUsize::new(0);
        let stream = self.stream.try_clone()?;
        thread::scope(|scope| {
            let writer = scope.spawn(|| write_pieces(&stream, message, piece, &written));
            if reading == Reading::Late {
                wait_until_stuck(&written, message.len());
            }
            let read = self.receive(message).and_then(|()| self.expect_end());
            if read.is_err() {
                // Frees the writer; the connection may be gone already.
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

    /// Says that there is no more input (`shutdown(WR)`).
    pub fn end(&self) -> anyhow::Result<()> {
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
            let due = Due { expected, done };
            let most = buffer.len().min(expected.len() - done);
            let length = match uninterrupted(|| self.stream.read(&mut buffer[..most])) {
                Ok(0) => bail!("the server closed the connection {due}"),
                Ok(length) => length,
                Err(error) => {
                    let stalled = format!("nothing came back for {:?}", self.patience());
                    return Err(explain(error, &stalled).context(due.to_string()));
                }
            };
            compare(&buffer[..length], &expected[done..done + length], done)?;
            done += length;
            self.received += length;
        }
        Ok(())
    }

    /// Waits for one datagram, which must be these bytes.
    fn receive_datagram(&mut self, expected: &[u8]) -> anyhow::Result<()> {
        let mut buffer = vec![0; LONGEST_DATAGRAM + 1];
        let length = uninterrupted(|| self.stream.read(&mut buffer)).map_err(|error| {
            let stalled = format!("no datagram came back for {:?}", self.patience());
            explain(error, &stalled).context(format!("after {} bytes were sent", expected.len()))
        })?;
        let same = length.min(expected.len());
        compare(&buffer[..same], &expected[..same], 0)?;
        ensure!(
            length == expected.len(),
            "a datagram of {} bytes came back as one of {length}",
            expected.len()
        );
        self.received += length;
        Ok(())
    }

    /// Waits for the end: everything has come back, so the server's FIN is due.
    pub fn expect_end(&mut self) -> anyhow::Result<()> {
        match uninterrupted(|| self.stream.read(&mut [0; 1])) {
            Ok(0) => Ok(()),
            Ok(_) => bail!("more came back than was sent"),
            Err(error) => {
                let stalled = format!(
                    "end of input was not answered by an end for {:?}",
                    self.patience()
                );
                Err(explain(error, &stalled).context("after everything had come back"))
            }
        }
    }

    /// Whether something has arrived, or the end, without waiting for it.
    pub fn has_heard(&self) -> anyhow::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let peeked = uninterrupted(|| self.stream.peek(&mut [0; 1]));
        self.stream.set_nonblocking(false)?;
        Ok(!matches!(peeked, Err(error) if is_timeout(&error)))
    }

    /// Whether nothing arrives for `time`.
    pub fn hears_nothing_for(&mut self, time: Duration) -> anyhow::Result<bool> {
        let patience = self.stream.read_timeout()?;
        self.stream.set_read_timeout(Some(time))?;
        let peeked = uninterrupted(|| self.stream.peek(&mut [0; 1]));
        self.stream.set_read_timeout(patience)?;
        Ok(matches!(peeked, Err(error) if is_timeout(&error)))
    }

    /// Closes with a reset (SO_LINGER with a time of 0).
    pub fn reset(self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    /// Reads to the end, whatever comes and however it ends: only a connection that is
    /// left hanging is an error.
    pub fn expect_release(&mut self) -> anyhow::Result<Rest> {
        let mut rest = Rest::default();
        let mut buffer = [0; 4096];
        loop {
            match uninterrupted(|| self.stream.read(&mut buffer)) {
                Ok(0) => return Ok(rest),
                Ok(length) => rest.bytes.extend(&buffer[..length]),
                Err(error) => {
                    ensure!(
                        !is_timeout(&error),
                        "the connection was left hanging for {:?}",
                        self.patience()
                    );
                    rest.was_reset = true;
                    return Ok(rest);
                }
            }
        }
    }

    /// The same, but for a client that waits no longer than `time`.
    pub fn expect_release_within(&mut self, time: Duration) -> anyhow::Result<Rest> {
        self.stream.set_read_timeout(Some(time))?;
        self.expect_release()
    }

    fn patience(&self) -> Duration {
        self.stream.read_timeout().ok().flatten().unwrap_or(STALL)
    }
}

/// A connection that has been asked for, and is not waited for yet.
#[derive(Debug)]
pub struct Connecting {
    socket: Socket,
    address: SocketAddr,
}

impl Connecting {
    /// Asks. Over loopback the kernel has queued the connection with the listener, or has
    /// dropped the question, by the time this returns; it asks again after a second.
    pub fn to(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => {
                Err(error).with_context(|| format!("cannot connect to {address}"))
            }
            _ => Ok(Connecting { socket, address }),
        }
    }

    /// Whether the kernel of the server has answered.
    pub fn is_connected(&self) -> bool {
        self.socket.peer_addr().is_ok()
    }

    /// Waits for the answer; no call, this one included, waits longer than `patience`.
    pub fn wait(self, patience: Duration) -> anyhow::Result<Client> {
        self.socket.set_nonblocking(false)?;
        self.socket.set_write_timeout(Some(patience))?;
        // Asked a second time, this one waits for the answer to the first.
        let connected = uninterrupted(|| self.socket.connect(&self.address.into()));
        connected.map_err(|error| {
            let stalled = format!("no connection to {} within {patience:?}", self.address);
            explain(error, &stalled)
        })?;
        Client::over(self.socket, patience)
    }
}

/// Whether the address refuses connections.
pub fn is_refused(address: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&address, STALL) {
        // A port without a listener can be connected to itself: the kernel may pick it
        // as the port to connect from.
        Ok(stream) => stream.local_addr().is_ok_and(|local| local == address),
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

/// Looks until `condition` holds, at most for `time`; whether it came to hold.
pub fn wait_until(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    const GLANCE: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + time;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(GLANCE);
    }
    true
}

/// Bytes that hold every value and do not repeat, so that whatever is lost, doubled,
/// swapped or taken from another connection shows: splitmix64 (Steele, Lea, Flood, 2014).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Where in what is due a connection stands.
struct Due<'a> {
    expected: &'a [u8],
    done: usize,
}

impl fmt::Display for Due<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (done, all) = (self.done, self.expected.len());
        write!(f, "after {done} of {all} bytes had come back")?;
        match self.expected.get(done) {
            Some(byte) => write!(f, ", with {byte:#04x} due next"),
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
        let patience = stream.write_timeout().ok().flatten().unwrap_or(STALL);
        explain(error, &format!("the server took no more input for {patience:?}"))
    })
}

fn wait_until_stuck(written: &AtomicUsize, all: usize) {
    let mut last = written.load(Relaxed);
    while wait_until(FULL_AFTER, || written.load(Relaxed) != last) && last != all {
        last = written.load(Relaxed);
    }
}

fn compare(came: &[u8], expected: &[u8], position: usize) -> anyhow::Result<()> {
    if came == expected {
        return Ok(());
    }
    let same = came.iter().zip(expected).take_while(|(a, b)| a == b).count();
    bail!(
        "byte {} came back as {:#04x} where {:#04x} was sent",
        position + same,
        came[same],
        expected[same]
    )
}

/// With a time-out the kernel gives up at every interruption: this starts again. That may
/// come from this process itself, when an io_uring that it had is taken apart.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Puts an error of the socket into words; a time-out is EAGAIN, which says nothing.
fn explain(error: io::Error, stalled: &str) -> anyhow::Error {
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
    use std::net::TcpListener;

    /// A client whose server does what `serve` does with the one connection.
    fn client_of(serve: impl FnOnce(TcpStream) + Send + 'static) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(listener.accept().unwrap().0));
        Client::connect_within(address, Duration::from_millis(500)).unwrap()
    }

    fn evidence(result: anyhow::Result<()>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn noise_holds_every_value_and_differs_from_seed_to_seed() {
        let bytes = noise(1, 65_536);
        assert_eq!(bytes.len(), 65_536);
        assert!((0..=255).all(|value| bytes.contains(&value)));
        assert_ne!(noise(2, 100), bytes[..100]);
    }

    #[test]
    fn a_wrong_byte_is_named() {
        let mut client = client_of(|mut stream| stream.write_all(b"abXd").unwrap());
        let said = evidence(client.receive(b"abcd"));
        assert_eq!(said, "byte 2 came back as 0x58 where 0x63 was sent");
    }

    #[test]
    fn an_early_end_and_a_stall_say_what_was_due() {
        let mut client = client_of(|mut stream| stream.write_all(b"ab").unwrap());
        let said = evidence(client.receive(b"abcd"));
        assert!(
            said.contains("closed") && said.contains("2 of 4") && said.contains("0x63"),
            "{said}"
        );

        let mut client = client_of(|mut stream| {
            stream.write_all(b"ab").unwrap();
            let _ = stream.read(&mut [0; 1]);
        });
        let said = evidence(client.receive(b"abcd"));
        assert!(
            said.contains("nothing came back for 500ms") && said.contains("2 of 4"),
            "{said}"
        );
    }

    #[test]
    fn more_than_was_sent_is_noticed() {
        let mut client = client_of(|mut stream| stream.write_all(b"abc").unwrap());
        assert!(evidence(client.finish(b"ab")).contains("more came back"));
    }

    #[test]
    fn a_message_larger_than_all_buffers_is_exchanged_without_a_deadlock() {
        let mut client = client_of(|stream| {
            io::copy(&mut &stream, &mut &stream).unwrap();
        });
        let message = noise(3, 24 << 20);
        client.converse(&message, 64 * 1024, Reading::Late).unwrap();
        assert_eq!(client.received(), message.len());
    }

    #[test]
    fn filling_stops_when_nobody_reads() {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let client = client_of(move |_stream| {
            let _ = wait.recv();
        });
        let message = noise(4, 64 << 20);
        let sent = client.fill(&message).unwrap();
        assert!(sent > 0 && sent < message.len(), "{sent}");
        drop(done);
    }
}
