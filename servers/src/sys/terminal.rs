//! The keyboard: `q` and Enter on a terminal stop the server as a signal does.
//!
//! Signal-driven, because the models that fork must not have a thread for it.

use std::io::{self, IsTerminal};
use std::os::fd::AsRawFd;

use nix::unistd::{getpgrp, getpid, tcgetpgrp};

use super::{check, signal};

/// Asks for SIGIO when a line is typed, if standard input is a terminal.
pub fn stop_on_q() -> io::Result<()> {
    let keyboard = io::stdin();
    if !keyboard.is_terminal() {
        return Ok(());
    }
    signal::catch(libc::SIGIO, on_input)?;
    let fd = keyboard.as_raw_fd();
    // SAFETY: F_SETOWN takes a process id.
    check(unsafe { libc::fcntl(fd, libc::F_SETOWN, getpid().as_raw()) })?;
    // SAFETY: F_GETFL takes nothing.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: F_SETFL takes flags; O_ASYNC is one that may be changed.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_ASYNC) })?;
    Ok(())
}

/// Runs as a signal handler: system calls only.
extern "C" fn on_input(_: i32) {
    signal::preserving_errno(|| {
        let keyboard = io::stdin();
        // In the background a read would stop the whole process with SIGTTIN.
        if !is_readable(keyboard.as_raw_fd()) || tcgetpgrp(&keyboard) != Ok(getpgrp()) {
            return;
        }
        let mut line = [0u8; 64];
        let length = nix::unistd::read(&keyboard, &mut line).unwrap_or(0);
        if line[..length].trim_ascii().eq_ignore_ascii_case(b"q") {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM);
        }
    });
}

fn is_readable(fd: i32) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry that lives across the call.
    unsafe { libc::poll(&mut poll, 1, 0) == 1 }
}
