//! What a panic does: it ends the server.
//!
//! By default only its thread ends, or the task in which a runtime catches it. The server would go on
//! without it: deaf on one of its listeners, or waiting for ever for what that thread owes it.

use std::panic;

use crate::sys::process;

/// Makes a panic in any thread end the process with status 1, once its message is on standard error.
pub fn end_the_process() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        report(panicked);
        complain!("echo-server: the server ends because of this panic");
        process::exit_now(1);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::{env, thread};

    /// Makes this test binary the process that panics.
    const VARIABLE: &str = "SERVERS_TEST_PANICS";

    #[test]
    fn a_panic_in_any_thread_ends_the_process() {
        if env::var_os(VARIABLE).is_some() {
            end_the_process();
            let _ = thread::spawn(|| panic!("on purpose")).join();
            loop {
                thread::park();
            }
        }
        let name = "panics::tests::a_panic_in_any_thread_ends_the_process";
        let output = Command::new(env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(VARIABLE, "")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            message.contains("on purpose") && message.contains("the server ends"),
            "{message}"
        );
    }
}
