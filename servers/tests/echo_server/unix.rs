//! Servers that listen on a Unix socket: the contract once more, and their file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::config::{Config, Workers};
use servers::listener::Transport;
use servers::models::{Family, MODELS, Model};
use tempfile::TempDir;

use crate::support::{
    LONG_DRAIN, TIME_OUT, echo_server, exchange, expect_end, start, wait_for_exit, wait_until,
};

/// A server on a Unix socket, killed at the end of the test.
struct Server {
    child: Child,
    path: PathBuf,
}

impl Server {
    /// Starts a model and waits until it is ready.
    fn start(model: &str, path: &Path, options: &[&str]) -> Self {
        let listen = unix(path);
        let (child, address) = start(echo_server(), model, &listen, options);
        assert_eq!(address, listen, "{model}");
        Server {
            child,
            path: path.into(),
        }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(TIME_OUT)).unwrap();
        stream
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        wait_for_exit(&mut self.child)
    }

    /// Stops it, and expects that it ends properly and removes its file.
    fn stop(mut self, model: &str) {
        self.signal(Signal::SIGTERM);
        self.expect_end(model);
    }

    /// The same for one that was signalled already.
    fn expect_end(&mut self, model: &str) {
        assert_eq!(self.wait().code(), Some(0), "{model}");
        assert!(!self.path.exists(), "{model} leaves its file behind");
    }

    fn wait_until_refused(&self) {
        wait_until("the server refuses connections", || {
            UnixStream::connect(&self.path).is_err()
        });
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// A folder, and a path in it.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    (folder, path)
}

/// Runs a check for each model with connections. The output names the model that failed.
fn for_each_model(check: impl Fn(&dyn Model, &Path)) {
    for model in MODELS {
        if model.transport() == Transport::Stream {
            eprintln!("model: {}", model.name());
            let (_folder, path) = place();
            check(*model, &path);
        }
    }
}

/// Runs a server that must refuse its arguments; returns the end of its standard error.
fn refused(model: &str, listen: &str, options: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = echo_server()
        .args([model, "--listen", listen])
        .args(options)
        .output()
        .unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(stdout.is_empty(), "it was ready");
    text
}

/// Sends bytes and their end; expects them back, and the end of the other side.
fn send_and_end(mut stream: UnixStream, length: usize) {
    let sent: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
    thread::scope(|scope| {
        let mut sender = stream.try_clone().unwrap();
        let sent = &sent;
        scope.spawn(move || {
            sender.write_all(sent).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == *sent, "{} of {length} bytes came back", back.len());
    });
}

#[test]
fn every_model_returns_the_exact_bytes_and_then_the_end() {
    for_each_model(|model, path| {
        let server = Server::start(model.name(), path, &[]);
        for length in [0, 1, 65_536, 3 << 20] {
            send_and_end(server.connect(), length);
        }
        server.stop(model.name());
    });
}

#[test]
fn several_clients_are_served_at_once_and_a_limit_closes_the_rest() {
    for_each_model(|model, path| {
        if model.at_once(&Config::default()) == Some(1) {
            return; // The others wait.
        }
        let server = Server::start(model.name(), path, &["--max-connections", "10"]);
        let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
        for client in &mut clients {
            exchange(client, b"hello");
        }
        expect_end(&mut server.connect());
        for client in &mut clients {
            exchange(client, b"still here");
        }
        drop(clients);
        server.stop(model.name());
    });
}

#[test]
fn loops_that_share_the_listener_all_learn_of_the_stop() {
    for_each_model(|model, path| {
        if model.workers() == Workers::Fixed {
            return;
        }
        let server = Server::start(model.name(), path, &["--workers", "3", "--drain", LONG_DRAIN]);
        for _ in 0..50 {
            exchange(&mut server.connect(), b"one of many");
        }
        server.stop(model.name());
    });
}

#[test]
fn only_the_user_of_the_server_may_connect() {
    let (_folder, path) = place();
    let _server = Server::start("epoll", &path, &[]);
    let file = fs::symlink_metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.mode() & 0o777, 0o600);
}

