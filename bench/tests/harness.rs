//! `echobench` as its user meets it: what it keeps, what it says, what it leaves behind.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench::host::affinity;
use bench::proc::processes::family;
use loadgen::record::{self, Outcome, Records, Transport, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::models::{MODELS, NOT_BUILT};
use tempfile::TempDir;

/// Far longer than anything takes: whoever waits for this has found a fault.
const PATIENCE: Duration = Duration::from_secs(30);

fn echobench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echobench"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A suite of one load, in a folder of its own.
fn suite(servers: &str, connections: usize, duration: &str, blocks: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "name = \"test\"\nblocks = {blocks}\nwarmup = \"50ms\"\nduration = \"{duration}\"\nservers = [{servers}]\n\n\
         [[scenario]]\nname = \"only\"\ntitle = \"The only load\"\nconnections = {connections}\nsize = \"64B\"\n"
    );
    fs::write(folder.path().join("suite.toml"), text).unwrap();
    folder
}

/// Starts a run of the suite in `folder`, with its results beside it.
fn start(folder: &TempDir) -> Child {
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    echobench(&["run", &path("suite.toml"), "--output", &path("out")])
        .spawn()
        .unwrap()
}

fn records(folder: &TempDir) -> Records {
    let file = File::open(folder.path().join("out/results.jsonl")).unwrap();
    record::read(std::io::BufReader::new(file)).unwrap()
}

fn trials(folder: &TempDir) -> Vec<Trial> {
    records(folder).measured.unwrap().trials
}

/// Waits until `found` finds something.
fn wait_for<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not seen");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The server that a harness runs, once it has one, by the arguments it was given.
fn server_of(harness: &Child, model: &str) -> Pid {
    let harness = Pid::from_raw(harness.id() as i32);
    wait_for("a server", || {
        family(harness).into_iter().skip(1).find(|pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains("--listen") && line.split('\0').any(|argument| argument == model)
        })
    })
}

