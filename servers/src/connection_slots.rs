//! `--max-connections` for worker processes: one slot in shared memory per permitted
//! connection.
//!
//! A plain counter would stay too high after a worker is killed. A slot holds the number of
//! its worker, written in one atomic operation, so the parent can free it whenever the
//! worker dies.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use crate::listener::Listener;
use crate::sys::shared;

const FREE: u32 = 0;

/// The connection slots of a server whose workers are processes.
#[derive(Debug, Clone, Copy)]
pub struct Slots(&'static [AtomicU32]);

impl Slots {
    /// As many slots as the listener permits; none if this number of `workers` cannot
    /// reach the limit.
    pub fn new(listener: &Listener, workers: usize) -> io::Result<Self> {
        let count = listener.max_connections().filter(|&max| max < workers);
        shared::numbers(count.unwrap_or(0)).map(Slots)
    }

    /// Takes a slot for a worker; `None` if all [`Slots::count`] are taken.
    pub fn take(&self, worker: usize) -> Option<Slot<'_>> {
        let take = |slot: &&AtomicU32| slot.compare_exchange(FREE, owner(worker), SeqCst, SeqCst).is_ok();
        self.0.iter().find(take).map(Slot)
    }

    /// The number of slots.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Frees the slots of a worker that has died.
    pub fn free(&self, worker: usize) {
        for slot in self.0 {
            // Fails on a slot with another owner.
            let _ = slot.compare_exchange(owner(worker), FREE, SeqCst, SeqCst);
        }
    }
}

/// A taken slot; dropping it frees the slot.
#[derive(Debug)]
pub struct Slot<'a>(&'a AtomicU32);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.store(FREE, SeqCst);
    }
}

fn owner(worker: usize) -> u32 {
    worker as u32 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_one_owner_and_is_free_after_a_drop_or_the_death_of_its_worker() {
        let slots = Slots(shared::numbers(2).unwrap());
        let first = slots.take(0);
        let second = slots.take(1);
        assert!(first.is_some() && second.is_some() && slots.take(2).is_none());
        drop(first);
        assert!(slots.take(2).is_some(), "the dropped slot is free");
        std::mem::forget(slots.take(3));
        slots.free(0);
        assert!(slots.take(2).is_none(), "live workers keep their slots");
        slots.free(3);
        assert!(slots.take(2).is_some(), "the slot of the dead worker is free");
    }
}
