//! The terminal: `q` and Enter stop the server like a signal.
//!
//! Signal-driven, because models that fork must not start a thread for it.

use std::io::{self, IsTerminal};
use std::os::fd::AsRawFd;

use nix::unistd::{getpgrp, tcgetpgrp};

use super::{sigio, signal};

/// Requests SIGIO for terminal input, if standard input is a terminal.
pub fn stop_on_q() -> io::Result<()> {
    let keyboard = io::stdin();
    if !keyboard.is_terminal() {
        return Ok(());
    }
    signal::catch(libc::SIGIO, on_input)?;
    sigio::arm(&keyboard)
}

/// Signal handler: makes system calls only.
extern "C" fn on_input(_: i32) {
    look();
}

/// Handles a SIGIO, for code that receives that signal itself; does nothing without a
/// terminal.
pub fn look() {
    signal::preserving_errno(|| {
        let keyboard = io::stdin();
        let mut line = [0u8; 64];
        // Reads all lines, since signals merge. Not in the background, where a read would
        // stop the whole process with SIGTTIN.
        while is_readable(keyboard.as_raw_fd()) && tcgetpgrp(&keyboard) == Ok(getpgrp()) {
            let length = nix::unistd::read(&keyboard, &mut line).unwrap_or(0);
            if length == 0 {
                return;
            }
            if line[..length].trim_ascii().eq_ignore_ascii_case(b"q") {
                let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM);
                return;
            }
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
