//! Output of other processes, in memory: nothing stays on disk, however the harness ends.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::server;

/// A file without a name.
#[derive(Debug)]
pub(super) struct Log(OwnedFd);

impl Log {
    /// An empty file.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Log(memfd_create("log", MFdFlags::MFD_CLOEXEC)?))
    }

    /// Its path in this process.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// Its path in a child of this process.
    pub(super) fn path_for_others(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd()).into()
    }

    /// A handle for the standard error of a child.
    pub(super) fn file(&self) -> io::Result<File> {
        Ok(self.0.try_clone()?.into())
    }

    /// Its whole content.
    pub(super) fn text(&self) -> String {
        let bytes = std::fs::read(self.path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its end, to append to a sentence; empty if the log is empty.
    pub(super) fn quoted(&self) -> String {
        match server::stderr_tail(&self.path()).trim_end() {
            "" => String::new(),
            text => format!("; standard error: {text}"),
        }
    }
}
