//! The bug: one `waitpid` for each SIGCHLD. Signals merge, and the other children stay zombies.

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use servers::sys::process::{self, Forked};
use servers::sys::signal;
use servers::work::Work;
use servers::{conn, stop};

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "one_wait",
    serve,
    fails: "C6",
    evidence: "had not released everything: zombies:",
};

const ANY: Pid = Pid::from_raw(-1);

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    signal::catch(Signal::SIGCHLD as i32, collect_one)?;
    listener.announce()?;
    while let Some(stream) = listener.accept()? {
        if process::fork()? == Forked::Child {
            drop(listener);
            stop::leave_to_parent()?;
            conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None);
            process::exit_now(0);
        }
    }
    while waitpid(ANY, None) != Err(Errno::ECHILD) {}
    Ok(())
}

extern "C" fn collect_one(_: i32) {
    signal::preserving_errno(|| {
        let _ = waitpid(ANY, Some(WaitPidFlag::WNOHANG));
    });
}
