//! Limits of the generator's side, over both engines: ports, addresses and descriptors, and ten
//! thousand connections.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};

use loadgen::RunError;
use loadgen::plan::{CheckedPlan, PlanError};
use nix::sched::{CloneFlags, unshare};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use record::{ErrorKind, Finding, Load, Plan, SourceRange};

mod support;
use support::*;

/// Where the server listens in a network namespace, outside of the ports of connections.
const SERVER: &str = "127.0.0.1:7007";

/// Runs `act` in a network namespace that has only a loopback device, and connections from these
/// ports. If that is not permitted, prints so.
fn in_a_network_of_its_own(ports: &str, act: impl FnOnce() + Send) {
    engines();
    let separate = || -> Result<(), String> {
        // Threads and processes that this thread starts are in it too.
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        if !up.is_ok_and(|status| status.success()) {
            return Err("its loopback device cannot be started with `ip`".into());
        }
        for (name, value) in [("ip_local_port_range", ports), ("tcp_tw_reuse", "0")] {
            fs::write(format!("/proc/sys/net/ipv4/{name}"), value).map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        scope.spawn(|| match separate() {
            Ok(()) => act(),
            Err(error) => eprintln!("not tested, without a network namespace: {error}"),
        });
    });
}

/// Connections that are closed after some messages, with a long think time in between.
fn long_sessions(rate: f64, messages: u64) -> Plan {
    Plan {
        think: Duration::from_secs(10).into(),
        ..sessions(rate, Duration::from_millis(300), messages)
    }
}

#[test]
fn ports_that_run_out_are_a_limit_of_this_side_and_more_addresses_have_more() {
    let eight = [range("127.0.0.2-127.0.0.9")];
    for &engine in engines() {
        // Some 70 connections, of which none is closed for long.
        for (sources, suffice) in [(&[][..], false), (&eight, true)] {
            in_a_network_of_its_own("40000 40019", || {
                let plan = Plan {
                    engine,
                    sources: sources.to_vec(),
                    ..long_sessions(200.0, 2)
                };
                let load = run(server_of(TcpListener::bind(SERVER).unwrap(), echo), plan);
                let errors = &load.summary.errors;
                let expected: &[ErrorKind] = if suffice { &[] } else { &[ErrorKind::NoLocalPort] };
                assert!(errors.keys().eq(expected), "{errors:?}");
                let no_port = |finding: &Finding| matches!(finding, Finding::NoLocalPort(_));
                assert_eq!(load.summary.findings.iter().any(no_port), !suffice);
            });
        }
    }
}

#[test]
fn ports_in_time_wait_run_out_too() {
    for &engine in engines() {
        in_a_network_of_its_own("40000 40019", || {
            let plan = Plan {
                engine,
                ..long_sessions(500.0, 1)
            };
            let load = run(server_of(TcpListener::bind(SERVER).unwrap(), echo), plan);
            let errors = &load.summary.errors;
            assert!(errors.keys().eq([&ErrorKind::NoLocalPort]), "{errors:?}");
        });
    }
}

#[test]
fn a_socket_that_is_connected_to_itself_is_no_server() {
    for &engine in engines() {
        in_a_network_of_its_own("40000 40000", || {
            let target = "127.0.0.1:40000".parse().unwrap();
            let plan = Plan {
                engine,
                connections: Some(1),
                threads: Some(1),
                ..closed(1)
            };
            let error = run_to_error(target, plan);
            let kind = match &error {
                RunError::NoConnection { kind, .. } => Some(*kind),
                _ => None,
            };
            assert_eq!(kind, Some(ErrorKind::Refused), "{error}");
            assert!(error.to_string().contains("connected to itself"), "{error}");
        });
    }
}

#[test]
fn connections_come_from_each_address_in_turn() {
    let sources = range("127.0.0.2-127.0.0.4");
    for &engine in engines() {
        for plan in [closed(1), churn(1), long_sessions(200.0, 1)] {
            let witness = Arc::new(Witness::default());
            let seen = Arc::clone(&witness);
            let stay_open = plan.messages_per_connection().is_none();
            let plan = Plan {
                engine,
                connections: plan.connections.map(|_| 6),
                sources: vec![sources],
                ..plan
            };
            let load = run(server(move |stream| seen.echo(stream)), plan);
            assert_right(&load);
            let mut by_address = BTreeMap::<IpAddr, usize>::new();
            for end in witness.all_ended() {
                *by_address.entry(end.peer.ip()).or_default() += 1;
            }
            assert!(
                by_address.keys().copied().eq(sources.addresses()),
                "{by_address:?}"
            );
            if stay_open {
                assert!(by_address.values().all(|&number| number == 2), "{by_address:?}");
            }
        }
    }
}