#[test]
fn after_a_stop_open_connections_are_served_and_new_ones_refused() {
    for_each_model(|model, path| {
        let mut server = Server::start(model.name(), path, &["--drain", LONG_DRAIN]);
        let mut client = server.connect();
        exchange(&mut client, b"before");
        server.signal(Signal::SIGTERM);
        server.wait_until_refused();
        exchange(&mut client, b"after");
        drop(client);
        server.expect_end(model.name());
    });
}

#[test]
fn open_connections_are_cut_off_at_the_end_of_the_drain_time() {
    for_each_model(|model, path| {
        let mut server = Server::start(model.name(), path, &["--drain", "100ms"]);
        let mut client = server.connect();
        exchange(&mut client, b"here");
        server.signal(Signal::SIGTERM);
        server.expect_end(model.name());
        expect_end(&mut client);
    });
}

#[test]
fn clients_in_the_queue_at_the_stop_are_served_or_see_the_end() {
    for_each_model(|model, path| {
        let mut server = Server::start(model.name(), path, &["--drain", LONG_DRAIN]);
        server.signal(Signal::SIGSTOP);
        let clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
        for mut client in &clients {
            client.write_all(b"queued").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
        server.signal(Signal::SIGTERM);
        server.signal(Signal::SIGCONT);
        for mut client in clients {
            let mut back = Vec::new();
            match client.read_to_end(&mut back) {
                Ok(_) => assert!(back.is_empty() || back == b"queued", "{back:?}"),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET)),
            }
        }
        server.expect_end(model.name());
    });
}

