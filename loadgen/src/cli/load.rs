//! Who is loaded, over what and by whom: the options of every command that makes a load.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::plan::{self, Engine, Request, Wait};
use crate::sizes::Sizes;
use crate::target::{self, TargetError};
use crate::{source, units};
use record::{Arrivals, Transport};

/// What is sent, and when.
pub(super) const LOAD: &str = "Load";
/// Who sends it.
const GENERATOR: &str = "Generator";

/// The addresses of one range. The name keeps clap from taking them for single values.
type Range = Vec<IpAddr>;

/// The target, the connections to it and the generator.
#[derive(Debug, Args)]
pub struct LoadOptions {
    /// The server, as HOST:PORT.
    target: String,

    /// Send datagrams: each connection is a connected UDP socket, and in a closed loop has
    /// one message on its way.
    #[arg(long, help_heading = LOAD)]
    udp: bool,

    /// Connections, held open over the whole run or opened again and again.
    #[arg(short, long, value_name = "N", default_value_t = 64, help_heading = LOAD)]
    connections: usize,

    /// Connections beside them that are open and send nothing; not over UDP.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = LOAD)]
    idle: usize,

    /// Bytes in a message: 64B, uniform:16B..4KiB, or file:PATH with a size on each line.
    ///
    /// The sizes of a file are sent in turn, each connection from a place of its own. Over
    /// UDP all messages have one size, from 8B to 65507B.
    #[arg(long, value_name = "SIZE", default_value = "64B", value_parser = Sizes::parse, help_heading = LOAD)]
    size: Sizes,

    /// Seed of what is drawn: arrivals and sizes.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = LOAD)]
    seed: u64,

    /// Local addresses that the connections come from, in turn, such as
    /// 127.0.0.2-127.0.0.9; can be given several times [default: the system chooses].
    ///
    /// One address has some 28,000 ports for connections to one server; more addresses have
    /// more.
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',', value_parser = source::range, help_heading = LOAD)]
    source: Vec<Range>,

    /// How long a connection may take to be established; not over UDP.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        value_parser = units::time,
        conflicts_with = "udp",
        help_heading = LOAD
    )]
    connect_timeout: Duration,

    /// Over UDP: how long an answer is waited for; then its message counts as lost, and the
    /// next is sent. A load that lost more than one message in a thousand is not valid
    /// [default: 200ms].
    #[arg(long, value_name = "TIME", value_parser = units::time, requires = "udp", help_heading = LOAD)]
    answer_timeout: Option<Duration>,

    /// Permit a target that is not this host. Load only what you may load.
    #[arg(long, help_heading = LOAD)]
    allow_remote: bool,

    /// Worker threads; they share the connections [default: one for each of --cpus, or 1].
    #[arg(short, long, value_name = "N", help_heading = GENERATOR)]
    threads: Option<usize>,

    /// Processors to pin the workers to, in turn, such as 2,3 [default: not pinned].
    #[arg(long, value_name = "CPU,...", value_delimiter = ',', help_heading = GENERATOR)]
    cpus: Vec<usize>,

    /// How the kernel is talked to.
    #[arg(long, value_enum, default_value_t = Engine::Epoll, help_heading = GENERATOR)]
    engine: Engine,

    /// Ask for events again and again instead of sleeping until one comes.
    ///
    /// The generator's wake-up is then in no latency. Each worker takes a whole processor,
    /// so give it one that the server does not need (--cpus).
    #[arg(long, help_heading = GENERATOR)]
    spin: bool,
}

impl LoadOptions {
    /// The request, in a closed loop for the usual times; looks the target's name up.
    pub fn request(&self) -> Result<Request, TargetError> {
        Ok(Request {
            transport: match self.udp {
                true => Transport::Udp,
                false => Transport::Tcp,
            },
            connections: self.connections,
            idle: self.idle,
            threads: self.threads.unwrap_or(self.cpus.len().max(1)),
            sizes: self.size.clone(),
            connect_timeout: self.connect_timeout,
            answer_timeout: self.answer_timeout.unwrap_or(plan::ANSWER_TIMEOUT),
            engine: self.engine,
            wait: match self.spin {
                true => Wait::Spin,
                false => Wait::Sleep,
            },
            cpus: self.cpus.clone(),
            sources: self.source.concat(),
            seed: self.seed,
            ..Request::new(target::resolve(&self.target, self.allow_remote)?)
        })
    }
}

/// Reads the word of an arrival process. The schema knows no command line.
pub(super) fn arrivals() -> impl TypedValueParser<Value = Arrivals> {
    let words = [
        PossibleValue::new("constant").help("Evenly spaced"),
        PossibleValue::new("poisson").help("As independent users come"),
    ];
    PossibleValuesParser::new(words).map(|word| match word.as_str() {
        "poisson" => Arrivals::Poisson,
        _ => Arrivals::Constant,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        load: LoadOptions,
    }

    fn request(options: &str) -> Request {
        let words = ["loadgen", "127.0.0.1:7"]
            .into_iter()
            .chain(options.split_whitespace());
        Only::try_parse_from(words).unwrap().load.request().unwrap()
    }

    #[test]
    fn every_option_reaches_the_request() {
        let request = request(
            "-c 9 --idle 3 --size uniform:1B..2B --seed 5 --source 127.0.0.2-127.0.0.3,127.0.0.9 \
             --source 127.0.0.7 --connect-timeout 2s --threads 4 --cpus 2,3 --engine uring --spin",
        );
        assert_eq!(
            (request.connections, request.idle, request.threads, request.seed),
            (9, 3, 4, 5)
        );
        assert_eq!(request.sizes, Sizes::Uniform(1, 2));
        let sources: Vec<_> = request.sources.iter().map(IpAddr::to_string).collect();
        assert_eq!(sources, ["127.0.0.2", "127.0.0.3", "127.0.0.9", "127.0.0.7"]);
        assert_eq!(request.connect_timeout, Duration::from_secs(2));
        assert_eq!(request.cpus, [2, 3]);
        assert_eq!((request.engine, request.wait), (Engine::Uring, Wait::Spin));
    }

    #[test]
    fn what_is_not_said_is_as_in_a_new_request() {
        let (ours, new) = (request(""), Request::new("127.0.0.1:7".parse().unwrap()));
        assert_eq!(format!("{ours:?}"), format!("{new:?}"));
    }

    #[test]
    fn over_udp_answers_are_waited_for() {
        let request = request("--udp --answer-timeout 50ms");
        assert_eq!(request.transport, Transport::Udp);
        assert_eq!(request.answer_timeout, Duration::from_millis(50));
    }

    #[test]
    fn each_processor_has_a_thread_unless_it_is_said_otherwise() {
        assert_eq!(request("--cpus 2,3,4").threads, 3);
        assert_eq!(request("--cpus 2,3,4 --threads 2").threads, 2);
        assert_eq!(request("--threads 2").threads, 2);
    }
}
