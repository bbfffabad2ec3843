//! What a figure shows, in a sentence.

use std::fmt::{self, Display, Formatter};

use record::numbers::{micros, rounded};
use record::words::{counted, list};

use crate::verdict::Decision;

/// What a figure shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Caption {
    /// The verdict on throughput where there are most connections.
    Throughput {
        /// Connections of that scenario.
        connections: usize,
        /// The kind of the verdict.
        decision: Decision,
        /// Its leaders, the best first.
        leaders: Vec<String>,
        /// Throughput of the best.
        echoes_per_s: f64,
        /// Servers that did not answer every connection there.
        starving: Vec<String>,
    },
    /// The scenario in which p99 differs most.
    Percentiles {
        /// Its name.
        scenario: String,
        /// The lowest p99.
        lowest: Named,
        /// The highest p99, perhaps of the same server.
        highest: Named,
    },
    /// No server that can be compared has a p99.
    NoPercentiles,
    /// The CPU time per echo where there are most connections.
    Cpu {
        /// Name of that scenario.
        scenario: String,
        /// Its connections; `None` if their number is not fixed.
        connections: Option<usize>,
        /// The lowest and the highest, perhaps of the same server.
        ends: Option<(Named, Named)>,
    },
}

/// A time of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Name of the server.
    pub server: String,
    /// In microseconds.
    pub micros: f64,
}

impl Named {
    /// The lowest and the highest of some times.
    pub fn ends(times: impl Iterator<Item = Named>) -> Option<(Named, Named)> {
        let mut times: Vec<Named> = times.collect();
        times.sort_by(|a, b| a.micros.total_cmp(&b.micros));
        Some((times.first()?.clone(), times.last()?.clone()))
    }
}

/// `6.43 ms (epoll)`.
impl Display for Named {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", micros(self.micros), self.server)
    }
}

impl Display for Caption {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Caption::Throughput {
                connections,
                decision,
                leaders,
                echoes_per_s,
                starving,
            } => {
                let at = counted(*connections, "connection");
                let (leaders, rate) = (list(leaders), rounded(*echoes_per_s));
                write!(f, "At {at} ")?;
                match decision {
                    Decision::Winner => {
                        write!(
                            f,
                            "{leaders} has the highest throughput, {rate} echoes per second."
                        )
                    }
                    Decision::Tied => write!(
                        f,
                        "{leaders} are tied for the highest throughput, about {rate} echoes per second."
                    ),
                    Decision::Inconclusive => write!(
                        f,
                        "it is inconclusive which of {leaders} has the highest throughput."
                    ),
                    Decision::NoInterval => write!(
                        f,
                        "{leaders} is ahead with {rate} echoes per second, but there is no interval."
                    ),
                    Decision::Alone => write!(
                        f,
                        "{leaders} reaches {rate} echoes per second; there is nothing to compare it with."
                    ),
                    Decision::Nothing => f.write_str("no server can be judged."),
                }?;
                match starving.as_slice() {
                    [] => Ok(()),
                    some => write!(f, " Not every connection was answered by {}.", list(some)),
                }
            }
            Caption::Percentiles {
                scenario,
                lowest,
                highest,
            } if lowest.server == highest.server => {
                let time = micros(lowest.micros);
                write!(f, "In {scenario} the p99 of {} is {time}.", lowest.server)
            }
            Caption::Percentiles {
                scenario,
                lowest,
                highest,
            } => write!(
                f,
                "Among servers that answered every connection, p99 differs most in {scenario}: from {lowest} to \
                 {highest}."
            ),
            Caption::NoPercentiles => {
                f.write_str("No server that answered every connection has enough answers for a p99.")
            }
            Caption::Cpu {
                scenario,
                connections,
                ends,
            } => {
                match connections {
                    Some(number) => write!(f, "At {} ", counted(*number, "connection"))?,
                    None => write!(f, "In {scenario} ")?,
                }
                match ends {
                    None => f.write_str("no server that answered every connection has a CPU time."),
                    Some((lowest, highest)) if lowest.server == highest.server => {
                        let time = micros(lowest.micros);
                        write!(f, "an echo costs {} {time} of CPU.", lowest.server)
                    }
                    Some((lowest, highest)) => write!(
                        f,
                        "an echo costs from {} of CPU ({}) to {highest}, among the servers that answered every \
                         connection.",
                        micros(lowest.micros),
                        lowest.server
                    ),
                }
            }
        }
    }
}
