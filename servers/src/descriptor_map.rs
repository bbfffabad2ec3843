//! A map keyed by descriptor.

use std::os::fd::RawFd;

/// A map from descriptors to values, stored as a table.
///
/// The kernel always hands out the lowest free number, so the table stays as small as
/// the number of connections.
#[derive(Debug)]
pub struct DescriptorMap<T> {
    entries: Vec<Option<T>>,
    count: usize,
}

impl<T> Default for DescriptorMap<T> {
    fn default() -> Self {
        DescriptorMap {
            entries: Vec::new(),
            count: 0,
        }
    }
}

impl<T> DescriptorMap<T> {
    /// Stores the value of a descriptor, in place of an earlier one.
    pub fn insert(&mut self, fd: RawFd, value: T) {
        let at = fd as usize;
        if self.entries.len() <= at {
            self.entries.resize_with(at + 1, || None);
        }
        if self.entries[at].replace(value).is_none() {
            self.count += 1;
        }
    }

    /// The value of a descriptor.
    pub fn find(&mut self, fd: RawFd) -> Option<&mut T> {
        self.entries.get_mut(fd as usize)?.as_mut()
    }

    /// Removes the value of a descriptor.
    pub fn remove(&mut self, fd: RawFd) -> Option<T> {
        let value = self.entries.get_mut(fd as usize)?.take();
        self.count -= usize::from(value.is_some());
        value
    }

    /// The number of values.
    pub fn count(&self) -> usize {
        self.count
    }

    /// An upper bound of the descriptors; negative if there never was one.
    pub fn highest(&self) -> RawFd {
        self.entries.len() as RawFd - 1
    }

    /// All values with their descriptors, in ascending order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (RawFd, &mut T)> {
        let entries = self.entries.iter_mut().enumerate();
        entries.filter_map(|(at, entry)| Some((at as RawFd, entry.as_mut()?)))
    }
}
