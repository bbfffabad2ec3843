//! Clients that keep echoing while something happens to their server.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::{panic, thread};

use anyhow::Context;

use super::client::Client;
use super::payload::noise;

/// Echoes messages of that size on each client while `body` runs, and one more afterwards.
/// Returns the number of echoes.
pub fn while_echoing(
    clients: &mut [Client],
    message_bytes: usize,
    body: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let is_over = AtomicBool::new(false);
    let echo = |number: usize, client: &mut Client| -> anyhow::Result<usize> {
        let message = noise(number as u64, message_bytes);
        let mut echoes = 0;
        let mut is_last = false;
        while !is_last {
            is_last = is_over.load(SeqCst);
            client.echo(&message).with_context(|| {
                format!(
                    "client {} of the background load, after {echoes} echoes",
                    number + 1
                )
            })?;
            echoes += 1;
        }
        Ok(echoes)
    };
    thread::scope(|scope| {
        let echo = &echo;
        let start = |(number, client)| scope.spawn(move || echo(number, client));
        let threads: Vec<_> = clients.iter_mut().enumerate().map(start).collect();
        let over = SetOnDrop(&is_over);
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

/// Sets a flag on drop, so that a panic also ends the threads that wait for it.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
