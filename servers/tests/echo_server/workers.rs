//! Models whose workers are processes: the effects of the death of a worker.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{LONG_DRAIN, Server, blocked_in, exchange, expect_end, wait_until};

const MODELS: [&str; 4] = ["prefork", "prefork-fcntl", "prefork-mutex", "prefork-fdpass"];

/// Signals that kill a worker: one that it cannot catch, and one that it could.
const DEADLY: [Signal; 2] = [Signal::SIGKILL, Signal::SIGSEGV];

/// Runs a check for several models in parallel: most of the time they wait, since a worker
/// is replaced at most once per second.
fn for_each(models: &[&'static str], check: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        let check = &check;
        let threads: Vec<_> = models
            .iter()
            .map(|model| (model, scope.spawn(move || check(model))))
            .collect();
        for (model, thread) in threads {
            assert!(thread.join().is_ok(), "{model}");
        }
    });
}

/// The worker processes of a server.
fn workers(server: &Server) -> Vec<i32> {
    let pid = server.child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// The worker that serves a client: the only process that holds the socket, by the kernel's
/// lists of sockets and descriptors.
fn worker_of(server: &Server, client: &TcpStream) -> i32 {
    let (here, there) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
    let ports = format!(":{:04X} 0100007F:{:04X} ", here.port(), there.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().find(|line| line.contains(&ports)).unwrap();
    let inode = line.split_whitespace().nth(9).unwrap();
    let socket = format!("socket:[{inode}]");
    let holds = |pid: &i32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        let mut links = descriptors
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| fs::read_link(entry.path()));
        links.any(|link| link.is_ok_and(|link| link.as_os_str() == socket.as_str()))
    };
    let holders: Vec<i32> = workers(server).into_iter().filter(holds).collect();
    assert_eq!(holders.len(), 1, "one process holds the connection: {holders:?}");
    holders[0]
}

/// Kills a worker and waits for its replacement.
fn kill_and_wait_for_replacement(server: &Server, victim: i32, signal: Signal) {
    let before = workers(server);
    kill(Pid::from_raw(victim), signal).unwrap();
    wait_until("the dead worker is replaced", || {
        let now = workers(server);
        now.len() == before.len() && !now.contains(&victim)
    });
    let stayed = workers(server).iter().filter(|pid| before.contains(pid)).count();
    assert_eq!(stayed, before.len() - 1, "the others survive");
}

#[test]
fn the_requested_number_of_workers_exists_before_the_first_client() {
    for_each(&MODELS, |model| {
        assert_eq!(workers(&Server::start(model, &[])).len(), 64, "{model}");
        assert_eq!(
            workers(&Server::start(model, &["--workers", "3"])).len(),
            3,
            "{model}"
        );
    });
}

#[test]
fn a_killed_worker_loses_only_its_own_client_and_is_replaced() {
    for_each(&MODELS, |model| {
        for signal in DEADLY {
            let server = Server::start(model, &["--workers", "3"]);
            let mut clients = [server.connect(), server.connect(), server.connect()];
            clients.iter_mut().for_each(|client| exchange(client, b"before"));
            let [victim, others @ ..] = &mut clients;
            kill_and_wait_for_replacement(&server, worker_of(&server, victim), signal);
            expect_end(victim);
            others.iter_mut().for_each(|client| exchange(client, b"after"));
            exchange(&mut server.connect(), b"in its place");
        }
    });
}

#[test]
fn a_killed_process_of_fork_loses_only_its_own_client() {
    for signal in DEADLY {
        let server = Server::start("fork", &[]);
        let mut clients = [server.connect(), server.connect()];
        clients.iter_mut().for_each(|client| exchange(client, b"before"));
        kill(Pid::from_raw(worker_of(&server, &clients[0])), signal).unwrap();
        expect_end(&mut clients[0]);
        exchange(&mut clients[1], b"after");
        wait_until("the dead child is reaped", || workers(&server).len() == 1);
    }
}

#[test]
fn any_idle_worker_may_be_killed() {
    for_each(&MODELS, |model| {
        for signal in DEADLY {
            let server = Server::start(model, &["--workers", "3"]);
            // One of them holds the lock, if the model has one.
            for victim in workers(&server) {
                kill_and_wait_for_replacement(&server, victim, signal);
                exchange(&mut server.connect(), b"served");
            }
        }
    });
}

#[test]
fn the_lock_around_accept_has_one_holder_and_survives_it() {
    for_each(&["prefork-fcntl", "prefork-mutex"], |model| {
        for signal in DEADLY {
            let server = Server::start(model, &["--workers", "4"]);
            for _ in 0..4 {
                let holder = holder(&server);
                kill_and_wait_for_replacement(&server, holder, signal);
                exchange(&mut server.connect(), b"served");
            }
        }
    });
}

