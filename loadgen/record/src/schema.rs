//! The JSON Schema of records.

use schemars::JsonSchema;

use crate::capacity::Capacity;
use crate::conformance::Conformance;
use crate::file::Record;
use crate::host_check::HostChecks;
use crate::load::Load;

/// The JSON Schema of a line of `results.jsonl` and of everything that `--format json` prints.
pub fn json_schema() -> serde_json::Value {
    #[derive(JsonSchema)]
    #[schemars(
        untagged,
        title = "echobench record",
        description = "A line of results.jsonl, or what `loadgen run`, `loadgen merge`, `loadgen capacity`, `echobench conformance` and `echobench doctor` print with `--format json`."
    )]
    #[allow(dead_code, clippy::large_enum_variant, reason = "only its schema is used")]
    enum Written {
        Line(Record),
        Load(Load),
        Capacity(Capacity),
        Conformance(Conformance),
        HostChecks(HostChecks),
    }
    schemars::schema_for!(Written).to_value()
}
