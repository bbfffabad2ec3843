//! Targets: servers that already run are measured beside others, and what cannot be measured is
//! refused before a run.
//!
//! Whether a load is valid depends on how busy the host is, so no test depends on it.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use record::{Measured, Outcome};
use tempfile::TempDir;

/// Bytes that a short-lived server answers before it ends.
const FEW: u64 = 64 * 100;

/// Starts an echo server in this process. It answers `most` bytes on each connection and then
/// closes it; with `ends`, it then accepts no others.
fn echo_server(most: u64, ends: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let echo = thread::spawn(move || echo(&client, most));
            // The connection that checks the target sends nothing.
            if ends && echo.join().unwrap().is_ok_and(|echoed| echoed > 0) {
                return;
            }
        }
    });
    address
}

fn echo(client: &TcpStream, most: u64) -> io::Result<u64> {
    let echoed = io::copy(&mut Read::take(client, most), &mut { client })?;
    client.shutdown(Shutdown::Both)?;
    Ok(echoed)
}

/// A folder with a suite of one load on one connection.
fn suite(servers: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "name = \"test\"\nblocks = 1\nwarmup = \"50ms\"\nduration = \"1s\"\n\n{servers}\n\
         [[scenario]]\nname = \"only\"\ntitle = \"The only load\"\nconnections = 1\nsize = \"64B\"\n"
    );
    fs::write(folder.path().join("suite.toml"), text).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str], variable: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_echobench"))
        .arg("run")
        .arg(folder.join("suite.toml"))
        .arg("--output")
        .arg(folder.join("out"))
        .args(arguments)
        .env("ECHOBENCH_TARGET", variable)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn records(folder: &Path, output: &Output) -> Measured {
    let file = File::open(folder.join("out/results.jsonl"))
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    record::read(BufReader::new(file)).unwrap().measured.unwrap()
}

fn refusal(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(folder, arguments, "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(!folder.join("out").exists(), "a run was started: {error}");
    error
}

#[test]
fn a_target_is_measured_beside_a_model_and_its_cost_is_not_known() {
    let folder = suite("");
    let address = echo_server(u64::MAX, false);
    let target = format!("mine={address}");
    let output = run(folder.path(), &["--models", "epoll", "--target", &target], "");
    let Measured { run, trials } = records(folder.path(), &output);
    let server = &run.servers[1];
    assert_eq!(
        (
            server.name.as_str(),
            server.family.as_str(),
            server.summary.as_str()
        ),
        ("mine", "target", address.to_string().as_str())
    );
    assert!(!run.placement.server_cpus.is_empty(), "`epoll` ran there");
    assert_eq!(trials.len(), 2);
    for trial in trials {
        let Outcome::Measured { load, cost, .. } = trial.outcome else {
            panic!("{trial:?}");
        };
        assert_eq!(load.summary.connections.answered, 1);
        assert_eq!(cost.is_some(), trial.server == "epoll");
        if trial.server == "mine" {
            assert_eq!(load.target, address.to_string());
        }
    }
    TcpStream::connect(address).expect("the target still runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("mine is not metered: it was running already"),
        "{text}"
    );
}

/// Starts an echo server in this process on a Unix socket.
fn unix_server(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || io::copy(&mut &client, &mut &client));
        }
    });
}

#[test]
fn a_server_on_a_unix_socket_is_a_target_by_option_and_in_a_suite() {
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("echo.sock");
    unix_server(&path);
    let address = format!("unix:{}", path.display());
    let by_option = (suite(""), vec!["--target".to_owned(), format!("mine={address}")]);
    let entry = format!("[[target]]\nname = \"mine\"\naddress = \"{address}\"\n");
    let in_a_suite = (suite(&entry), Vec::new());
    for (folder, options) in [by_option, in_a_suite] {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let output = run(folder.path(), &options, "");
        let Measured { run, trials } = records(folder.path(), &output);
        assert_eq!(run.servers.len(), 1);
        assert_eq!(run.servers[0].summary, address);
        let Outcome::Measured { load, .. } = &trials[0].outcome else {
            panic!("{trials:?}");
        };
        assert_eq!((&load.target, load.summary.connections.answered), (&address, 1));
        assert!(load.summary.errors.is_empty(), "{:?}", load.summary.errors);
        let page = fs::read_to_string(folder.path().join("out/report.html")).unwrap();
        assert!(page.contains("over a Unix socket"));
    }
    UnixStream::connect(&path).expect("the target still runs");
}

#[test]
fn a_load_that_makes_no_sense_over_a_unix_socket_is_skipped_with_the_reason() {
    let folder = suite("");
    let path = folder.path().join("echo.sock");
    unix_server(&path);
    let file = folder.path().join("suite.toml");
    let text = fs::read_to_string(&file).unwrap() + "source = [\"127.0.0.2\"]\n";
    fs::write(file, text).unwrap();
    let target = format!("mine=unix:{}", path.display());
    let output = run(folder.path(), &["--target", &target], "");
    let Measured { trials, .. } = records(folder.path(), &output);
    match &trials[0].outcome {
        Outcome::Skipped { reason } => assert!(reason.contains("`source`"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_targets_of_a_suite_are_compared_and_the_server_has_no_processors() {
    let entry = |name, address| format!("[[target]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    let [old, new] = [(); 2].map(|()| echo_server(u64::MAX, false));
    let folder = suite(&(entry("old", old) + &entry("new", new)));
    let output = run(folder.path(), &[], "");
    let Measured { run: record, trials } = records(folder.path(), &output);
    assert_eq!(trials.len(), 2);
    assert!(record.placement.server_cpus.is_empty());
    assert!(!record.placement.generator_cpus.is_empty());

    fs::remove_dir_all(folder.path().join("out")).unwrap();
    let output = run(folder.path(), &[], &format!("of-the-variable={new}"));
    let names = records(folder.path(), &output).run.servers;
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(names[0].name, "of-the-variable");
}

#[test]
fn a_target_that_ends_has_no_valid_trial() {
    let folder = suite("");
    let target = format!("mine={}", echo_server(FEW, true));
    let output = run(folder.path(), &["--target", &target], "");
    let Measured { trials, .. } = records(folder.path(), &output);
    match &trials[0].outcome {
        Outcome::Measured { load, .. } => assert!(!load.summary.is_valid()),
        Outcome::Failed { .. } => {}
        Outcome::Skipped { reason } | Outcome::NotNeeded { reason } => panic!("{reason}"),
    }
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn targets_that_cannot_be_measured_are_refused_before_a_run() {
    let folder = suite("");
    let refused = |arguments: &[&str], code| refusal(folder.path(), arguments, code);
    assert!(refused(&["--target", "127.0.0.1:7007"], 2).contains("NAME=HOST:PORT"));
    assert!(refused(&["--target", "mine=127.0.0.1"], 2).contains("such as 192.0.2.7:7007"));
    assert!(refused(&["--target", "epoll=127.0.0.1:7007"], 2).contains("the name of a model"));
    assert!(refused(&["--target", "mine=host.invalid:7007"], 1).contains("cannot resolve"));
    assert!(refused(&["--target", "mine=unix:/nowhere/echo.sock"], 1).contains("start the server first"));
    assert!(refused(&["--target", "mine=192.0.2.7:7007"], 1).contains("--allow-remote"));
    let same = ["--target", "mine=127.0.0.1:1", "--server", "mine=sh {port}"];
    assert!(refused(&same, 1).contains("two servers have the name `mine`"));
    assert!(
        refused(&["--target", "mine=127.0.0.1:1"], 1).contains("start the server first"),
        "nothing listens on port 1"
    );
}
