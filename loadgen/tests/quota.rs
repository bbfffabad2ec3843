//! A generator with a processor quota: what it says of being throttled.

use std::process::Output;

use record::{Finding, Load};

#[path = "support/cpu_cgroup.rs"]
mod cpu_cgroup;
mod support;

use cpu_cgroup::CpuCgroup;
use support::*;

const INVALID: i32 = 3;

#[test]
fn a_throttled_generator_says_so_and_its_load_is_not_valid() {
    // Far less than a busy loop gets of a processor beside others, so it is throttled on any host.
    let cgroup = match CpuCgroup::new("loadgen", 10) {
        Ok(cgroup) => cgroup,
        Err(reason) => return eprintln!("not tested: {reason}"),
    };
    let target = server(echo).to_string();
    let run = |options: &[&str]| -> Output {
        let mut command = cgroup.command(env!("CARGO_BIN_EXE_loadgen"));
        command.args(["run", &target, "-d", "1s", "--warmup", "100ms"]);
        command.args(options).output().unwrap()
    };
    for options in [&["-c", "4", "--depth", "8"][..], &["-c", "4", "--rate", "100k/s"]] {
        let output = run(&[options, &["--format", "json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(INVALID), "{errors}");
        let load: Load = serde_json::from_slice(&output.stdout).unwrap();
        let throttling = load.generator.throttling.unwrap();
        assert_eq!(throttling.quota, 0.1);
        assert!(throttling.throttled_periods > 0 && throttling.throttled_periods <= throttling.periods);
        assert!(throttling.throttled_s > 0.0, "{throttling:?}");
        let first = load.summary.findings.iter().next();
        assert!(matches!(first, Some(Finding::Throttled { .. })), "{first:?}");
    }
    let output = run(&["-c", "4", "--depth", "8"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("a processor quota of 0.1 processors"), "{text}");
    assert!(!text.contains("--cpus"), "{text}");
}
