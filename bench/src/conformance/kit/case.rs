//! A conformance case: a question, how a server is asked, and who is exempt.

use servers::listener::Transport;

use super::exemption::{Exemption, Kind};
use super::server::ServerUnderTest;
use super::setup::{Scale, Setup};
use crate::server::conditions::Conditions;

/// Drives a server under test; the error is the evidence against it.
pub type Drive = fn(&mut ServerUnderTest) -> anyhow::Result<()>;

/// One case that every server must pass, unless its kind is exempt.
#[derive(Debug, Clone)]
pub struct Case {
    id: &'static str,
    name: &'static str,
    question: &'static str,
    drive: Drive,
    drive_udp: Option<Drive>,
    setup: Setup,
    full_connections: Option<usize>,
    exclusive: Exclusive,
    exemptions: &'static [Exemption],
}

/// Whether a case must run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exclusive {
    Never,
    InFull,
    Always,
}

impl Case {
    /// A case that applies to every TCP server and has no special requirements.
    pub const fn new(id: &'static str, name: &'static str, question: &'static str, drive: Drive) -> Self {
        Case {
            id,
            name,
            question,
            drive,
            drive_udp: None,
            setup: Setup::PLAIN,
            full_connections: None,
            exclusive: Exclusive::Never,
            exemptions: &[],
        }
    }

    /// Drives UDP servers like this. A case without it must exempt [`Kind::Datagram`].
    pub const fn over_udp(mut self, drive: Drive) -> Self {
        self.drive_udp = Some(drive);
        self
    }

    /// Opens that many connections at the same time: a server with one worker per connection
    /// gets as many workers.
    pub const fn connections(mut self, connections: usize) -> Self {
        self.setup.connections = connections;
        self
    }

    /// Has a full form ([`ServerUnderTest::scale`]) with that many connections.
    pub const fn full_form(mut self, connections: usize) -> Self {
        self.full_connections = Some(connections);
        self
    }

    /// Gives the server further arguments. The case is not applicable to an external server,
    /// which takes none.
    pub const fn arguments(mut self, arguments: &'static [&'static str]) -> Self {
        self.setup.arguments = arguments;
        self
    }

    /// Starts the server under conditions.
    pub const fn conditions(mut self, conditions: Conditions) -> Self {
        self.setup.conditions = conditions;
        self
    }

    /// Runs the server on a host of its own, in a
    /// [`Network`](super::faults::network::Network) with that many client hosts.
    pub const fn network(mut self, hosts: usize) -> Self {
        self.setup.hosts = hosts;
        self
    }

    /// Runs alone, because it compares times or needs the whole machine.
    pub const fn exclusive(mut self) -> Self {
        self.exclusive = Exclusive::Always;
        self
    }

    /// Runs its full form alone, because it takes most descriptors of the harness.
    pub const fn exclusive_in_full(mut self) -> Self {
        self.exclusive = Exclusive::InFull;
        self
    }

    /// Does not apply to these kinds. Where several match, the first reason is reported.
    pub const fn exemptions(mut self, exemptions: &'static [Exemption]) -> Self {
        self.exemptions = exemptions;
        self
    }

    /// Its short name: `C1`.
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// Its name: `exact`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it asks, in a sentence.
    pub fn question(&self) -> &'static str {
        self.question
    }

    /// Whether it has a full form.
    pub fn has_full_form(&self) -> bool {
        self.full_connections.is_some()
    }

    /// Whether UDP servers are driven, too.
    pub fn applies_to_udp(&self) -> bool {
        self.drive_udp.is_some()
    }

    /// Why it does not apply to a server of these kinds.
    pub fn exemption(&self, kinds: &[Kind]) -> Option<&'static str> {
        let matching = self
            .exemptions
            .iter()
            .find(|exemption| kinds.contains(&exemption.kind));
        matching.map(|exemption| exemption.reason)
    }

    /// Whether it must run alone at a scale.
    pub fn is_exclusive(&self, scale: Scale) -> bool {
        match self.exclusive {
            Exclusive::Never => false,
            Exclusive::InFull => scale == Scale::Full,
            Exclusive::Always => true,
        }
    }

    /// Arguments that its server must take.
    pub fn needs_arguments(&self) -> &'static [&'static str] {
        self.setup.arguments
    }

    /// How to drive it over a transport. Where it does not apply, the server is started with
    /// its defaults, and only what follows every case is checked.
    pub fn driver(&self, transport: Transport, scale: Scale) -> (Drive, Setup) {
        let connections = match scale {
            Scale::Quick => self.setup.connections,
            Scale::Full => self.full_connections.unwrap_or(self.setup.connections),
        };
        let (drive, setup) = match (transport, self.drive_udp) {
            (Transport::Stream, _) => (self.drive, self.setup.clone()),
            (Transport::Datagram, Some(drive)) => (drive, self.setup.clone()),
            (Transport::Datagram, None) => ((|_| Ok(())) as Drive, Setup::PLAIN),
        };
        (drive, Setup { connections, ..setup })
    }
}
