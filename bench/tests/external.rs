//! External servers: how they are run and measured, how their failures are reported, and that
//! nothing of them remains.
//!
//! Whether a load is valid depends on how busy the host is, so no test depends on it.

#[path = "external/play.rs"]
mod play;
mod support;

use std::env;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use bench::conformance::kit::wait::wait_until;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::histogram::{Known, Statistic};
use record::{Finding, Measured, Outcome, Run};
use tempfile::TempDir;

use support::echobench;

/// Most of these tests wait for a time limit.
const AT_ONCE: usize = 8;

/// Turns a hang into a failure; far longer than anything takes on a busy host.
const GONE_WITHIN: Duration = Duration::from_secs(60);

type Result = std::result::Result<(), Failed>;

/// A test and its name.
type Test = (&'static str, fn() -> Result);

fn main() -> ExitCode {
    if let Some(status) = play::play() {
        return status;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let tests: [Test; 20] = [
        ("a_server_that_prints_anything_is_measured_like_any_other", prints),
        (
            "one_that_ignores_sigterm_is_killed_with_its_children_and_is_measured",
            is_deaf,
        ),
        ("one_whose_port_is_taken_gets_another", is_unlucky),
        ("one_that_never_listens_is_reported", never_listens),
        (
            "one_that_ends_early_is_reported_with_its_standard_error",
            ends_early,
        ),
        (
            "one_that_goes_into_the_background_is_measured_there",
            goes_into_the_background,
        ),
        ("one_that_ends_and_leaves_nothing_is_reported", leaves_nothing),
        ("one_that_listens_elsewhere_is_reported", listens_elsewhere),
        (
            "one_that_lets_a_stranger_listen_is_reported",
            lets_a_stranger_listen,
        ),
        ("one_that_leaves_its_group_is_measured", leaves_its_group),
        (
            "one_that_is_scattered_over_sessions_is_measured_and_ended_as_a_whole",
            is_scattered,
        ),
        ("one_that_ends_under_load_fails_its_trial", ends_under_load),
        (
            "one_that_ends_every_connection_is_reported_with_that",
            ends_connections,
        ),
        ("a_block_goes_on_without_those_that_fail_in_it", goes_on),
        ("a_killed_harness_leaves_nothing_of_it", harness_is_killed),
        (
            "an_interrupted_harness_leaves_nothing_of_it",
            harness_is_interrupted,
        ),
        ("invalid_servers_are_refused_before_anything_is_measured", invalid),
        (
            "the_option_overrides_the_variable_and_the_variable_the_suite",
            precedence,
        ),
        ("the_cases_run_on_external_servers", cases),
        ("the_first_one_has_the_highest_descriptor_limit", limit),
    ];
    let tests = tests.into_iter().map(|(name, test)| Trial::test(name, test));
    let examples = [
        ("asyncio_runs_as_in_the_readme", "python3", "asyncio_echo.py"),
        ("node_runs_as_in_the_readme", "node", "echo.mjs"),
    ];
    let examples = examples
        .into_iter()
        .map(|(name, program, file)| Trial::ignorable_test(name, move || example(program, file)));
    libtest_mimic::run(&arguments, tests.chain(examples).collect()).exit_code()
}

/// A folder with a suite of one load and no server. On a busy host a shorter load may get no
/// answer.
fn suite() -> TempDir {
    suite_with("", "1s")
}

fn suite_with(servers: &str, duration: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "name = \"test\"\nblocks = 1\nwarmup = \"50ms\"\nduration = \"{duration}\"\n\n{servers}\n\
         [[scenario]]\nname = \"only\"\ntitle = \"The only load\"\nconnections = 3\nsize = \"64B\"\n"
    );
    fs::write(folder.path().join("suite.toml"), text).unwrap();
    folder
}

/// The command that makes this test the server of that kind. `folder` identifies its processes.
fn command(kind: &str, folder: &TempDir) -> String {
    let program = env::current_exe().unwrap();
    format!(
        "'{}' {} {kind} '{}' {{port}}",
        program.display(),
        play::BE,
        folder.path().display()
    )
}

/// A run of the suite in `folder`, with its results in the same folder.
fn run(folder: &TempDir, arguments: &[&str]) -> Command {
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let mut command = echobench(&["run", &path("suite.toml"), "--output", &path("out")]);
    command.args(arguments);
    command
}

/// The outcome of the one trial of a server of that kind, and the output of the harness.
fn trial(kind: &str, folder: &TempDir) -> std::result::Result<(Outcome, Output), Failed> {
    let server = format!("{kind}={}", command(kind, folder));
    let output = run(folder, &["--server", &server]).output()?;
    let (_, mut trials) = records(folder)?;
    expect_gone(folder.path())?;
    match (trials.pop(), trials.len()) {
        (Some(trial), 0) => Ok((trial.outcome, output)),
        _ => Err(format!("not one trial: {}", stderr(&output)).into()),
    }
}

/// The harness starts with a low limit, and the server writes down its own.
fn limit() -> Result {
    let folder = suite();
    let file = folder.path().join("limit");
    let server = format!("own=sh -c 'ulimit -Sn >{}; exit 1' {{port}}", file.display());
    let harness = run(&folder, &["--server", &server]);
    Command::new("sh")
        .args(["-c", "ulimit -Sn 200 && exec \"$0\" \"$@\""])
        .arg(harness.get_program())
        .args(harness.get_args())
        .output()?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    assert_eq!(fs::read_to_string(file)?.trim(), hard.to_string());
    Ok(())
}

fn records(folder: &TempDir) -> std::result::Result<(Run, Vec<record::Trial>), Failed> {
    let file = File::open(folder.path().join("out/results.jsonl"))?;
    let measured = record::read(BufReader::new(file))?.measured;
    let Measured { run, trials } = measured.ok_or("it holds no run")?;
    Ok((run, trials))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn expect(holds: bool, otherwise: impl std::fmt::Debug) -> Result {
    match holds {
        true => Ok(()),
        false => Err(format!("{otherwise:?}").into()),
    }
}

/// The running servers of this test that belong to `folder`.
fn servers_of(folder: &Path) -> Vec<String> {
    let argument = format!("\0{}\0", folder.display());
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| line.contains(&format!("\0{}\0", play::BE)) && line.contains(&argument))
        .collect()
}

fn expect_gone(folder: &Path) -> Result {
    let is_gone = wait_until(GONE_WITHIN, || servers_of(folder).is_empty());
    expect(is_gone, servers_of(folder))
}

/// Exit code 0 if the load is valid, else 3.
fn expect_exit_code(output: &Output, outcome: &Outcome) -> Result {
    let code = match outcome {
        Outcome::Measured { load, .. } if load.summary.is_valid() => 0,
        _ => 3,
    };
    expect(output.status.code() == Some(code), stderr(output))
}

fn expect_measured(outcome: &Outcome) -> Result {
    let Outcome::Measured {
        load,
        cost: Some(cost),
        ..
    } = outcome
    else {
        return Err(format!("{outcome:?}").into());
    };
    expect(load.summary.connections.answered == 3, &load.summary)?;
    expect(cost.cpu_s > 0.0 && cost.processes > 0, cost)
}

/// The trial failed for this reason, which the harness reports, too.
fn expect_failed((outcome, output): (Outcome, Output), reason: &str, last_words: &str) -> Result {
    let Outcome::Failed { error, stderr: log } = &outcome else {
        return Err(format!("{outcome:?}").into());
    };
    expect(error.contains(reason), error)?;
    expect(log.contains(last_words), log)?;
    let reported = stderr(&output);
    expect(
        reported.contains(reason) && reported.contains(last_words),
        &reported,
    )?;
    expect(output.status.code() == Some(3), output.status)
}

fn prints() -> Result {
    let folder = suite();
    let (outcome, output) = trial("talkative", &folder)?;
    expect_measured(&outcome)?;
    expect_exit_code(&output, &outcome)?;
    let log = fs::read_to_string(folder.path().join("out/logs/talkative-only-0.log"))?;
    expect(
        log.contains("ready or not") && log.contains("a client connected"),
        &log,
    )?;
    let (run, _) = records(&folder)?;
    let cpus = format!("started on {:?}", run.placement.server_cpus);
    expect(log.contains(&cpus), (log, cpus))?;
    let server = &run.servers[0];
    expect(server.name == "talkative" && server.family == "external", server)?;
    expect(server.summary == command("talkative", &folder), server)?;
    let report = fs::read_to_string(folder.path().join("out/report.html"))?;
    expect(report.contains("talkative"), "the report has the server")
}

fn is_deaf() -> Result {
    let (outcome, output) = trial("deaf", &suite())?;
    expect_exit_code(&output, &outcome)?;
    expect_measured(&outcome)?;
    // The server and its child.
    expect_processes(&outcome, 2)
}

fn is_unlucky() -> Result {
    let folder = suite();
    let (outcome, output) = play::while_squatting(folder.path(), || trial("unlucky", &folder))?;
    expect_measured(&outcome)?;
    expect_exit_code(&output, &outcome)
}

fn never_listens() -> Result {
    expect_failed(
        trial("silent", &suite())?,
        "did not listen on 127.0.0.1:",
        "waiting forever",
    )
}

fn ends_early() -> Result {
    let reason = "ended before it was ready: exit status: 1";
    expect_failed(trial("hasty", &suite())?, reason, "no configuration")
}

fn goes_into_the_background() -> Result {
    let (outcome, output) = trial("background", &suite())?;
    expect_measured(&outcome)?;
    expect_exit_code(&output, &outcome)?;
    expect_processes(&outcome, 1)
}

fn expect_processes(outcome: &Outcome, number: u32) -> Result {
    match outcome {
        Outcome::Measured { cost: Some(cost), .. } => expect(cost.processes == number, cost),
        other => Err(format!("{other:?}").into()),
    }
}

fn leaves_nothing() -> Result {
    let reason = "exit status 0 before it listened";
    expect_failed(trial("vanishing", &suite())?, reason, "nothing to do")
}

fn listens_elsewhere() -> Result {
    let (outcome, output) = trial("elsewhere", &suite())?;
    let port = stderr(&output);
    let port = port.lines().find_map(|line| line.strip_prefix("my own port is "));
    let port = port.ok_or("it did not report its port")?;
    let reason = format!("the server listens on 127.0.0.1:{port} instead of 127.0.0.1:");
    expect_failed((outcome, output), &reason, "my own port")
}

fn lets_a_stranger_listen() -> Result {
    let folder = suite();
    let result = play::while_squatting(folder.path(), || trial("guest", &folder))?;
    expect_failed(result, "was not started by the command", "")
}

fn leaves_its_group() -> Result {
    let (outcome, output) = trial("runaway", &suite())?;
    expect_measured(&outcome)?;
    expect_exit_code(&output, &outcome)
}

fn is_scattered() -> Result {
    let (outcome, output) = trial("scattered", &suite())?;
    expect_measured(&outcome)?;
    expect_exit_code(&output, &outcome)?;
    expect_processes(&outcome, 3)
}

fn ends_under_load() -> Result {
    let reason = "the server ended during the trial: exit status: 0";
    expect_failed(trial("tired", &suite())?, reason, "ending under load")
}

/// It runs on, and answers once on each connection.
fn ends_connections() -> Result {
    let folder = suite();
    let file = folder.path().join("suite.toml");
    // However busy the host is, the connections end before the warm-up does.
    fs::write(&file, fs::read_to_string(&file)?.replace("50ms", "60s"))?;
    let reason = "ended all of 3 connections during the warm-up, after 3 answers";
    expect_failed(trial("curt", &folder)?, reason, "")
}

/// The servers of a block have the load in turns: one ends, one stops answering, one keeps running.
fn goes_on() -> Result {
    let folder = suite_with("", "1s");
    let kinds = ["tired", "forgetful", "talkative"];
    let servers = kinds.map(|kind| format!("{kind}={}", command(kind, &folder)));
    let arguments: Vec<&str> = servers
        .iter()
        .flat_map(|server| ["--server", server.as_str()])
        .collect();
    let output = run(&folder, &arguments).args(["--slice", "50ms"]).output()?;
    let (_, trials) = records(&folder)?;
    expect_gone(folder.path())?;
    expect(trials.len() == kinds.len(), stderr(&output))?;
    let outcome = |kind: &str| &trials.iter().find(|trial| trial.server == kind).unwrap().outcome;
    match outcome("tired") {
        Outcome::Failed { error, .. } => expect(error.contains("the server ended"), error)?,
        other => return Err(format!("{other:?}").into()),
    }
    match outcome("forgetful") {
        Outcome::Measured { load, slices, .. } => {
            let went_silent = |finding: &Finding| matches!(finding, Finding::WentSilent { .. });
            expect(load.summary.findings.iter().any(went_silent), &load.summary)?;
            expect(slices.len() < 20 && slices.len() == load.intervals.len(), slices)?;
            let max = load
                .summary
                .latencies
                .main()
                .and_then(|times| times.known(Statistic::Max));
            let is_bound = |max: &Known| !max.is_exact() && max.value() >= 1e6;
            expect(max.as_ref().is_some_and(is_bound), &load.summary)?;
            expect(load.summary.unanswered > 0, &load.summary)?;
        }
        other => return Err(format!("{other:?}").into()),
    }
    match outcome("talkative") {
        Outcome::Measured {
            load,
            slices,
            cost: Some(cost),
        } => {
            let turns: Vec<u32> = slices.iter().map(|slice| slice.turn).collect();
            // More than planned if other programs disturbed some.
            let all = 0..slices.len() as u32;
            expect(all.len() >= 20 && turns == all.collect::<Vec<_>>(), turns)?;
            expect(
                slices.is_sorted_by(|one, next| one.start_s < next.start_s),
                slices,
            )?;
            let served: u64 = slices.iter().map(|slice| slice.served).sum();
            expect(cost.served == Some(served) && served >= load.summary.echoes, cost)?;
            expect(load.summary.connections.answered == 3, &load.summary)
        }
        other => Err(format!("{other:?}").into()),
    }
}

fn harness_is_killed() -> Result {
    leaves_no_process(Signal::SIGKILL, None)
}

fn harness_is_interrupted() -> Result {
    leaves_no_process(Signal::SIGINT, Some(130))
}

/// Ends harnesses under load by a signal.
fn leaves_no_process(signal: Signal, exit_code: Option<i32>) -> Result {
    for (kind, processes, sessions) in [("deaf", 2, 0), ("background", 1, 1), ("scattered", 3, 2)] {
        let folder = suite_with("", "60s");
        let server = format!("{kind}={}", command(kind, &folder));
        let mut harness = run(&folder, &["--server", &server]).spawn()?;
        let are_there =
            || servers_of(folder.path()).len() == processes && sessions_of(folder.path()) == sessions;
        let were_there = wait_until(GONE_WITHIN, are_there);
        kill(Pid::from_raw(harness.id() as i32), signal)?;
        let status = harness.wait()?;
        expect(were_there, format!("the processes of {kind} did not start"))?;
        expect(status.code() == exit_code, status)?;
        expect_gone(folder.path())?;
    }
    Ok(())
}

/// How many processes of a server have a session of their own, and are idle there.
fn sessions_of(folder: &Path) -> usize {
    let names = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("session-"))
        .count()
}

