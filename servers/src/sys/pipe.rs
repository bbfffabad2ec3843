//! Pipes that move data between sockets inside the kernel: `splice(2)`, `F_SETPIPE_SZ`.

use std::io::{self, ErrorKind, PipeReader, PipeWriter};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};

/// A pipe with both ends in this process.
#[derive(Debug)]
pub struct Pipe {
    output: PipeReader,
    input: PipeWriter,
}

impl Pipe {
    /// A pipe with this capacity in bytes; the kernel rounds up to a page times a power of
    /// two. The pipe keeps its default size if the limits for unprivileged users
    /// (/proc/sys/fs/pipe-max-size and related files) forbid a larger one.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let (output, input) = io::pipe()?;
        let size = bytes.try_into().unwrap_or(libc::c_int::MAX);
        match fcntl(&input, FcntlArg::F_SETPIPE_SZ(size)) {
            Ok(_) | Err(Errno::EPERM) => Ok(Pipe { output, input }),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for input and moves up to `max` bytes from a socket into the empty pipe; 0 is
    /// the end of input.
    pub fn fill(&self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        transfer(&socket, &self.input, most)
    }

    /// Moves all `length` bytes of the pipe to a socket.
    pub fn empty(&self, socket: impl AsFd, mut length: usize) -> io::Result<()> {
        while length > 0 {
            match transfer(&self.output, &socket, length)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                moved => length -= moved,
            }
        }
        Ok(())
    }
}

/// Without flags: SPLICE_F_MOVE has had no effect since Linux 2.6.21, and SPLICE_F_MORE
/// would delay small messages.
fn transfer(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    loop {
        match splice(&from, None, &to, None, most, SpliceFFlags::empty()) {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_fill_takes_at_most_the_maximum_and_reports_the_end_of_input() {
        let (mut client, server) = pair();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let pipe = Pipe::new(1).unwrap();
        let mut moved = Vec::new();
        loop {
            match pipe.fill(&server, 2).unwrap() {
                0 => break,
                length => moved.push(length),
            }
            pipe.empty(&server, moved[moved.len() - 1]).unwrap();
        }
        drop(server);
        let mut back = String::new();
        client.read_to_string(&mut back).unwrap();
        assert_eq!((back.as_str(), moved), ("hello", vec![2, 2, 1]));
    }

    #[test]
    fn the_size_of_a_pipe_is_rounded_up_to_pages() {
        let room = |bytes| fcntl(&Pipe::new(bytes).unwrap().input, FcntlArg::F_GETPIPE_SZ).unwrap();
        let page = room(1);
        assert_eq!(room(page as usize + 1), 2 * page);
    }

    #[test]
    fn a_closed_connection_is_a_broken_pipe() {
        let (client, server) = pair();
        let pipe = Pipe::new(4096).unwrap();
        (&client).write_all(&[7; 100]).unwrap();
        let length = pipe.fill(&server, 4096).unwrap();
        server.shutdown(Shutdown::Both).unwrap();
        assert_eq!(
            pipe.empty(&server, length).unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    }
}
