//! Memory that forked children share with their parent: `mmap(2)` with MAP_SHARED.
//!
//! It is never unmapped: whoever asks for it needs it until the process ends.

use std::ffi::c_void;
use std::io;
use std::num::NonZero;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU32;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// So many numbers, all of them 0.
pub fn numbers(count: usize) -> io::Result<&'static [AtomicU32]> {
    let start = zeroes(count * size_of::<AtomicU32>())?;
    // SAFETY: the memory is as long as that, on a page boundary, zero, which is a valid
    // number, mapped for ever, and touched by atomic operations alone.
    Ok(unsafe { slice::from_raw_parts(start.cast().as_ptr(), count) })
}

/// So many bytes, all of them 0, on a page boundary.
pub(super) fn zeroes(bytes: usize) -> io::Result<NonNull<c_void>> {
    let bytes = NonZero::new(bytes).unwrap_or(NonZero::<usize>::MIN);
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel picks the place, so no other memory is touched.
    Ok(unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) }?)
}