fn invalid() -> Result {
    let wrong: [(&[&str], i32, &str); 8] = [
        (&["python3 echo.py {port}"], 2, "NAME=COMMAND"),
        (&["two words=sh {port}"], 2, "is not a name"),
        (&["epoll=sh {port}"], 2, "the name of a model"),
        (&["mine=sh 7007"], 2, "put `{port}` there"),
        (&["mine=sh '{port}"], 2, "quotation"),
        (
            &["mine=sh {port}", "mine=sh {port}"],
            1,
            "two servers have the name `mine`",
        ),
        (
            &["mine=no-such-program {port}"],
            1,
            "no program `no-such-program` in PATH",
        ),
        (&["mine=/etc/passwd {port}"], 1, "is not executable"),
    ];
    for (servers, code, hint) in wrong {
        let folder = suite();
        let options: Vec<_> = servers.iter().flat_map(|server| ["--server", server]).collect();
        for mut command in [
            run(&folder, &options),
            echobench(&[&["conformance"], &options[..]].concat()),
        ] {
            let output = command.output()?;
            expect(output.status.code() == Some(code), (servers, stderr(&output)))?;
            expect(stderr(&output).contains(hint), (servers, stderr(&output)))?;
        }
        expect(!folder.path().join("out").exists(), "a run was started")?;
    }
    Ok(())
}

