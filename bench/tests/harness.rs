//! `echobench` as a user runs it: its output, its results, and what it leaves behind.
//!
//! Whether a load is valid depends on how busy the host is, so no test depends on it.

mod support;

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench::host::affinity;
use bench::proc::processes::{family, process};
use bench::proc::usage::cpu_time;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::{Outcome, Records, Transport, Trial};
use servers::models::{MODELS, NOT_BUILT};
use tempfile::TempDir;

use support::echobench;

/// Turns a hang into a failure; far longer than anything takes on a busy host.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Longer than a trial that a test ends itself.
const UNTIL_KILLED: &str = "60s";

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
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
    record::read(BufReader::new(file)).unwrap()
}

fn trials(folder: &TempDir) -> Vec<Trial> {
    records(folder).measured.unwrap().trials
}

/// Checks that the exit code of a run matches its trials: 3 if one failed or is not valid,
/// otherwise 0.
fn assert_exit_code_matches(output: &Output, trials: &[Trial]) {
    let is_good = |trial: &Trial| match &trial.outcome {
        Outcome::Measured { load, .. } => load.summary.is_valid(),
        Outcome::Skipped { .. } | Outcome::NotNeeded { .. } => true,
        Outcome::Failed { .. } => false,
    };
    let code = if trials.iter().all(is_good) { 0 } else { 3 };
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
}

/// Waits until `found` returns something.
fn wait_for<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not seen within {TIMEOUT:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The server of that model that a harness runs, once there is one, found by its arguments.
fn server_of(harness: &Child, model: &str) -> Pid {
    let harness = Pid::from_raw(harness.id() as i32);
    wait_for("a server", || {
        family(harness).into_iter().skip(1).find(|pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains("--listen") && line.split('\0').any(|argument| argument == model)
        })
    })
}

/// A zombie counts as gone: if its parent has ended, it may stay for a while.
fn is_gone(pid: Pid) -> bool {
    process(pid).is_none_or(|process| process.state == 'Z')
}

