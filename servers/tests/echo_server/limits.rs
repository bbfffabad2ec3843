//! Models at the limits that their mechanism sets, and how they share work out.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Server, echo_server, exchange};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

/// Loops that hear of each event only once.
const TOLD_ONCE: [&str; 2] = ["epoll-et", "sigio"];

#[test]
fn select_turns_away_what_does_not_fit_into_its_sets_and_serves_the_rest() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let mut server = Server::start("select", &[]);
    let mut served = Vec::new();
    let mut turned_away = 0;
    for _ in 0..1100 {
        let mut client = server.connect();
        let _ = client.write_all(b"x");
        match client.read(&mut [0; 1]) {
            Ok(1) => served.push(client),
            Ok(_) => turned_away += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                turned_away += 1;
            }
        }
    }
    let fits = 1000..1024;
    assert!(fits.contains(&served.len()), "{} are served", served.len());
    assert_eq!(served.len() + turned_away, 1100);
    served
        .iter_mut()
        .for_each(|client| exchange(client, b"still here"));

    // A place that is free again is given to the next.
    drop(served.pop());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut client = server.connect();
        let _ = client.write_all(b"x");
        if client.read(&mut [0; 1]).is_ok_and(|length| length == 1) {
            break;
        }
        assert!(Instant::now() < deadline, "the place stays empty");
    }

    drop(served);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    let said = server.stderr();
    assert_eq!(said.matches("turned away").count(), 1, "{said}");
}

#[test]
fn sigio_loses_nothing_when_the_queue_of_signals_overflows() {
    for most in [0, 4, 40] {
        let server = Server::start("sigio", &[]);
        if limit(&server, &format!("--sigpending={most}")) {
            keep_busy(&server);
        }
    }
}

#[test]
fn loops_that_are_told_once_notice_each_end_among_many() {
    for model in TOLD_ONCE {
        keep_busy(&Server::start(model, &[]));
    }
}

/// Sets a limit of a server that runs; false if this host has no means to.
fn limit(server: &Server, limit: &str) -> bool {
    let status = Command::new("prlimit")
        .args([limit, "--pid", &server.child.id().to_string()])
        .status();
    let set = status.is_ok_and(|status| status.success());
    if !set {
        eprintln!("not checked: there is no prlimit(1) to set the limit with");
    }
    set
}

/// Fifty clients at once, each of which says something and ends.
fn keep_busy(server: &Server) {
    thread::scope(|scope| {
        for number in 0..50u8 {
            let mut client = server.connect();
            scope.spawn(move || {
                for round in 0..200u8 {
                    exchange(&mut client, &[number, round, 0, 255]);
                }
                // The end comes together with data, and the news of either may be lost.
                client.write_all(b"the end").unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                let mut rest = Vec::new();
                client.read_to_end(&mut rest).unwrap();
                assert_eq!(rest, b"the end");
            });
        }
    });
}

#[test]
fn a_stop_is_heard_while_signals_are_lost() {
    let mut server = Server::start("sigio", &["--drain", "100ms"]);
    if !limit(&server, "--sigpending=0") {
        return;
    }
    exchange(&mut server.connect(), b"all signals are lost");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_end_is_heard_that_comes_with_the_last_data() {
    for model in TOLD_ONCE {
        let server = Server::start(model, &[]);
        for length in [1, 100, 64 << 10, (64 << 10) + 1] {
            // Stopped, so that both wait in the socket before the server looks.
            server.signal(Signal::SIGSTOP);
            let mut client = server.connect();
            client.write_all(&vec![7; length]).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            thread::sleep(Duration::from_millis(20));
            server.signal(Signal::SIGCONT);
            let mut back = Vec::new();
            client
                .read_to_end(&mut back)
                .unwrap_or_else(|error| panic!("{model} does not see the end: {error}"));
            assert_eq!(back.len(), length, "{model}");
        }
    }
}

#[test]
fn the_end_is_heard_that_comes_while_the_server_waits_to_send() {
    for model in TOLD_ONCE {
        let server = Server::start(model, &[]);
        // More or less of it is still on its way when the server cannot send any more.
        for megabytes in 2..8 {
            let mut client = server.connect();
            let length = megabytes << 20;
            thread::scope(|scope| {
                let mut writer = client.try_clone().unwrap();
                scope.spawn(move || {
                    writer.write_all(&vec![7; length]).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                thread::sleep(Duration::from_millis(50));
                let mut back = Vec::new();
                let end = client.read_to_end(&mut back);
                end.unwrap_or_else(|error| panic!("{model} does not see the end: {error}"));
                assert_eq!(back.len(), length, "{model}");
            });
        }
    }
}

#[test]
fn a_client_that_always_has_more_does_not_starve_the_others() {
    for model in TOLD_ONCE {
        // A small buffer, so that the firehose fills it with each read.
        let server = Server::start(model, &["--buffer", "512B"]);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                let firehose = server.connect();
                let mut sink = firehose.try_clone().unwrap();
                let over = &over;
                scope.spawn(move || while sink.read(&mut [0; 1 << 16]).is_ok_and(|length| length > 0) {});
                scope.spawn(move || {
                    let mut firehose = firehose;
                    while !over.load(Relaxed) {
                        firehose.write_all(&[7; 1 << 16]).unwrap();
                    }
                    firehose.shutdown(Shutdown::Write).unwrap();
                });
            }
            let mut client = server.connect();
            for _ in 0..100 {
                exchange(&mut client, b"a small question");
            }
            over.store(true, Relaxed);
        });
    }
}

