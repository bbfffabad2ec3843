//! Provided buffers of an io_uring: the kernel picks one when data has arrived, so ten thousand
//! waiting connections need no memory (`IORING_REGISTER_PBUF_RING`).

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::Release};

use io_uring::IoUring;

/// An engine has one group of buffers.
pub const GROUP: u16 = 0;

/// The kernel accepts powers of two up to this.
const MOST: usize = 32 * 1024;

/// The buffers, and the queue that hands them to the kernel.
///
/// An entry of the queue is two words: the address; and the length, the number in bits 32
/// to 47. Bits 48 to 63 of the first entry's second word are the tail of the queue.
pub struct Pool {
    /// Bytes in a buffer.
    size: usize,
    count: usize,
    memory: Box<[u8]>,
    queue: Box<[Page]>,
    tail: u16,
}

/// The kernel requires the queue to begin at a page.
#[repr(align(4096))]
struct Page([AtomicU64; WORDS]);

const WORDS: usize = 4096 / size_of::<AtomicU64>();

impl Pool {
    /// At least `count` buffers of `size` bytes each, all of them handed to the kernel.
    pub fn new(ring: &IoUring, count: usize, size: usize) -> io::Result<Self> {
        let count = count.next_power_of_two().min(MOST);
        let page = || Page(std::array::from_fn(|_| AtomicU64::new(0)));
        let mut pool = Pool {
            size,
            count,
            memory: vec![0; count * size].into(),
            queue: std::iter::repeat_with(page)
                .take((2 * count).div_ceil(WORDS))
                .collect(),
            tail: 0,
        };
        let start = pool.queue.as_ptr() as u64;
        // SAFETY: the queue begins at a page, has two words for each of `count` entries, and
        // is freed in `close` at the earliest.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(start, count as u16, GROUP, 0)
        }?;
        for number in 0..count {
            pool.give_back(number as u16);
        }
        Ok(pool)
    }

    /// Hands a buffer to the kernel, for the first time or again.
    pub fn give_back(&mut self, number: u16) {
        let at = usize::from(self.tail) % self.count;
        let address = self.memory.as_ptr().wrapping_add(usize::from(number) * self.size);
        let description = self.size as u64 | u64::from(number) << 32;
        self.tail = self.tail.wrapping_add(1);
        self.word(2 * at).store(address as u64, Relaxed);
        let first = match at {
            0 => description,
            _ => {
                self.word(2 * at + 1).store(description, Relaxed);
                self.word(1).load(Relaxed) & (u64::MAX >> 16)
            }
        };
        self.word(1).store(first | u64::from(self.tail) << 48, Release);
    }

    /// What the kernel has put into a buffer.
    pub fn filled(&self, number: u16, length: usize) -> &[u8] {
        let offset = usize::from(number) * self.size;
        assert!(
            offset + length <= self.memory.len(),
            "the kernel fills its buffers only"
        );
        let start = self.memory.as_ptr().wrapping_add(offset);
        // SAFETY: these bytes are within the memory, and the kernel does not write them before
        // the buffer is given back, which needs a `&mut self`.
        unsafe { std::slice::from_raw_parts(start, length) }
    }

    /// Takes the buffers back from the kernel. If it refuses, they are leaked.
    pub fn close(&mut self, ring: &IoUring) {
        if ring.submitter().unregister_buf_ring(GROUP).is_err() {
            std::mem::forget(std::mem::take(&mut self.memory));
            std::mem::forget(std::mem::take(&mut self.queue));
        }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.queue[at / WORDS].0[at % WORDS]
    }
}