/// The worker in `accept`, once all others wait for the lock.
fn holder(server: &Server) -> i32 {
    let mut holder = None;
    wait_until("one worker is in accept and the others wait for the lock", || {
        let (accepting, others): (Vec<_>, Vec<_>) = workers(server)
            .into_iter()
            .partition(|pid| blocked_in(*pid, *pid) == Some(libc::SYS_accept4));
        holder = accepting.first().copied();
        let at_lock = |pid: &i32| {
            blocked_in(*pid, *pid).is_some_and(|call| [libc::SYS_futex, libc::SYS_fcntl].contains(&call))
        };
        accepting.len() == 1 && others.iter().all(at_lock)
    });
    holder.unwrap()
}

#[test]
fn the_connection_limit_applies_to_all_workers_and_survives_them() {
    for_each(&MODELS, |model| {
        let mut server = Server::start(model, &["--workers", "6", "--max-connections", "2"]);
        // One round more than the limit: dead workers must give their slots back.
        for _ in 0..3 {
            let mut first = server.wait_for_service();
            let mut second = server.wait_for_service();
            expect_end(&mut server.connect());
            kill_and_wait_for_replacement(&server, worker_of(&server, &first), Signal::SIGKILL);
            expect_end(&mut first);
            exchange(&mut second, b"still here");
        }
        server.signal(Signal::SIGTERM);
        server.wait();
        let log = server.stderr();
        assert_eq!(
            log.matches("--max-connections").count(),
            1,
            "one worker reports it for all: {log}"
        );
    });
}

#[test]
fn a_client_without_a_free_worker_is_served_after_one_has_died() {
    for_each(&MODELS, |model| {
        let mut server = Server::start(model, &["--workers", "2"]);
        let mut clients = [server.connect(), server.connect()];
        clients.iter_mut().for_each(|client| exchange(client, b"busy"));
        let mut third = server.connect();
        third.write_all(b"third").unwrap();
        wait_until_blocked(&server);
        third.set_nonblocking(true).unwrap();
        assert_eq!(third.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        third.set_nonblocking(false).unwrap();
        let victim = worker_of(&server, &clients[0]);
        kill_and_wait_for_replacement(&server, victim, Signal::SIGKILL);
        let mut answer = [0; 5];
        third.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"third");
        exchange(&mut clients[1], b"still here");
        drop((clients, third));
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0));
        let log = server.stderr();
        assert!(log.contains("SIGKILL"), "the death is reported: {log}");
        let reported = model != "prefork-fdpass" || log.contains("--workers");
        assert!(reported, "the waiting client is reported: {log}");
    });
}

/// Waits until all processes of the server are blocked: nothing more happens then without
/// further input.
fn wait_until_blocked(server: &Server) {
    wait_until("all processes of the server are blocked", || {
        let mut processes = workers(server);
        processes.push(server.pid());
        processes.iter().all(|pid| blocked_in(*pid, *pid).is_some())
    });
}

#[test]
fn each_worker_is_replaced_at_most_once_per_second() {
    for_each(&MODELS, |model| {
        let begun = Instant::now();
        let server = Server::start(model, &["--workers", "2"]);
        let mut killed = HashSet::new();
        // Two workers make seven processes with at least three replacements of one of them.
        wait_until("dead workers are replaced", || {
            for worker in workers(&server) {
                let _ = kill(Pid::from_raw(worker), Signal::SIGKILL);
                killed.insert(worker);
            }
            killed.len() >= 7
        });
        let elapsed = begun.elapsed();
        assert!(elapsed >= Duration::from_secs(3), "{model}: {elapsed:?}");
        // A dying worker may have accepted the first client.
        server.wait_for_service();
    });
}

#[test]
fn busy_workers_have_the_drain_time_and_idle_ones_end_at_once() {
    for_each(&MODELS, |model| {
        let mut server = Server::start(model, &["--workers", "8", "--drain", LONG_DRAIN]);
        let mut client = server.connect();
        exchange(&mut client, b"before");
        let busy = worker_of(&server, &client);
        // Ctrl-C on a terminal signals every process. Workers leave that to their parent.
        let all = workers(&server);
        for worker in &all {
            assert!(ignores(*worker, Signal::SIGINT), "{model}");
            kill(Pid::from_raw(*worker), Signal::SIGINT).unwrap();
        }
        exchange(&mut client, b"still here");
        assert_eq!(workers(&server), all);
        server.signal(Signal::SIGINT);
        if model != "prefork-fdpass" {
            wait_until("idle workers end", || workers(&server) == [busy]);
        }
        exchange(&mut client, b"after");
        drop(client);
        assert_eq!(server.wait().code(), Some(0));
    });
}

fn ignores(pid: i32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    ignored & 1 << (signal as i32 - 1) != 0
}
