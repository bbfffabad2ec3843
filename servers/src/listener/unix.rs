//! Unix sockets: creates the file, replaces one that a dead server has left, and removes it.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, anyhow, bail, ensure};
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

/// Only the user of the server, and root, may connect.
const OWNER_ONLY: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// Binds a Unix socket and listens. The file must outlive no listener of the socket.
///
/// The type is that of a TCP listener, which only owns the descriptor here: accepting, reading
/// and writing are the same calls.
pub(super) fn bind(path: &Path, backlog: i32) -> anyhow::Result<(TcpListener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux creates the file with the mode of the socket: at no time may others connect.
    fchmod(&socket, OWNER_ONLY)?;
    let address = SockAddr::unix(path)?;
    let bound = match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_stale(path)?;
            socket.bind(&address)
        }
        bound => bound,
    };
    bound.map_err(|error| explain(path, &error))?;
    let file = SocketFile::of(path)?;
    socket
        .listen(backlog)
        .with_context(|| format!("cannot listen on unix:{}", path.display()))?;
    Ok((socket.into(), file))
}

/// Removes the file of a socket on which nobody listens; any other file is an error.
///
/// Of two servers that start at the same moment both may find it stale. Then one of them ends up
/// with a socket that has no file, and removes none.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.with_context(|| format!("cannot look at {shown}"))?,
    };
    ensure!(
        found.file_type().is_socket(),
        "{shown} exists and is not a socket: remove it yourself, or choose another path for --listen"
    );
    let Err(error) = connect(path) else {
        return Err(in_use(path));
    };
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ENOENT) => {}
        // A full backlog, or a socket of another type, has a server too.
        Some(libc::EAGAIN | libc::EPROTOTYPE) => return Err(in_use(path)),
        _ => bail!(
            "cannot find out whether a server listens on unix:{shown}: {error}: choose another path for --listen"
        ),
    }
    complain!("echo-server: nobody listens on unix:{shown}: the file is replaced");
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {shown}, on which nobody listens"))
        }
        _ => Ok(()),
    }
}

fn connect(path: &Path) -> io::Result<()> {
    // Nonblocking: otherwise it would wait while the backlog of a server is full.
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)
}

fn in_use(path: &Path) -> anyhow::Error {
    anyhow!(
        "unix:{} is in use: stop the server that listens there, or choose another path for --listen",
        path.display()
    )
}

fn explain(path: &Path, error: &io::Error) -> anyhow::Error {
    let shown = path.display();
    match error.kind() {
        // Another server was faster.
        ErrorKind::AddrInUse => in_use(path),
        ErrorKind::NotFound => {
            anyhow!("the folder of {shown} does not exist: create it, or choose another path for --listen")
        }
        ErrorKind::PermissionDenied => {
            anyhow!("no permission to create {shown}: choose a path for --listen in a folder of your own")
        }
        _ => anyhow!("cannot bind unix:{shown}: {error}"),
    }
}

/// The file of a bound socket, removed when this is dropped.
///
/// The socket must be open until then: it keeps the inode, whose number no other file gets.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
    /// The process that has bound it. Its children only use it.
    owner: u32,
}

impl SocketFile {
    fn of(path: &Path) -> anyhow::Result<Self> {
        Ok(SocketFile {
            inode: inode(path).with_context(|| format!("cannot look at {}", path.display()))?,
            path: path.into(),
            owner: process::id(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have replaced it.
        let is_own = process::id() == self.owner && inode(&self.path).is_ok_and(|found| found == self.inode);
        if is_own && let Err(error) = fs::remove_file(&self.path) {
            complain!("echo-server: cannot remove {}: {error}", self.path.display());
        }
    }
}

/// The device and the number.
fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
