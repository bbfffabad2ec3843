//! A harness with a processor quota, which its servers and the generator share.

use std::fs::{self, File};
use std::io::BufReader;

use bench::host::affinity;
use record::{Finding, Outcome};

#[path = "../../loadgen/tests/support/cpu_cgroup.rs"]
mod cpu_cgroup;

use cpu_cgroup::CpuCgroup;

/// A loop that runs in the cgroup all the time, so that it uses its quota up on any host.
const BUSY: &str = "while :; do :; done & busy=$!; \"$@\"; code=$?; kill $busy; wait; exit $code";

#[test]
fn throttling_of_both_sides_is_recorded_and_reported_and_fewer_processors_are_used() {
    let cgroup = match CpuCgroup::new("bench", 40) {
        Ok(cgroup) => cgroup,
        Err(reason) => return eprintln!("not tested: {reason}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let suite = "name = \"test\"\nblocks = 1\nwarmup = \"50ms\"\nduration = \"1s\"\nservers = [\"epoll\"]\n\n\
                 [[scenario]]\nname = \"only\"\ntitle = \"The only load\"\nconnections = 2\nsize = \"64B\"\n";
    fs::write(path("suite.toml"), suite).unwrap();
    let output = { cgroup.command("sh") }
        .args(["-c", BUSY, "sh", env!("CARGO_BIN_EXE_echobench"), "run"])
        .args([&path("suite.toml"), "--output", &path("out")])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let records = record::read(BufReader::new(File::open(path("out/results.jsonl")).unwrap())).unwrap();
    let measured = records.measured.unwrap();
    let [trial] = measured.trials.as_slice() else {
        panic!("{errors}")
    };
    let Outcome::Measured {
        load,
        cost: Some(cost),
        ..
    } = &trial.outcome
    else {
        panic!("{trial:?}")
    };
    for throttling in [load.generator.throttling, cost.throttling] {
        let throttling = throttling.unwrap();
        assert_eq!(throttling.quota, 0.4);
        assert!(
            throttling.happened() && throttling.throttled_s > 0.0,
            "{throttling:?}"
        );
    }
    let first = load.summary.findings.iter().next();
    assert!(matches!(first, Some(Finding::Throttled { .. })), "{first:?}");
    assert_eq!(
        measured.run.placement.server_cpus,
        measured.run.placement.generator_cpus
    );
    if affinity::allowed().unwrap().len() > 1 {
        assert!(
            errors.contains("a processor quota of 0.4 processors leaves 1 of"),
            "{errors}"
        );
    }
    let report = fs::read_to_string(path("out/report.html")).unwrap();
    assert!(
        report.contains("The generator had a quota of 0.4 processors, which throttled it in 1 of 1 trial")
            && report
                .contains("The servers had a quota of 0.4 processors, which throttled them in 1 of 1 trial"),
        "{report}"
    );
}