fn is_gone(pid: Pid) -> bool {
    // A zombie without a parent that waits is gone as far as anybody is concerned.
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn a_run_keeps_every_trial_and_writes_the_report() {
    let folder = suite("\"epoll\", \"fork\"", 4, "100ms", 3);
    let output = start(&folder).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let trials = trials(&folder);
    assert_eq!(trials.len(), 6);
    for trial in &trials {
        let Outcome::Measured { load, cost } = &trial.outcome else {
            panic!("{trial:?}")
        };
        assert!(load.summary.valid && load.summary.connections.answered == 4);
        assert!(cost.cpu_s > 0.0 && cost.cpu_us_per_echo.is_some());
        let processes = if trial.server == "fork" { 5 } else { 1 };
        assert_eq!(cost.processes, processes, "{}", trial.server);
        assert!(cost.threads >= processes);
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let report = text.lines().last().unwrap().strip_prefix("report: ").unwrap();
    assert!(fs::read_to_string(report).unwrap().contains("</html>"));
    let errors = reports::check(&fs::read_to_string(report).unwrap(), &records(&folder));
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_server_that_dies_fails_its_trial_and_the_run_goes_on() {
    let folder = suite("\"pool\", \"epoll\"", 80, "2s", 1);
    let harness = start(&folder);
    let server = server_of(&harness, "pool");
    let log = wait_for("the pool's complaint", || {
        let log = folder.path().join("out/logs/pool-only-0.log");
        fs::read_to_string(log)
            .ok()
            .filter(|text| text.contains("64 workers are busy"))
    });
    kill(server, Signal::SIGKILL).unwrap();
    let output = harness.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains(log.trim()),
        "its standard error is shown: {}",
        stderr(&output)
    );
    for trial in trials(&folder) {
        match (trial.server.as_str(), &trial.outcome) {
            ("pool", Outcome::Failed { error, stderr }) => {
                assert!(
                    error.contains("ended during the trial") && error.contains("SIGKILL"),
                    "{error}"
                );
                assert!(stderr.contains("64 workers are busy"), "{stderr}");
            }
            ("epoll", Outcome::Measured { .. }) => {}
            (server, outcome) => panic!("{server}: {outcome:?}"),
        }
    }
}

#[test]
fn ctrl_c_keeps_what_was_measured_and_leaves_nothing_running() {
    let folder = suite("\"fork\"", 4, "300ms", 1000);
    let harness = start(&folder);
    let results = folder.path().join("out/results.jsonl");
    wait_for("two trials", || (count_lines(&results) > 2).then_some(()));
    let server = server_of(&harness, "fork");
    kill(Pid::from_raw(harness.id() as i32), Signal::SIGINT).unwrap();
    let output = harness.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(trials(&folder).len() >= 2);
    assert!(folder.path().join("out/report.html").is_file());
    assert!(is_gone(server), "the server goes on");
}

fn count_lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn a_harness_that_is_killed_leaves_nothing_running_and_whole_lines() {
    for signal in [Signal::SIGKILL, Signal::SIGABRT] {
        let folder = suite("\"fork\"", 4, "300ms", 1000);
        let mut harness = start(&folder);
        let results = folder.path().join("out/results.jsonl");
        wait_for("a trial", || (count_lines(&results) > 1).then_some(()));
        let server = server_of(&harness, "fork");
        let family = family(server);
        kill(Pid::from_raw(harness.id() as i32), signal).unwrap();
        harness.wait().unwrap();
        wait_for("the end of the server and its children", || {
            family.iter().all(|pid| is_gone(*pid)).then_some(())
        });
        assert!(!trials(&folder).is_empty());
    }
}

#[test]
fn the_cost_of_children_that_have_ended_is_counted() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_echobench"))
        .env("ECHOBENCH_REEXEC", "server")
        .args(["fork", "--listen", "127.0.0.1:0", "--work", "cpu:10ms"])
        .stdout(Stdio::from(log.reopen().unwrap()))
        .spawn()
        .unwrap();
    let address = wait_for("the ready line", || {
        let line = fs::read_to_string(log.path()).ok()?;
        Some(line.strip_prefix("ready ")?.strip_suffix('\n')?.to_owned())
    });
    let pid = Pid::from_raw(server.id() as i32);
    let cpu = || bench::proc::usage::cpu_time(&family(pid));
    let before = cpu();
    for _ in 0..20 {
        let mut client = TcpStream::connect(&address).unwrap();
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    wait_for("the end of the children", || {
        (family(pid).len() == 1).then_some(())
    });
    let used = cpu() - before;
    server.kill().unwrap();
    server.wait().unwrap();
    // Twenty times ten milliseconds; the kernel counts ended children in steps of ten.
    assert!(
        used >= Duration::from_millis(190),
        "only {used:?} of 200 ms were seen"
    );
    assert!(used < Duration::from_millis(400), "{used:?} for 200 ms of work");
}

#[test]
fn with_one_processor_it_runs_and_says_what_that_does() {
    let folder = suite("\"epoll\"", 2, "100ms", 1);
    let one = &affinity::allowed().unwrap()[..1];
    let harness = affinity::with(one, || start(&folder)).unwrap();
    let output = harness.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("one processor only"),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("one block only"));
}

#[test]
fn what_makes_no_sense_is_refused_and_says_what_to_do() {
    let folder = suite("\"epoll\"", 2, "100ms", 1);
    let taken = folder.path().to_string_lossy().into_owned();
    let wrong: [(&[&str], i32, &str); 9] = [
        (&[], 2, "Usage"),
        (&["runn"], 2, "'run'"),
        (&["run", "--models", "epol"], 2, "did you mean `epoll`"),
        (&["run", "--models", "nothing-like-it"], 2, "echobench list"),
        (&["run", "missing.toml"], 1, "missing.toml"),
        (&["run", "--blocks", "0"], 2, "--blocks"),
        (&["run", "--duration", "10"], 2, "is not a time"),
        (&["run", "--duration", "0s"], 1, "0ns cannot be measured"),
        (&["run", "--output", &taken], 1, "is not empty"),
    ];
    for (arguments, code, hint) in wrong {
        let output = echobench(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(hint),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn more_connections_than_descriptors_are_refused_before_anything_runs() {
    let folder = suite("\"epoll\"", 100_000_000, "100ms", 1);
    let output = start(&folder).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("ulimit -n") && stderr(&output).contains("`only`"),
        "{}",
        stderr(&output)
    );
    assert!(!folder.path().join("out").exists(), "nothing was begun");
}

#[test]
fn the_list_holds_every_model() {
    let output = echobench(&["list"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(MODELS.iter().all(|model| text.contains(model.name())), "{text}");
    for name in NOT_BUILT {
        assert!(text.contains(&format!("--features {name}")), "{text}");
    }
}

#[test]
fn a_model_that_is_not_built_is_refused_with_the_feature_that_brings_it_in() {
    for name in NOT_BUILT {
        let output = echobench(&["run", "--models", name]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            stderr(&output).contains(&format!("--features {name}")),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn a_server_of_datagrams_is_measured_over_udp_and_skipped_where_a_message_does_not_fit() {
    let folder = suite("\"epoll\", \"udp\"", 4, "100ms", 2);
    let path = folder.path().join("suite.toml");
    let text = fs::read_to_string(&path).unwrap();
    let large = "\n[[scenario]]\nname = \"large\"\ntitle = \"Too long for a datagram\"\nconnections = 2\nsize = \"1MiB\"\n";
    fs::write(&path, text + large).unwrap();
    let output = start(&folder).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for trial in trials(&folder) {
        match (trial.server.as_str(), trial.scenario.as_str(), &trial.outcome) {
            ("udp", "large", Outcome::Skipped { reason }) => assert!(reason.contains("65507B"), "{reason}"),
            (server, _, Outcome::Measured { load, .. }) => {
                let transport = load.plan.transport;
                assert_eq!(transport == Transport::Udp, server == "udp", "{server}");
                assert!(load.summary.valid, "{server}: {:?}", load.summary.reasons);
            }
            (server, scenario, outcome) => panic!("{server} in {scenario}: {outcome:?}"),
        }
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("left out: udp speaks UDP"), "{text}");
}
