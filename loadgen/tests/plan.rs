//! Validation of a plan touches nothing; the run tries this host before it measures.
//!
//! No other test runs in this process, so its limits are those of these tests.

use std::fs;
use std::sync::atomic::AtomicBool;

use loadgen::plan::CheckedPlan;
use loadgen::{Address, PrepareError, RunError};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use record::Plan;

fn target() -> Address {
    "127.0.0.1:7".parse().unwrap()
}

#[test]
fn validation_raises_no_limit_and_binds_no_address() {
    const SOFT: u64 = 128;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, SOFT, hard).unwrap();
    let plan = Plan {
        connections: Some(SOFT as usize),
        // Reserved for documentation, so that it is not an address of this host.
        sources: vec!["192.0.2.1".parse().unwrap()],
        ..Plan::default()
    };
    let checked = CheckedPlan::new(&plan, target()).unwrap();
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (SOFT, hard));

    let error = loadgen::run(&checked, &mut (), &AtomicBool::new(false)).unwrap_err();
    let RunError::Unprepared(PrepareError::Source { address, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(address.to_string(), "192.0.2.1");
    assert!(
        error.to_string().contains("must be an address of this host"),
        "{error}"
    );
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
}

#[test]
fn validation_reads_the_file_of_the_sizes_and_a_record_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sizes");
    fs::write(&path, "64B\n4KiB\n").unwrap();
    let plan = Plan {
        size: format!("file:{}", path.display()).parse().unwrap(),
        ..Plan::default()
    };
    let checked = CheckedPlan::new(&plan, target()).unwrap();
    let json = serde_json::to_string(checked.words()).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(&serde_json::from_str::<Plan>(&json).unwrap(), checked.words());
    let error = CheckedPlan::new(&plan, target()).unwrap_err().to_string();
    assert!(error.contains("cannot read the sizes in"), "{error}");
}
