//! The bug: the server looks only at descriptors that a queued signal names. When the queue
//! overflows, a plain SIGIO stands for the others, which the server ignores.

use std::os::fd::{AsFd, AsRawFd};

use servers::readiness;
use servers::ready_queue::{ReadUntil, ReadyQueue};
use servers::sys::sigio::{self, Event, Signals};
use servers::work::Work;

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "queue_only",
    serve,
    fails: "C21",
    evidence: "nothing came back for 10s",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    listener.set_nonblocking()?;
    let mut signals = Signals::take_over()?;
    sigio::arm_queued(&listener)?;
    listener.announce()?;
    let (mut ready, mut scratch) = (ReadyQueue::default(), vec![0; 4096]);
    loop {
        for event in signals.wait(None)? {
            match event {
                Event::Ready(fd) if fd == listener.as_fd().as_raw_fd() => {
                    readiness::accept_all(&listener, |stream| {
                        let fd = stream.as_raw_fd();
                        if sigio::arm_queued(&stream).is_ok() {
                            ready.insert(stream);
                            ready.push(fd, ReadUntil::WouldBlock);
                        }
                    })?;
                }
                Event::Ready(fd) => ready.push(fd, ReadUntil::ShortRead),
                Event::Unknown => {}
            }
        }
        while !ready.is_idle() {
            ready.serve_round(&mut scratch, Work::None);
        }
    }
}
