//! Which loads a record holds: its own, or those that were merged into it. A load that counts
//! twice in a sum is found by this.

use crate::load::Load;

/// The first version of the schema in which a sum lists its parts.
const PARTS_SINCE: u32 = 5;

impl Load {
    /// The ids of the loads that this one holds: one if a generator made it, several if they were
    /// merged.
    ///
    /// An id follows from what a generator measured, so every copy of a record has the same one,
    /// and records that are older than ids have one too.
    pub fn held(&self) -> Vec<String> {
        match self.parts.is_empty() {
            true => vec![self.id()],
            false => self.parts.clone(),
        }
    }

    /// Whether it is not known which loads it holds: it may be a sum of an older program.
    pub fn may_hide_parts(&self) -> bool {
        self.parts.is_empty() && self.schema_version < PARTS_SINCE
    }

    /// The id of a load that one generator made. It uses only what every version of the schema has
    /// and reads as it was written.
    fn id(&self) -> String {
        let mut hash = Fnv::new();
        hash.add(self.target.as_bytes());
        hash.add(self.started_at.as_bytes());
        for number in [
            self.window_s,
            self.generator.utilisation,
            self.summary.echoes_per_s,
        ] {
            hash.add(&number.to_bits().to_le_bytes());
        }
        for cpu in &self.generator.cpus {
            hash.add(&(*cpu as u64).to_le_bytes());
        }
        for (_, histogram) in self.histograms.measured() {
            hash.add(histogram.text().as_bytes());
        }
        format!("{:016x}", hash.0)
    }
}

/// The hash of Fowler, Noll and Vo, FNV-1a with 64 bits: unlike those of the standard library, it
/// is the same in every version.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    /// Adds bytes, and their end, so that it matters where one text ends and the next begins.
    fn add(&mut self, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_le_bytes();
        for byte in bytes.iter().chain(&length) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