#[test]
fn data_after_an_urgent_byte_is_not_left_lying() {
    for model in TOLD_ONCE {
        let server = Server::start(model, &[]);
        server.signal(Signal::SIGSTOP);
        let client = socket2::Socket::from(server.connect());
        client.send(b"before").unwrap();
        client.send_out_of_band(b"!").unwrap();
        client.send(b"after").unwrap();
        server.signal(Signal::SIGCONT);
        let mut back = [0; 11];
        TcpStream::from(client).read_exact(&mut back).unwrap();
        assert_eq!(&back, b"beforeafter", "{model}");
    }
}

#[test]
fn two_workers_serve_fifty_connections_that_all_stay_open() {
    let mut server = Server::start("epoll-pool", &["--workers", "2"]);
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for round in 0..20u8 {
        for client in &mut clients {
            client.write_all(&[round; 32]).unwrap();
        }
        for client in &mut clients {
            let mut answer = [0; 32];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [round; 32]);
        }
    }
    server.signal(Signal::SIGTERM);
    clients
        .iter_mut()
        .for_each(|client| exchange(client, b"while it drains"));
    drop(clients);
    let begun = Instant::now();
    assert_eq!(server.wait().code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "the last one to go does not end the drain"
    );
}

#[test]
fn connections_spread_over_all_loops_and_the_address_stays_in_use() {
    let mut server = Server::start("epoll-multi", &["--workers", "3"]);
    let second = echo_server()
        .args(["epoll-multi", "--workers", "3", "--listen"])
        .arg(server.address.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        second.status.code() == Some(1) && said.contains("in use"),
        "{said}"
    );

    let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| exchange(client, b"hello"));
    let watched = watched_by_loops(server.child.id());
    // Each loop watches its listener besides.
    assert_eq!(watched.iter().sum::<usize>(), 203, "{watched:?}");
    assert!(
        watched.len() == 3 && watched.iter().all(|&count| count > 10),
        "{watched:?}"
    );

    server.signal(Signal::SIGTERM);
    clients
        .iter_mut()
        .for_each(|client| exchange(client, b"while it drains"));
    assert!(TcpStream::connect(server.address).is_err(), "somebody listens");
    drop(clients);
    assert_eq!(server.wait().code(), Some(0));
}

/// How many descriptors each epoll instance of a process watches.
fn watched_by_loops(process: u32) -> Vec<usize> {
    fs::read_dir(format!("/proc/{process}/fdinfo"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap_or_default())
        .map(|text| text.lines().filter(|line| line.starts_with("tfd:")).count())
        .filter(|&count| count > 0)
        .collect()
}

#[test]
fn the_limit_of_connections_counts_those_of_all_loops() {
    let server = Server::start("epoll-multi", &["--workers", "3", "--max-connections", "20"]);
    let clients: Vec<_> = (0..60).map(|_| server.connect()).collect();
    let served = clients.into_iter().filter_map(|mut client| {
        let _ = client.write_all(b"x");
        let served = client.read(&mut [0; 1]).is_ok_and(|length| length == 1);
        served.then_some(client)
    });
    assert_eq!(served.collect::<Vec<_>>().len(), 20);
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_at_the_write_deadline_and_not_without_one() {
    let bounded = Server::start("epoll", &["--write-deadline", "500ms"]);
    let patient = Server::start("epoll", &[]);
    let silent = |server: &Server| {
        let client = server.connect();
        client
            .set_write_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        while (&client).write(&[7; 1 << 16]).is_ok() {}
        client
    };
    let [bounded, patient] = [silent(&bounded), silent(&patient)];
    thread::sleep(Duration::from_millis(1500));
    let read = |mut client: TcpStream, most: u64| io::copy(&mut (&mut client).take(most), &mut io::sink());
    let error = read(bounded, u64::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    assert_eq!(read(patient, 1 << 20).unwrap(), 1 << 20);
}

#[test]
fn one_loop_of_many_says_what_it_is() {
    let mut server = Server::start("epoll-multi", &["--workers", "1"]);
    exchange(&mut server.connect(), b"alone");
    server.signal(Signal::SIGTERM);
    server.wait();
    assert!(server.stderr().contains("this is `epoll`"));
}

#[test]
fn those_that_were_turned_away_from_accept_are_served_once_there_is_room() {
    for model in ["spin", "select", "epoll-et", "epoll-pool", "epoll-multi", "sigio"] {
        let mut server = Server::start(model, &["--drain", "100ms"]);
        if !limit(&server, "--nofile=30") {
            return;
        }
        let mut clients: Vec<_> = (0..60).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
        // Each that leaves makes room for one that nobody will announce again.
        thread::scope(|scope| {
            for mut client in clients {
                scope.spawn(move || {
                    let answer = client.read_exact(&mut [0]);
                    answer.unwrap_or_else(|error| panic!("{model} forgets who waits: {error}"));
                });
            }
        });
        let _full: Vec<_> = (0..60).map(|_| server.connect()).collect();
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0), "{model} without a free descriptor");
    }
}
