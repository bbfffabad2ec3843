//! C19: descriptors of FD_SETSIZE and above.
//!
//! The server is started twice: with a few low descriptors free, so that it cannot detect the
//! shortage at its start, and with none, so that processes with one connection each have high
//! descriptors, too.

use anyhow::{Context, bail, ensure};
use servers::listener::Transport;

use crate::conformance::kit::client::Client;
use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::{Case, ServerUnderTest};
use crate::server::ServerError;
use crate::server::conditions::Conditions;

pub const CASE: Case = Case::new(
    "C19",
    "high descriptors",
    "With descriptors of 1024 and above, is the echo exact or the client cleanly refused?",
    drive,
)
.connections(CLIENTS)
.conditions(Conditions {
    taken_descriptors: Some((SOME_FREE, LAST_TAKEN)),
    ..Conditions::NONE
})
.over_udp(drive)
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[Exemption::new(
    Kind::LowDescriptorsOnly,
    "its sets have no bit for a descriptor of 1024 or above: such a client was refused at once, and such a listener at the start",
)];

/// More than fit below; not many more, because a process for each has a thousand descriptors.
const CLIENTS: usize = 50;

/// FD_SETSIZE: the first descriptor that `select` has no bit for.
const HIGH: i32 = 1024;

/// The first taken descriptor: below are the server's own and some connections.
const SOME_FREE: i32 = 32;

/// Standard input, output and error are always open.
const NONE_FREE: i32 = 3;

const LAST_TAKEN: i32 = HIGH - 1;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let only_low = server.is(Kind::LowDescriptorsOnly);
    let (crowd, refused) = enter(server, only_low)?;
    let (_, high) = server.sockets_from(HIGH)?;
    // Only one process for all connections must have them; a UDP server needs one socket.
    let is_one_process = server.is(Kind::SingleProcess) && server.transport() == Transport::Stream;
    ensure!(
        high > 0 || refused > 0 || !is_one_process || server.served_of(CLIENTS) < CLIENTS,
        "it served {} clients at once without a socket of {HIGH} or above",
        crowd.len()
    );
    ensure!(
        refused > 0 || !only_low,
        "no client was refused, although it declares to serve only low descriptors"
    );
    server.note(format!(
        "{high} sockets of {HIGH} or above beside low ones, {refused} clients refused"
    ));
    drop(crowd);
    server.expect_released()?;
    server.terminate()?;
    server.expect_clean_exit()?;

    let conditions = Conditions {
        taken_descriptors: Some((NONE_FREE, LAST_TAKEN)),
        ..Conditions::NONE
    };
    match server.restart_under(conditions) {
        Err(error) if only_low => return refuses_to_start(server, error),
        started => started.context("with all low descriptors taken")?,
    }
    let crowd = server.connect_clients(CLIENTS)?;
    let (all, high) = server.sockets_from(HIGH)?;
    ensure!(high == all, "{} of {all} sockets were below {HIGH}", all - high);
    server.note(format!("then all {all} sockets of {HIGH} or above"));
    drop(crowd);
    server.expect_released()
}

/// Connects all clients; returns those that stay and the number of refused ones.
fn enter(server: &ServerUnderTest, may_refuse: bool) -> anyhow::Result<(Vec<Client>, usize)> {
    if !may_refuse {
        return Ok((server.connect_clients(CLIENTS)?, 0));
    }
    let mut crowd = Vec::new();
    for number in 0..CLIENTS {
        let mut client = server.connect()?;
        match client.echo(&noise(number as u64, 64)) {
            Ok(()) => crowd.push(client),
            Err(_) => {
                let released = client.read_until_closed();
                released.with_context(|| format!("client {} of {CLIENTS} was not served", number + 1))?;
            }
        }
    }
    let refused = CLIENTS - crowd.len();
    Ok((crowd, refused))
}

/// The server must exit with a status other than 0 and give a reason.
fn refuses_to_start(server: &ServerUnderTest, error: anyhow::Error) -> anyhow::Result<()> {
    match error.downcast_ref() {
        Some(ServerError::EndedEarly(status)) if status.code().is_some_and(|code| code != 0) => {}
        _ => bail!(error.context("with all low descriptors taken")),
    }
    ensure!(
        server.stderr().contains("descriptor"),
        "it ended at its start without giving a reason: {error:#}"
    );
    Ok(())
}
