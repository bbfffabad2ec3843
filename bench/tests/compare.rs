//! `echobench compare` and baselines, with real runs: what is kept, what is found, and the exit codes.
//!
//! What became of the numbers depends on how busy the host is, so no test depends on it.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::thread;
use std::time::{Duration, Instant};

use bench::results::home;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use support::echobench;

/// Turns a hang into a failure; far longer than anything takes on a busy host.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Removes a baseline at the end. All tests share the folder of results.
struct Baseline(String);

impl Baseline {
    fn new(test: &str) -> Self {
        Baseline(format!("test-{test}-{}", std::process::id()))
    }

    fn folder(&self) -> PathBuf {
        home().join("baselines").join(&self.0)
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.folder());
    }
}

fn suite(blocks: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "name = \"test\"\nblocks = {blocks}\nwarmup = \"50ms\"\nduration = \"100ms\"\nservers = [\"epoll\", \"poll\"]\n\n\
         [[scenario]]\nname = \"only\"\ntitle = \"The only load\"\nconnections = 2\nsize = \"64B\"\n"
    );
    fs::write(folder.path().join("suite.toml"), text).unwrap();
    folder
}

fn start(folder: &Path, output: &str, more: &[&str]) -> Child {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let mut command = echobench(&["run", &path("suite.toml"), "--output", &path(output)]);
    command.args(more).spawn().unwrap()
}

fn compare(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = echobench(&["compare"]);
    command.args(arguments).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_is_kept_under_a_name_and_a_later_one_is_compared_with_it() {
    let baseline = Baseline::new("compared");
    let folder = suite(2);
    let name = baseline.0.as_str();
    let kept = start(folder.path(), "one", &["--save-baseline", name])
        .wait_with_output()
        .unwrap();
    let shown = text(&kept.stderr);
    assert!(
        shown.contains(&format!("kept as the baseline `{name}`")),
        "{shown}"
    );
    let results = |run: &str| fs::read(folder.path().join(run).join("results.jsonl")).unwrap();
    assert_eq!(
        fs::read(baseline.folder().join("results.jsonl")).unwrap(),
        results("one")
    );
    start(folder.path(), "two", &[]).wait_with_output().unwrap();
    assert_eq!(
        fs::read(baseline.folder().join("results.jsonl")).unwrap(),
        results("one")
    );
    // The baseline does not need the folder of its run.
    fs::remove_dir_all(folder.path().join("one")).unwrap();

    let output = compare(folder.path(), &[name, "two", "--reference", "epoll"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
    for part in [
        "BASE  test, began",
        "only: The only load",
        "  poll ",
        "reference",
        "result: ",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let output = compare(
        folder.path(),
        &[name, "two/results.jsonl", "--fail-on", "nobody.p99>+10%"],
    );
    assert_eq!(output.status.code(), Some(99), "{}", text(&output.stderr));
    let output = compare(folder.path(), &["two", "two"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("are the same run"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn an_interrupted_run_replaces_no_baseline() {
    let baseline = Baseline::new("interrupted");
    let folder = suite(10_000);
    let harness = start(folder.path(), "out", &["--save-baseline", &baseline.0]);
    let deadline = Instant::now() + TIMEOUT;
    let lines = || {
        let text = fs::read_to_string(folder.path().join("out/results.jsonl")).unwrap_or_default();
        text.lines().count()
    };
    while lines() < 3 {
        assert!(Instant::now() < deadline, "no trial within {TIMEOUT:?}");
        thread::sleep(Duration::from_millis(2));
    }
    kill(Pid::from_raw(harness.id() as i32), Signal::SIGINT).unwrap();
    let output = harness.wait_with_output().unwrap();
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{shown}");
    assert!(shown.contains("so it is not kept as the baseline"), "{shown}");
    assert!(!baseline.folder().exists());
}

#[test]
fn wrong_arguments_are_refused_before_anything_is_measured() {
    let folder = suite(2);
    let wrong: [(&[&str], i32, &str); 6] = [
        (&["compare"], 2, "<BASE>"),
        (
            &["compare", "no-such-baseline", "x"],
            1,
            "there is no run `no-such-baseline`",
        ),
        (
            &["compare", ".", "no/such/run"],
            1,
            "there is no run `no/such/run`",
        ),
        (&["compare", "a", "b", "--fail-on", "p99>5ms"], 2, "with its sign"),
        (&["run", "--save-baseline", "../x"], 2, "is not a name"),
        (&["run", "--save-baseline", ".."], 2, "begin with a letter"),
    ];
    for (arguments, code, hint) in wrong {
        let output = echobench(arguments).current_dir(folder.path()).output().unwrap();
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
        assert!(shown.contains(hint), "{arguments:?}: {shown}");
    }
}