fn precedence() -> Result {
    let folder = suite();
    let entry = |name| {
        format!(
            "[[external]]\nname = \"{name}\"\ncommand = \"\"\"{}\"\"\"\n",
            command("talkative", &folder)
        )
    };
    let text = fs::read_to_string(
        suite_with(&entry("of-the-suite"), "50ms")
            .path()
            .join("suite.toml"),
    )?;
    fs::write(folder.path().join("suite.toml"), text)?;
    let named = |name: &str| format!("{name}={}", command("talkative", &folder));
    let (flag, variable) = (named("of-the-option"), named("of-the-variable"));
    let runs: [(&[&str], &str, &[&str]); 4] = [
        (&[], "", &["of-the-suite"]),
        (&[], &variable, &["of-the-variable"]),
        (&["--server", &flag], &variable, &["of-the-option"]),
        (&["--models", "epoll"], "", &["epoll", "of-the-suite"]),
    ];
    for (arguments, variable, expected) in runs {
        let output = run(&folder, arguments)
            .env("ECHOBENCH_SERVER", variable)
            .output()?;
        let (run, _) = records(&folder).map_err(|_| stderr(&output))?;
        let names: Vec<_> = run.servers.iter().map(|server| server.name.as_str()).collect();
        expect(names == expected, (names, expected))?;
        fs::remove_dir_all(folder.path().join("out"))?;
    }
    Ok(())
}

