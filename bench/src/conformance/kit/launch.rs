//! Starts a participant the way a case needs it.

use std::net::SocketAddr;
use std::path::Path;

use servers::config::{Config, Workers};
use servers::models::Model;

use super::setup::Setup;
use crate::participant::Participant;
use crate::server::Launch;

/// How many connections a participant serves concurrently when it is started for
/// `connections` of them; `None` if it has no limit.
pub fn concurrency(participant: &Participant, connections: usize) -> Option<usize> {
    workers(participant, connections).or_else(|| match participant {
        Participant::Model(model) => limit(*model),
        Participant::External(_) | Participant::Executable(_) | Participant::Target(_) => None,
    })
}

/// Workers to ask for, if the default number is too small and more workers help.
fn workers(participant: &Participant, connections: usize) -> Option<usize> {
    let Participant::Model(model) = participant else {
        return None;
    };
    let is_short = limit(*model).is_some_and(|limit| limit < connections);
    (is_short && model.workers() == Workers::PerConnection).then_some(connections)
}

fn limit(model: &dyn Model) -> Option<usize> {
    model.at_once(&Config::default())
}

/// How to start a participant with the setup of a case.
pub fn launch(participant: &Participant, setup: &Setup, listen: SocketAddr, log: &Path) -> Launch {
    let workers =
        workers(participant, setup.connections).map(|workers| ["--workers".to_owned(), workers.to_string()]);
    let of_case = setup.arguments.iter().map(|&argument| argument.to_owned());
    Launch {
        program: participant.program().expect("a case starts its server"),
        listen,
        arguments: workers.into_iter().flatten().chain(of_case).collect(),
        conditions: setup.conditions,
        cpus: Vec::new(),
        log: log.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::ANY_PORT;
    use servers::models;

    fn participant(name: &str) -> Participant {
        Participant::Model(models::find(name).unwrap())
    }

    #[test]
    fn more_workers_are_started_only_where_each_serves_one_connection() {
        assert_eq!(concurrency(&participant("pool"), 0), Some(64));
        assert_eq!(concurrency(&participant("pool"), 500), Some(500));
        assert_eq!(concurrency(&participant("pool"), 2), Some(64));
        assert_eq!(concurrency(&participant("iterative"), 500), Some(1));
        assert_eq!(concurrency(&participant("epoll"), 500), None);
    }

    #[test]
    fn workers_come_before_the_arguments_of_the_case() {
        let setup = Setup {
            connections: 500,
            arguments: &["--drain", "60s"],
            ..Setup::PLAIN
        };
        let arguments = |name| launch(&participant(name), &setup, ANY_PORT, Path::new("/dev/null")).arguments;
        assert_eq!(arguments("pool"), ["--workers", "500", "--drain", "60s"]);
        assert_eq!(arguments("tokio"), ["--drain", "60s"]);
    }
}
