//! Ctrl-C: the first one ends the run early and keeps what was measured, the second ends the
//! process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of a run that was ended early, as shells report a Ctrl-C.
pub const EXIT_CODE: u8 = 130;

/// A flag that the first SIGINT or SIGTERM raises.
pub fn flag() -> io::Result<Arc<AtomicBool>> {
    let raised = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag down, then raises it.
        flag::register_conditional_shutdown(signal, EXIT_CODE.into(), Arc::clone(&raised))?;
        flag::register(signal, Arc::clone(&raised))?;
    }
    Ok(raised)
}
