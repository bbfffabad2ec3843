//! A latch: opens when it has been counted down, and stays open.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Holds up whoever waits until so many have arrived.
#[derive(Debug)]
pub struct Latch {
    missing: Mutex<usize>,
    opened: Condvar,
}

impl Latch {
    /// A latch that opens with the last of `arrivals`.
    pub fn new(arrivals: usize) -> Self {
        Latch {
            missing: Mutex::new(arrivals),
            opened: Condvar::new(),
        }
    }

    /// Counts one down, and waits for nobody.
    pub fn arrive(&self) {
        let mut missing = self.lock();
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            self.opened.notify_all();
        }
    }

    /// Waits until it is open.
    pub fn wait(&self) {
        let open = self.opened.wait_while(self.lock(), |missing| *missing > 0);
        drop(open.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Arrives at a latch when it is dropped, so also when its owner fails or panics.
#[derive(Debug)]
pub struct Arrival<'a>(pub &'a Latch);

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.0.arrive();
    }
}