fn count_lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn a_run_keeps_every_trial_and_writes_the_report() {
    let folder = suite("\"epoll\", \"fork\"", 4, "300ms", 3);
    let output = start(&folder).wait_with_output().unwrap();
    let trials = trials(&folder);
    assert_exit_code_matches(&output, &trials);
    assert_eq!(trials.len(), 6);
    for trial in &trials {
        let Outcome::Measured {
            load,
            cost: Some(cost),
            ..
        } = &trial.outcome
        else {
            panic!("{trial:?}")
        };
        let summary = &load.summary;
        assert!(
            summary.echoes > 0 && summary.connections.answered > 0,
            "{trial:?}"
        );
        assert!(cost.cpu_s > 0.0 && cost.cpu_us_per_echo.is_some());
        // A connection that was answered has a process if the model is `fork`.
        let answered = summary.connections.answered as u32;
        let processes = match trial.server.as_str() {
            "fork" => 1 + answered..=5,
            _ => 1..=1,
        };
        assert!(processes.contains(&cost.processes), "{trial:?}");
        assert!(cost.threads >= cost.processes);
    }
    let text = stdout(&output);
    let report = text.lines().last().unwrap().strip_prefix("report: ").unwrap();
    let html = fs::read_to_string(report).unwrap();
    assert!(html.contains("</html>"));
    let errors = reports::check(&html, &records(&folder));
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_server_that_the_verdicts_leave_out_gets_no_further_blocks_and_the_record_says_why() {
    // `iterative` answers one of the connections. The others stay open, since hardly any interval lies within
    // such a margin.
    let folder = suite("\"iterative\", \"epoll\", \"poll\"", 5, "100ms", 4);
    let path = folder.path().join("suite.toml");
    let text = fs::read_to_string(&path).unwrap();
    let looks = "blocks = 4\nlooks = [2, 4]\nmargin = \"0.0001%\"\np99_margin = \"0.0001%\"";
    fs::write(&path, text.replace("blocks = 4", looks)).unwrap();
    let output = start(&folder).wait_with_output().unwrap();
    let trials = trials(&folder);
    assert_exit_code_matches(&output, &trials);
    let of = |server: &str| -> Vec<&Outcome> {
        let own = trials.iter().filter(|trial| trial.server == server);
        own.map(|trial| &trial.outcome).collect()
    };
    let is_measured = |outcome: &&Outcome| matches!(outcome, Outcome::Measured { .. });
    assert!(
        of("epoll").iter().chain(&of("poll")).all(is_measured),
        "{trials:?}"
    );
    let iterative = of("iterative");
    assert_eq!(
        iterative.len(),
        of("epoll").len(),
        "each block has an outcome of each server"
    );
    let (first, rest) = iterative.split_at(2);
    assert!(first.iter().all(is_measured), "{first:?}");
    for outcome in rest {
        let Outcome::NotNeeded { reason } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(reason, "after 2 blocks, the verdicts leave it out");
    }
    // After two blocks a difference is seen if it is larger than all noise.
    let decided = rest.is_empty() && !stdout(&output).contains("inconclusive");
    assert!(
        decided || stdout(&output).contains("2 not needed"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_server_that_dies_fails_its_trial_and_the_run_goes_on() {
    let folder = suite("\"pool\", \"epoll\"", 80, UNTIL_KILLED, 1);
    let harness = start(&folder);
    let complaint = || {
        let log = folder.path().join("out/logs/pool-only-0.log");
        let text = fs::read_to_string(log).ok()?;
        text.contains("64 workers are busy").then_some(text)
    };
    // The seed decides which comes first.
    let log = thread::scope(|scope| {
        scope.spawn(|| kill(server_of(&harness, "epoll"), Signal::SIGKILL).unwrap());
        let server = server_of(&harness, "pool");
        let log = wait_for("the complaint of the pool", complaint);
        kill(server, Signal::SIGKILL).unwrap();
        log
    });
    let output = harness.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let shown = stderr(&output);
    assert!(shown.contains(log.trim()), "its standard error is shown: {shown}");
    let trials = trials(&folder);
    assert_eq!(trials.len(), 2);
    for trial in trials {
        let Outcome::Failed { error, stderr } = &trial.outcome else {
            panic!("{trial:?}")
        };
        if trial.server == "pool" {
            assert!(error.contains("ended during the trial"), "{error}");
            assert!(error.contains("SIGKILL"), "{error}");
            assert!(stderr.contains("64 workers are busy"), "{stderr}");
        }
    }
    assert!(folder.path().join("out/report.html").is_file());
}

#[test]
fn ctrl_c_and_a_closed_terminal_keep_what_was_measured_and_leave_nothing_running() {
    for signal in [Signal::SIGINT, Signal::SIGHUP] {
        let folder = suite("\"fork\"", 4, "300ms", 1000);
        let harness = start(&folder);
        let results = folder.path().join("out/results.jsonl");
        wait_for("two trials", || (count_lines(&results) > 2).then_some(()));
        let server = server_of(&harness, "fork");
        kill(Pid::from_raw(harness.id() as i32), signal).unwrap();
        let output = harness.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(trials(&folder).len() >= 2);
        assert!(folder.path().join("out/report.html").is_file());
        assert!(is_gone(server), "the server still runs");
    }
}

#[test]
fn nobody_has_to_read_what_a_run_prints() {
    let folder = suite("\"epoll\"", 4, "100ms", 2);
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let output = echobench(&["run", &path("suite.toml"), "--output", &path("out")])
        .stdout(full())
        .stderr(full())
        .output()
        .unwrap();
    assert_exit_code_matches(&output, &trials(&folder));
    assert!(folder.path().join("out/report.html").is_file());
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
fn the_cost_of_children_that_have_ended_is_counted_once() {
    const CLIENTS: u32 = 10;
    const WORK: Duration = Duration::from_millis(20);
    /// `/proc/PID/stat` counts user and system time of ended children in steps of 10 ms each.
    const LOST_TO_STEPS: Duration = Duration::from_millis(20);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_echobench"))
        .env("ECHOBENCH_REEXEC", "server")
        .args(["fork", "--listen", "127.0.0.1:0", "--work", "cpu:20ms"])
        .stdout(Stdio::from(log.reopen().unwrap()))
        .spawn()
        .unwrap();
    let address = wait_for("the ready line", || {
        let line = fs::read_to_string(log.path()).ok()?;
        Some(line.strip_prefix("ready ")?.strip_suffix('\n')?.to_owned())
    });
    let pid = Pid::from_raw(server.id() as i32);
    let cpu = || cpu_time(&family(pid));
    let before = cpu();
    for _ in 0..CLIENTS {
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
    // `--work` burns CPU time, not wall time, so a busy host does not change this.
    let due = WORK * CLIENTS;
    assert!(used >= due - LOST_TO_STEPS, "{used:?} of {due:?} were counted");
    assert!(used < 2 * due, "{used:?} were counted for {due:?} of work");
}

#[test]
fn a_run_on_one_processor_warns_of_it() {
    let folder = suite("\"epoll\"", 2, "100ms", 1);
    let one = &affinity::allowed().unwrap()[..1];
    let harness = affinity::with(one, || start(&folder)).unwrap();
    let output = harness.wait_with_output().unwrap();
    assert_exit_code_matches(&output, &trials(&folder));
    let warnings = stderr(&output);
    assert!(warnings.contains("one processor only"), "{warnings}");
    assert!(warnings.contains("one block only"), "{warnings}");
}

#[test]
fn wrong_arguments_are_refused_with_a_hint() {
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
    assert!(!folder.path().join("out").exists(), "the folder exists");
}

#[test]
fn the_list_has_every_model() {
    let output = echobench(&["list"]).output().unwrap();
    let text = stdout(&output);
    assert!(MODELS.iter().all(|model| text.contains(model.name())), "{text}");
    for name in NOT_BUILT {
        assert!(text.contains(&format!("--features {name}")), "{text}");
    }
}

#[test]
fn a_model_that_is_not_built_is_refused_with_its_feature() {
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
fn udp_is_measured_with_datagrams_and_skipped_if_a_message_does_not_fit_into_one() {
    let folder = suite("\"epoll\", \"udp\"", 4, "100ms", 2);
    let path = folder.path().join("suite.toml");
    let text = fs::read_to_string(&path).unwrap();
    let large = "\n[[scenario]]\nname = \"large\"\ntitle = \"Too long for a datagram\"\nconnections = 2\nsize = \"1MiB\"\n";
    fs::write(&path, text + large).unwrap();
    let output = start(&folder).wait_with_output().unwrap();
    let trials = trials(&folder);
    assert_exit_code_matches(&output, &trials);
    assert_eq!(trials.len(), 8);
    for trial in trials {
        match (trial.server.as_str(), trial.scenario.as_str(), &trial.outcome) {
            ("udp", "large", Outcome::Skipped { reason }) => assert!(reason.contains("65507B"), "{reason}"),
            (server, _, Outcome::Measured { load, .. }) => {
                let transport = load.plan.transport();
                assert_eq!(transport == Transport::Udp, server == "udp", "{server}");
            }
            (server, scenario, outcome) => panic!("{server} in {scenario}: {outcome:?}"),
        }
    }
    let text = stdout(&output);
    assert!(text.contains("left out: udp speaks UDP"), "{text}");
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let folder = suite("\"epoll\"", 2, "100ms", 1);
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    // The signal would end the process; without it, the limit is an error like that of a full disk.
    let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_echobench")])
        .args(["run", &path("suite.toml"), "--output", &path("out")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let named = format!("cannot write {}: File too large", path("out/results.jsonl"));
    assert!(stderr(&output).contains(&named), "{}", stderr(&output));
}

#[test]
fn processors_that_cannot_be_chosen_are_reported_before_anything_is_measured() {
    let strace = |options: &[&str]| {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null"]).args(options);
        command
    };
    if !strace(&["true"]).status().is_ok_and(|status| status.success()) {
        return eprintln!("not checked: strace(1) is missing, or may not trace");
    }
    let folder = suite("\"epoll\"", 2, "100ms", 1);
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let output = strace(&[
        "-e",
        "trace=sched_setaffinity",
        "-e",
        "inject=sched_setaffinity:error=EPERM",
    ])
    .arg(env!("CARGO_BIN_EXE_echobench"))
    .args(["run", &path("suite.toml"), "--output", &path("out")])
    .output()
    .unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("must allow sched_setaffinity(2)"), "{message}");
    assert_eq!(message.matches("os error 1)").count(), 1, "{message}");
    assert!(!folder.path().join("out").exists());
}
