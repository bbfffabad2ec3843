//! The cases can fail: each server with a bug fails the case that is about the bug, with the right
//! evidence. A healthy server, written the same way, passes all of them.

#[path = "broken/mod.rs"]
mod servers_with_bugs;

use std::process::ExitCode;

use bench::conformance::kit::exemption::Kind;
use bench::conformance::{self, CASES, Case, Outcome, Settings};
use bench::participant::{Executable, Participant};
use bench::reexec;
use libtest_mimic::{Arguments, Failed, Trial};
use servers::listener::Transport;
use servers_with_bugs::{Broken, HEALTHY, OF_DATAGRAMS, SERVER_VARIABLE, SERVERS};

/// Most of these tests wait until a server has done nothing for long enough.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    if let Some(status) = reexec::dispatch().or_else(servers_with_bugs::play) {
        return status;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let streams = SERVERS.iter().map(|server| (server, Transport::Stream));
    let datagrams = OF_DATAGRAMS.iter().map(|server| (server, Transport::Datagram));
    let broken = streams.chain(datagrams).map(|(server, transport)| {
        let name = format!("{}_fails_{}", server.name, server.fails.to_lowercase());
        Trial::test(name, move || fails_for_its_reason(server, transport))
    });
    // The model over UDP passes the cases about datagrams.
    let applicable = CASES
        .iter()
        .filter(|case| case.exemption(&[Kind::Stream]).is_none());
    let healthy = applicable.map(|case| {
        let name = format!("{}_passes_{}", HEALTHY.name, case.id().to_lowercase());
        Trial::test(name, || passes(case))
    });
    let complete = Trial::test("every_case_has_a_server_that_must_fail_it", none_is_missing);
    libtest_mimic::run(&arguments, broken.chain(healthy).chain([complete]).collect()).exit_code()
}

fn none_is_missing() -> Result<(), Failed> {
    let servers = || SERVERS.iter().chain(OF_DATAGRAMS);
    let mut ids = CASES.iter().map(Case::id);
    match ids.find(|id| servers().all(|server| server.fails != *id)) {
        Some(id) => Err(format!("no server fails {id}, so nothing shows that the case can fail").into()),
        None => Ok(()),
    }
}

fn fails_for_its_reason(server: &Broken, transport: Transport) -> Result<(), Failed> {
    let case = conformance::find(server.fails).ok_or("there is no such case")?;
    match conformance::run(case, &participant(server, transport), Settings::QUICK).outcome {
        Outcome::Fail { evidence } if evidence.contains(server.evidence) => Ok(()),
        Outcome::Fail { evidence } => {
            Err(format!("failed without the evidence `{}`: {evidence}", server.evidence).into())
        }
        other => Err(format!("did not fail: {other:?}").into()),
    }
}

fn passes(case: &Case) -> Result<(), Failed> {
    let healthy = participant(&HEALTHY, Transport::Stream);
    match conformance::run(case, &healthy, Settings::QUICK).outcome {
        // Not applicable only by an exemption that the case declares.
        Outcome::Pass { .. } | Outcome::NotApplicable { .. } => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn participant(server: &Broken, transport: Transport) -> Participant {
    Participant::Executable(Executable {
        name: server.name.into(),
        path: "/proc/self/exe".into(),
        environment: vec![(SERVER_VARIABLE.into(), server.name.into())],
        transport,
    })
}
