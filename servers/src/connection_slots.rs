//! `--max-connections` over processes: a seat, in memory that all share, for each
//! connection that is allowed.
//!
//! Not a counter: what a worker has added that is then killed nobody would subtract. A
//! seat holds the number of the worker that took it, in one atomic operation, so that
//! its parent finds it at whatever moment the worker died.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use crate::listener::Listener;
use crate::sys::shared;

const FREE: u32 = 0;

/// The seats of a server whose workers are processes.
#[derive(Debug, Clone, Copy)]
pub struct Seats(&'static [AtomicU32]);

impl Seats {
    /// The seats that the limit of `listener` allows; none where so many `workers`
    /// cannot reach it.
    pub fn new(listener: &Listener, workers: usize) -> io::Result<Self> {
        let most = listener.max_connections().filter(|&most| most < workers);
        shared::numbers(most.unwrap_or(0)).map(Seats)
    }

    /// Takes a seat until what is returned is dropped; `None` where none is free, and
    /// [`Seats::count`] are taken.
    pub fn take(&self, worker: usize) -> Option<Seat<'_>> {
        let is_taken = |seat: &&AtomicU32| seat.compare_exchange(FREE, mark(worker), SeqCst, SeqCst).is_ok();
        self.0.iter().find(is_taken).map(Seat)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Frees what a worker has left behind that is dead.
    pub fn free(&self, worker: usize) {
        for seat in self.0 {
            // Any other value is another worker's.
            let _ = seat.compare_exchange(mark(worker), FREE, SeqCst, SeqCst);
        }
    }
}

/// A seat is taken until this is dropped.
#[derive(Debug)]
pub struct Seat<'a>(&'a AtomicU32);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.store(FREE, SeqCst);
    }
}

fn mark(worker: usize) -> u32 {
    worker as u32 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_taken_once_and_free_again_when_its_worker_has_left_or_died() {
        let seats = Seats(shared::numbers(2).unwrap());
        let first = seats.take(0);
        let second = seats.take(1);
        assert!(first.is_some() && second.is_some() && seats.take(2).is_none());
        drop(first);
        assert!(seats.take(2).is_some(), "the seat of one that left");
        std::mem::forget(seats.take(3));
        seats.free(0);
        assert!(seats.take(2).is_none(), "the seats of the living stay taken");
        seats.free(3);
        assert!(seats.take(2).is_some(), "the seat of one that died");
    }
}
