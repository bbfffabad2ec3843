//! Memory that forked children share with their parent: `mmap(2)` with MAP_SHARED.
//!
//! It is never unmapped, since its users need it until the process ends.

use std::ffi::c_void;
use std::io;
use std::num::NonZero;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU32;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// An array of this length, filled with 0.
pub fn numbers(count: usize) -> io::Result<&'static [AtomicU32]> {
    let start = zeroes(count * size_of::<AtomicU32>())?;
    // SAFETY: the memory has this length, is page-aligned, zeroed (a valid value), mapped for
    // ever, and accessed by atomic operations only.
    Ok(unsafe { slice::from_raw_parts(start.cast().as_ptr(), count) })
}

/// This number of zero bytes, page-aligned.
pub(super) fn zeroes(bytes: usize) -> io::Result<NonNull<c_void>> {
    let bytes = NonZero::new(bytes).unwrap_or(NonZero::<usize>::MIN);
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel picks the address, so the mapping replaces no other memory.
    Ok(unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) }?)
}
