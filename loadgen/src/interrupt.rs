//! Ctrl-C, and a terminal that is closed: the first one ends the run early and keeps what was
//! measured, the second ends the process at once.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of a run that was ended early, as shells report a Ctrl-C.
pub const EXIT_CODE: u8 = 130;

/// A flag that the first SIGINT, SIGTERM or SIGHUP raises. SIGHUP stays ignored if it is, as under
/// `nohup`.
pub fn flag() -> io::Result<Arc<AtomicBool>> {
    let raised = Arc::new(AtomicBool::new(false));
    let mut signals = vec![SIGINT, SIGTERM];
    if !ignores_hangups() {
        signals.push(SIGHUP);
    }
    for signal in signals {
        // In this order: the first signal finds the flag down, then raises it.
        flag::register_conditional_shutdown(signal, EXIT_CODE.into(), Arc::clone(&raised))?;
        flag::register(signal, Arc::clone(&raised))?;
    }
    Ok(raised)
}

/// Bit 0 of the mask is the first signal, SIGHUP.
fn ignores_hangups() -> bool {
    // It has the name of the program, whose bytes need not be UTF-8.
    let status = fs::read("/proc/self/status").unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1))
}
