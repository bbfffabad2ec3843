//! The committed JSON Schema is the one of the code.

use std::path::Path;

/// `ECHOBENCH_WRITE_SCHEMA=1 cargo test -p record --test schema` writes it anew.
#[test]
fn the_committed_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/record.schema.json");
    let current = serde_json::to_string_pretty(&record::json_schema()).unwrap() + "\n";
    if std::env::var_os("ECHOBENCH_WRITE_SCHEMA").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "the schema has changed: write it anew and raise SCHEMA_VERSION if it must be"
    );
}