fn range(text: &str) -> SourceRange {
    text.parse().unwrap()
}

#[test]
fn an_address_of_another_family_is_refused() {
    let plan = Plan {
        sources: vec![range("::1")],
        ..Plan::default()
    };
    let error = CheckedPlan::new(&plan, "127.0.0.1:7007".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("not of the family"), "{error}");
}

/// `loadgen run` that may open a hundred files.
fn with_a_hundred_files(target: &str, arguments: &[&str]) -> Output {
    Command::new("sh")
        .args(["-c", "ulimit -n 100 && exec \"$0\" run \"$@\""])
        .arg(env!("CARGO_BIN_EXE_loadgen"))
        .args([target, "--warmup", "50ms", "-d", "300ms", "--format", "json"])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn descriptors_that_run_out_are_a_limit_of_this_side() {
    let target = server(keep_silent).to_string();
    let refused = with_a_hundred_files(&target, &["-c", "50"]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("50 connections need more descriptors than the 100"),
        "{stderr}"
    );

    for engine in engines() {
        let engine = &engine.to_string();
        let output = with_a_hundred_files(&target, &["--connect-rate", "1k/s", "--engine", engine]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        let load: Load = serde_json::from_slice(&output.stdout).expect(&stderr);
        assert!(
            count(&load, ErrorKind::TooManyOpenFiles) > 0,
            "{:?}",
            load.summary.errors
        );
        let reasons = load.summary.reasons().join(" ");
        assert!(reasons.contains("ulimit -n"), "{reasons}");
    }
}

/// Makes this program a server, whose listener is its standard input.
const SERVER_VARIABLE: &str = "LOADGEN_TEST_SERVER";

/// A process that echoes, with descriptors of its own.
struct Server(Child);

impl Server {
    fn start(listener: TcpListener) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "the_server_of_a_process_of_its_own"])
            .env(SERVER_VARIABLE, "1")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Server(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_server_of_a_process_of_its_own() {
    if env::var_os(SERVER_VARIABLE).is_none() {
        return;
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let listening = EpollEvent::new(EpollFlags::EPOLLIN, u64::MAX);
    epoll.add(&listener, listening).unwrap();
    let mut streams = Vec::new();
    let mut events = vec![EpollEvent::empty(); 1024];
    let mut buffer = [0; 4096];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE).unwrap();
        for event in &events[..ready] {
            if event.data() == u64::MAX {
                let (stream, _) = listener.accept().unwrap();
                stream.set_nodelay(true).unwrap();
                let reading = EpollEvent::new(EpollFlags::EPOLLIN, streams.len() as u64);
                epoll.add(&stream, reading).unwrap();
                streams.push(Some(stream));
                continue;
            }
            let stream = &mut streams[event.data() as usize];
            let Some(open) = stream else { continue };
            match open.read(&mut buffer) {
                Ok(length @ 1..) => open.write_all(&buffer[..length]).unwrap_or(()),
                _ => *stream = None,
            }
        }
    }
}

#[test]
fn ten_thousand_connections_are_open() {
    const CONNECTIONS: usize = 10_000;
    for &engine in engines() {
        let listener = listen(4096);
        let target = listener.local_addr().unwrap();
        let _server = Server::start(listener);
        let plan = Plan {
            engine,
            connections: Some(CONNECTIONS),
            duration: time(Duration::from_secs(1)),
            sources: vec![range("127.0.0.2-127.0.0.5")],
            ..closed(1)
        };
        let plan = CheckedPlan::new(&plan, target.into());
        if let Err(error @ PlanError::Descriptors(_)) = plan {
            return eprintln!("not tested: {error}");
        }
        let load = loadgen::run(&plan.unwrap(), &mut (), &Default::default()).unwrap();
        assert_right(&load);
        assert_eq!(load.summary.connections.open, 10_000);
    }
}
