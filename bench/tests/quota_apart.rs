//! A server of which only a part is in a cgroup with a processor quota.

use std::process::{Child, Command};
use std::time::Duration;

use bench::conformance::kit::wait::wait_until;
use bench::trial::meter::Meter;
use loadgen::Observer as _;
use loadgen::quota::QuotaClock;
use nix::unistd::Pid;

#[path = "../../loadgen/tests/support/cpu_cgroup.rs"]
mod cpu_cgroup;

use cpu_cgroup::CpuCgroup;

/// Far longer than a loop takes to use 5 ms up on a busy host.
const THROTTLED_WITHIN: Duration = Duration::from_secs(60);

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Process(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_quota_of_any_process_of_a_server_is_metered() {
    let cgroup = match CpuCgroup::new("apart", 5) {
        Ok(cgroup) => cgroup,
        Err(reason) => return eprintln!("not tested: {reason}"),
    };
    let _first = Process::start(Command::new("sleep").arg("600"));
    let busy = Process::start(cgroup.command("sh").args(["-c", "while :; do :; done"]));
    let clock = || QuotaClock::start(format!("/proc/{}", busy.0.id()).as_ref());
    let limited = |clock: &QuotaClock| clock.read(1).quota == 0.05;
    assert!(wait_until(THROTTLED_WITHIN, || clock().is_some_and(|clock| limited(&clock))));
    let mut meter = Meter::new(Pid::this(), 1);
    meter.window_opened();
    let clock = clock().unwrap();
    assert!(wait_until(THROTTLED_WITHIN, || clock.read(1).happened()));
    meter.window_closed();
    let Some(cost) = meter.cost(1) else {
        return eprintln!("not tested: the kernel does not list children");
    };
    let throttling = cost.throttling.unwrap();
    assert_eq!(throttling.quota, 0.05);
    assert!(throttling.happened(), "{throttling:?}");
}
