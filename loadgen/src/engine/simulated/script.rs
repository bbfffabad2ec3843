//! What a simulated server and its network do.

use record::Transport;

/// What server and network do. Times are nanoseconds.
#[derive(Debug, Clone)]
pub struct Script {
    pub seed: u64,
    pub transport: Transport,
    /// From the call of connect to the established connection.
    pub connect_ns: u64,
    /// The server's queue of connections; `None` accepts all at once.
    pub queue: Option<Queue>,
    /// From when the server reads to when its answer arrives.
    pub latency: Latency,
    /// Time for which the server is busy with what it reads at once; 0 serves all at a time.
    pub service_ns: u64,
    /// When the server stalls, from the start of the window.
    pub stalls: Vec<(u64, u64)>,
    /// When there is no server, in the time of the run: it dies, and all its connections with it, and
    /// another is started later. Every other slot is reset, the rest are ended.
    pub outages: Vec<(u64, u64)>,
    /// Bytes that a connection has room for until the server reads them.
    pub room: usize,
    /// Whether sends are batched and returned in part, as by io_uring; otherwise they are
    /// accepted in part, as by a readiness engine.
    pub batches: bool,
    /// The longest piece that an answer arrives in.
    pub piece: usize,
    /// Local ports, and for how long a port stays in TIME_WAIT.
    pub ports: usize,
    pub time_wait_ns: u64,
    /// Descriptors for connections.
    pub descriptors: usize,
    /// What is wrong with the connections, in turn.
    pub faults: Vec<Fault>,
    /// What happens to the datagrams, in turn.
    pub fates: Vec<Fate>,
}

impl Default for Script {
    /// A server without faults that answers after 100 us.
    fn default() -> Self {
        Script {
            seed: 1,
            transport: Transport::Tcp,
            connect_ns: 50_000,
            queue: None,
            latency: Latency::Constant(100_000),
            service_ns: 0,
            stalls: Vec::new(),
            outages: Vec::new(),
            room: 1 << 20,
            batches: false,
            piece: usize::MAX,
            ports: usize::MAX,
            time_wait_ns: 60_000_000_000,
            descriptors: usize::MAX,
            faults: vec![Fault::None],
            fates: vec![Fate::Answered],
        }
    }
}

/// A queue of connections that turns connects away when it is full, as over a Unix socket.
#[derive(Debug, Clone, Copy)]
pub struct Queue {
    /// Connections that fit into it.
    pub room: usize,
    /// Time that the server takes to accept one.
    pub accept_ns: u64,
}

/// How long an answer takes.
#[derive(Debug, Clone, Copy)]
pub enum Latency {
    Constant(u64),
    /// Any time from the first to the last.
    Uniform(u64, u64),
    /// From the first at time 0, by the second for each second.
    Growing(u64, u64),
}

/// What is wrong with a connection. Positions are bytes of what the server returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Nothing listens.
    Refused,
    /// The connect never ends.
    NeverConnects,
    /// The byte is not returned.
    Lost(u64),
    /// The byte is returned twice.
    Doubled(u64),
    /// A bit of the byte is flipped.
    Wrong(u64),
    /// Nothing is returned from that byte on.
    Silent(u64),
    /// Nothing is read any more once this much was returned.
    StopsReading(u64),
    /// The server ends the connection once this much was returned.
    Ends(u64),
    /// The server resets the connection once this much was returned.
    Resets(u64),
    /// The server does not end its side after the client has.
    NeverCloses,
}

/// What happens to a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Answered,
    Dropped,
    /// The answer takes this much longer.
    Late(u64),
    Doubled,
    Wrong,
}
