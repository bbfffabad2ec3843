//! Clients that go on while something happens to their server.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::{panic, thread};

use anyhow::Context;

use super::client::{Client, noise};

/// Lets each client echo messages of so many bytes while `body` runs, and once more after
/// that. Returns how many echoes there were.
pub fn while_echoing(
    clients: &mut [Client],
    message_bytes: usize,
    body: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let is_over = AtomicBool::new(false);
    let go_on = |number: usize, client: &mut Client| -> anyhow::Result<usize> {
        let message = noise(number as u64, message_bytes);
        let mut echoes = 0;
        let mut is_last = false;
        while !is_last {
            is_last = is_over.load(SeqCst);
            client.echo(&message).with_context(|| {
                let number = number + 1;
                format!("client {number}, which went on all the while, after {echoes} echoes")
            })?;
            echoes += 1;
        }
        Ok(echoes)
    };
    thread::scope(|scope| {
        let go_on = &go_on;
        let start = |(number, client)| scope.spawn(move || go_on(number, client));
        let threads: Vec<_> = clients.iter_mut().enumerate().map(start).collect();
        let over = RaisedAtEnd(&is_over);
        let result = body();
        drop(over);
        let mut echoes = 0;
        for thread in threads {
            echoes += thread
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))?;
        }
        result.map(|()| echoes)
    })
}

/// Raises a flag when it is dropped, so that who waits for it is freed by a panic as well.
pub struct RaisedAtEnd<'a>(pub &'a AtomicBool);

impl Drop for RaisedAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
