//! C19: descriptors above FD_SETSIZE.
//!
//! A server is started twice: once with some descriptors free below, so that it can do nothing
//! about the high ones before they come, and once with none, so that processes with
//! one connection each have high ones too.

use anyhow::{Context, bail, ensure};
use servers::by_design::Kind;
use servers::listener::Transport;

use super::client::{Client, noise};
use super::{Case, Running};
use crate::server::ServerError;
use crate::server::conditions::Conditions;

pub const CASE: Case = Case::new(
    "C19",
    "high descriptors",
    "With descriptors of 1024 and more, is the echo exact or the client cleanly refused?",
    drive,
)
.room(CLIENTS)
.conditions(Conditions {
    taken_descriptors: Some((SOME_FREE, LAST_TAKEN)),
    ..Conditions::NONE
})
.over_datagrams(drive);

/// More than find room below; not many more, since a process for each has a thousand descriptors.
const CLIENTS: usize = 50;

/// FD_SETSIZE: the first descriptor that `select` has no bit for.
const HIGH: i32 = 1024;

/// Below this one there is room for what a server opens for itself, and for some connections.
const SOME_FREE: i32 = 32;

/// Standard input, output and error are there anyway.
const NONE_FREE: i32 = 3;

const LAST_TAKEN: i32 = HIGH - 1;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let only_low = running.kinds().contains(&Kind::LowDescriptors);
    let (crowd, refused) = enter(running, only_low)?;
    let (_, high) = running.sockets_from(HIGH)?;
    // Of a server that is one process, else each may have a few; and datagrams need one.
    let has_all = running.kinds().contains(&Kind::OneProcess) && running.transport() == Transport::Stream;
    ensure!(
        high > 0 || refused > 0 || !has_all || running.served_of(CLIENTS) < CLIENTS,
        "it served {} clients at once, and had no socket from {HIGH} on",
        crowd.len()
    );
    ensure!(
        refused > 0 || !only_low,
        "nobody was refused, although it is said to serve low descriptors alone"
    );
    running.saw(format!(
        "{high} sockets from {HIGH} on beside low ones, {refused} clients refused"
    ));
    drop(crowd);
    running.settle()?;
    running.terminate()?;
    running.expect_clean_exit()?;

    let conditions = Conditions {
        taken_descriptors: Some((NONE_FREE, LAST_TAKEN)),
        ..Conditions::NONE
    };
    match running.start_again_under(conditions) {
        Err(error) if only_low => return refuses_to_start(running, error),
        started => started.context("with all low descriptors taken")?,
    }
    let crowd = running.crowd(CLIENTS)?;
    let (all, high) = running.sockets_from(HIGH)?;
    ensure!(high == all, "{} of {all} sockets were below {HIGH}", all - high);
    running.saw(format!("then all {all} sockets from {HIGH} on"));
    drop(crowd);
    running.settle()
}

/// Connects everybody; returns those who stay, and how many were refused.
fn enter(running: &Running, may_refuse: bool) -> anyhow::Result<(Vec<Client>, usize)> {
    if !may_refuse {
        return Ok((running.crowd(CLIENTS)?, 0));
    }
    let mut crowd = Vec::new();
    for number in 0..CLIENTS {
        let mut client = running.client()?;
        match client.echo(&noise(number as u64, 64)) {
            Ok(()) => crowd.push(client),
            Err(_) => {
                let released = client.expect_release();
                released.with_context(|| format!("client {} of {CLIENTS} was not served", number + 1))?;
            }
        }
    }
    let refused = CLIENTS - crowd.len();
    Ok((crowd, refused))
}

/// It has to say why, and end with a status of its own choice.
fn refuses_to_start(running: &Running, error: anyhow::Error) -> anyhow::Result<()> {
    match error.downcast_ref() {
        Some(ServerError::EndedEarly(status)) if status.code().is_some_and(|code| code != 0) => {}
        _ => bail!(error.context("with all low descriptors taken")),
    }
    ensure!(
        running.said().contains("descriptor"),
        "it ended at its start without a reason: {error:#}"
    );
    Ok(())
}
