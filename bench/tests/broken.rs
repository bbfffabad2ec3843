//! The cases can fail: servers that are broken on purpose, and the case that finds each
//! of them out, by name and for the right reason. A healthy server, written the same
//! way, passes all of them.

#[path = "broken/mod.rs"]
mod servers_with_bugs;

use std::process::ExitCode;

use bench::conformance::{self, CASES, Case, Outcome, Settings, Subject};
use bench::reexec;
use libtest_mimic::{Arguments, Failed, Trial};
use servers::by_design::{self, Kind};
use servers::listener::Transport;
use servers_with_bugs::{Broken, HEALTHY, OF_DATAGRAMS, ROLE, SERVERS};

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
    // Those that are about datagrams are passed by the model that speaks them.
    let applicable = CASES
        .iter()
        .filter(|case| by_design::reason(case.id(), &[Kind::Streams]).is_none());
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
        Some(id) => Err(format!("no server must fail {id}: nothing shows that it can be failed").into()),
        None => Ok(()),
    }
}

fn fails_for_its_reason(server: &Broken, transport: Transport) -> Result<(), Failed> {
    let case = conformance::find(server.fails).ok_or("there is no such case")?;
    let subject = match transport {
        Transport::Stream => subject(server),
        Transport::Datagram => subject(server).over_datagrams(),
    };
    match conformance::run(case, &subject, Settings::QUICK).outcome {
        Outcome::Fail { evidence } if evidence.contains(server.evidence) => Ok(()),
        Outcome::Fail { evidence } => {
            Err(format!("failed for another reason than `{}`: {evidence}", server.evidence).into())
        }
        other => Err(format!("did not fail: {other:?}").into()),
    }
}

fn passes(case: &Case) -> Result<(), Failed> {
    match conformance::run(case, &subject(&HEALTHY), Settings::QUICK).outcome {
        // Only a case that names the design can come to the second.
        Outcome::Pass { .. } | Outcome::NotApplicable { .. } => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn subject(server: &Broken) -> Subject {
    Subject::command(server.name, "/proc/self/exe", &[(ROLE, server.name)])
}