/// CPU time of a process and its children that have ended.
fn cpu_time(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = text.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = fields[11..15]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn a_stopped_server_sleeps_while_a_client_stays() {
    for_each_model(|model, path| {
        if model.name() == "spin" {
            return; // It never sleeps.
        }
        let server = Server::start(model.name(), path, &["--drain", LONG_DRAIN]);
        let mut client = server.connect();
        exchange(&mut client, b"here");
        server.signal(Signal::SIGTERM);
        server.wait_until_refused();
        exchange(&mut client, b"still here");
        let before = cpu_time(server.child.id());
        thread::sleep(Duration::from_millis(400));
        let used = cpu_time(server.child.id()) - before;
        // The listener stays readable for ever: a loop that still watched it would use all of the time.
        assert!(used <= Duration::from_millis(50), "{}: {used:?}", model.name());
    });
}

#[test]
fn a_file_that_a_killed_server_has_left_is_replaced() {
    for_each_model(|model, path| {
        let mut killed = Server::start(model.name(), path, &[]);
        killed.signal(Signal::SIGKILL);
        killed.wait();
        assert!(path.exists(), "nobody has removed it");
        wait_until("its children have ended too", || {
            UnixStream::connect(path).is_err()
        });
        let mut server = Server::start(model.name(), path, &[]);
        exchange(&mut server.connect(), b"hello");
        server.signal(Signal::SIGTERM);
        server.wait();
        let log = server.stderr();
        assert!(
            log.contains("nobody listens") && log.contains("replaced"),
            "{log}"
        );
    });
}

#[test]
fn a_socket_with_a_server_is_not_replaced() {
    let (_folder, path) = place();
    let server = Server::start("epoll", &path, &[]);
    let text = refused("thread", &unix(&path), &[]);
    assert!(
        text.contains("is in use") && text.contains("--listen") && text.contains(path.to_str().unwrap()),
        "{text}"
    );
    exchange(&mut server.connect(), b"undisturbed");

    // Nor one whose backlog is full: a connect does not succeed there.
    let full = path.with_extension("full");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&full).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _waiting = UnixStream::connect(&full).unwrap();
    let text = refused("epoll", &unix(&full), &[]);
    assert!(text.contains("is in use"), "{text}");
    assert!(full.exists());
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let (folder, path) = place();
    let socket = folder.path().join("other.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let kinds: [(&str, &dyn Fn()); 3] = [
        ("a file", &|| {
            File::create(&path).unwrap().write_all(b"precious").unwrap()
        }),
        ("a folder", &|| fs::create_dir(&path).unwrap()),
        // To a socket that would be replaced.
        ("a link", &|| symlink(&socket, &path).unwrap()),
    ];
    for (kind, create) in kinds {
        create();
        let before = fs::symlink_metadata(&path).unwrap();
        let text = refused("epoll", &unix(&path), &[]);
        assert!(
            text.contains("is not a socket") && text.contains("remove it yourself"),
            "{kind}: {text}"
        );
        let after = fs::symlink_metadata(&path).unwrap();
        assert_eq!(after.ino(), before.ino(), "{kind}");
        match before.is_dir() {
            true => fs::remove_dir(&path).unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
    }
    assert!(socket.exists());
}

#[test]
fn paths_that_cannot_be_listened_on_are_refused_with_advice() {
    let (folder, path) = place();
    let long = folder.path().join("x".repeat(100));
    for (listen, hint) in [
        (unix(&long), "at most 107"),
        ("unix:".into(), "unix:PATH"),
        (unix(&path.join("in-no-folder")), "does not exist"),
    ] {
        let text = refused("epoll", &listen, &[]);
        assert!(text.contains(hint), "{text}");
    }
}

#[test]
fn what_makes_no_sense_over_a_unix_socket_is_refused() {
    let (_folder, path) = place();
    for options in [
        ["--nodelay", "true"],
        ["--keepalive", "10s"],
        ["--write-deadline", "1s"],
    ] {
        let text = refused("epoll", &unix(&path), &options);
        assert!(
            text.contains(options[0]) && text.contains("an option of TCP"),
            "{text}"
        );
    }
    let text = refused("udp", &unix(&path), &[]);
    assert!(
        text.contains("`udp` uses UDP") && text.contains("ADDRESS:PORT"),
        "{text}"
    );
    assert!(!path.exists());
}

#[test]
fn a_server_removes_only_its_own_file() {
    for model in ["epoll", "fork", "prefork", "epoll-multi", "tokio"] {
        let (_folder, path) = place();
        let mut old = Server::start(model, &path, &[]);
        fs::remove_file(&path).unwrap();
        let new = Server::start(model, &path, &[]);
        old.signal(Signal::SIGTERM);
        assert_eq!(old.wait().code(), Some(0), "{model}");
        exchange(&mut new.connect(), b"in its place");
        new.stop(model);
    }
}

#[test]
fn a_server_that_drains_can_be_replaced_at_once() {
    for model in ["epoll", "thread", "prefork"] {
        let (_folder, path) = place();
        let mut old = Server::start(model, &path, &["--drain", LONG_DRAIN]);
        let mut client = old.connect();
        exchange(&mut client, b"of the old one");
        old.signal(Signal::SIGTERM);
        old.wait_until_refused();
        let new = Server::start(model, &path, &[]);
        exchange(&mut client, b"of the old one");
        drop(client);
        assert_eq!(old.wait().code(), Some(0), "{model}");
        exchange(&mut new.connect(), b"of the new one");
        new.stop(model);
    }
}

#[test]
fn a_process_that_ends_before_the_server_removes_nothing() {
    for_each_model(|model, path| {
        if model.family() != Family::Process {
            return;
        }
        let server = Server::start(model.name(), path, &[]);
        // Of `fork`, the first process has ended when the second client is served.
        for _ in 0..2 {
            send_and_end(server.connect(), 100);
        }
        assert!(path.exists(), "{}", model.name());
        server.stop(model.name());
    });
}

#[test]
fn a_second_signal_ends_the_server_and_the_next_one_starts() {
    let (_folder, path) = place();
    let mut server = Server::start("epoll", &path, &["--drain", LONG_DRAIN]);
    let mut client = server.connect();
    exchange(&mut client, b"here");
    server.signal(Signal::SIGTERM);
    server.wait_until_refused();
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait().code(), Some(128 + Signal::SIGINT as i32));
    Server::start("epoll", &path, &[]).stop("epoll");
}

#[test]
fn a_path_may_have_any_bytes() {
    let (folder, _) = place();
    let path = folder.path().join(OsStr::from_bytes(b"\xff=\xff"));
    let listen = [b"unix:", path.as_os_str().as_bytes()].concat();
    let mut child = echo_server()
        .args(["epoll", "--listen"])
        .arg(OsStr::from_bytes(&listen))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = Vec::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_until(b'\n', &mut line).unwrap();
    let mut server = Server { child, path };
    assert_eq!(line, [b"ready ", &listen[..], b"\n"].concat());
    exchange(&mut server.connect(), b"hello");
    server.signal(Signal::SIGTERM);
    server.expect_end("epoll");
}
