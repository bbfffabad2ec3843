//! The version of the schema.

/// The version of the schema that this code writes, and the newest that it reads.
pub const SCHEMA_VERSION: u32 = 5;
