//! The descriptors of a process and what they refer to.

use std::fs;
use std::os::fd::RawFd;

use nix::unistd::Pid;
use procfs::process::{FDInfo, FDTarget, Process};

/// The numbers of a process's descriptors; empty if it does not exist or access is denied.
///
/// Reads the names only, as the conformance cases poll servers with thousands of descriptors;
/// `procfs` opens each one.
pub fn descriptors(pid: Pid) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let names = entries.map_while(Result::ok).map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

/// The inodes of a process's sockets; empty if it does not exist or access is denied.
pub fn sockets(pid: Pid) -> Vec<u64> {
    open_sockets(pid).map(|(_, inode)| inode).collect()
}

/// The descriptors of a process's sockets.
pub fn socket_descriptors(pid: Pid) -> Vec<RawFd> {
    open_sockets(pid).map(|(descriptor, _)| descriptor).collect()
}

/// Whether a process has an io_uring; false if access is denied.
pub fn has_ring(pid: Pid) -> bool {
    targets(pid).any(|file| matches!(file.target, FDTarget::AnonInode(name) if name == "[io_uring]"))
}

fn open_sockets(pid: Pid) -> impl Iterator<Item = (RawFd, u64)> {
    targets(pid).filter_map(|file| match file.target {
        FDTarget::Socket(inode) => Some((file.fd, inode)),
        _ => None,
    })
}

fn targets(pid: Pid) -> impl Iterator<Item = FDInfo> {
    let files = Process::new(pid.as_raw()).and_then(|process| process.fd());
    files.into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    #[test]
    fn an_open_socket_is_listed_as_a_descriptor_and_as_a_socket() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let this = Pid::this();
        assert!(descriptors(this).contains(&(socket.as_raw_fd() as u64)));
        assert!(socket_descriptors(this).contains(&socket.as_raw_fd()));
        assert_eq!(sockets(this).len(), socket_descriptors(this).len());
        assert!(!has_ring(this));
    }
}
