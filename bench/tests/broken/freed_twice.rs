//! The bug: after an error a buffer is freed twice, so that two later connections share it. It
//! shows when both send at the same moment.

use std::io;
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Broken, slots, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "freed_twice",
    serve: |options| thread_per_client(options, echo),
    fails: "C29",
    evidence: "came back as",
};

/// Freed slots, and the number of slots ever allocated.
static FREE: Mutex<(Vec<usize>, usize)> = Mutex::new((Vec::new(), 0));

fn echo(stream: &TcpStream) -> io::Result<()> {
    let slot = take();
    let echoed = slots::echo(stream, slot);
    if echoed.is_err() {
        free().0.push(slot);
    }
    free().0.push(slot);
    echoed
}

fn take() -> usize {
    let mut free = free();
    let (given_back, new) = &mut *free;
    given_back.pop().unwrap_or_else(|| {
        *new += 1;
        *new - 1
    })
}

fn free() -> MutexGuard<'static, (Vec<usize>, usize)> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}
