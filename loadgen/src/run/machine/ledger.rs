//! Where every message went, and every lost connection, for tests that check that none is missing or
//! counted twice.

/// Where every message went.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    pub begun: u64,
    pub answered: u64,
    /// Given up, over UDP.
    pub lost: u64,
    /// Without an answer when their connection failed.
    pub broken_off: u64,
    /// Without an answer when the run ended.
    pub outstanding: u64,
    /// Connections that were lost, and not open again, when the run ended.
    pub away: u64,
}

impl Ledger {
    pub fn begin(&mut self) {
        self.begun += 1;
    }

    pub fn answer(&mut self) {
        self.answered += 1;
    }

    pub fn lose(&mut self) {
        self.lost += 1;
    }

    pub fn break_off(&mut self) {
        self.broken_off += 1;
    }
}
