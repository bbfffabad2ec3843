//! Messages of a server.

/// Prints a line on standard error. If that is closed or full nothing happens, where `eprintln!`
/// panics: no message may end a server.
macro_rules! complain {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}