fn cases() -> Result {
    let folder = suite();
    let named = |kind: &str| format!("{kind}={}", command(kind, &folder));
    let (good, bad) = (named("talkative"), named("loud"));
    let arguments = [
        "conformance",
        "--cases",
        "C2,C13",
        "--server",
        &good,
        "--server",
        &bad,
    ];
    let output = echobench(&arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let has = |row: &str| text.lines().any(|line| line == row);
    expect(has("talkative . n") && has("loud      F n"), &text)?;
    expect(text.contains("does not take `--drain 60s`"), &text)?;
    expect(output.status.code() == Some(1), output.status)?;
    expect_gone(folder.path())
}

/// An example of the tree, with the option that the README gives.
fn example(program: &str, file: &str) -> std::result::Result<Completion, Failed> {
    let version = Command::new(program).arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Ok(Completion::ignored_with(format!("{program} is not installed")));
    }
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(tree.join("README.md"))?;
    let mut options = readme.split('\'').filter(|text| text.contains(file));
    let server = options.next().ok_or("the README does not contain it")?;
    let folder = suite();
    let mut command = run(&folder, &["--models", "epoll", "--server", server]);
    let output = command.current_dir(&tree).output()?;
    let (_, trials) = records(&folder).map_err(|_| stderr(&output))?;
    expect(trials.len() == 2, &trials)?;
    trials
        .iter()
        .try_for_each(|trial| expect_measured(&trial.outcome))?;
    let mut command = echobench(&["conformance", "--cases", "C1,C2,C6", "--server", server]);
    let output = command.current_dir(&tree).output()?;
    expect(output.status.success(), String::from_utf8_lossy(&output.stdout))?;
    Ok(Completion::Completed)
}
