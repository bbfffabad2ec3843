//! Models whose workers are processes, most of them started ahead: what the death of one
//! does, and what it does not.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{PATIENCE, Server, exchange};

const MODELS: [&str; 4] = ["prefork", "prefork-fcntl", "prefork-mutex", "prefork-fdpass"];

/// What a worker may die of without having a say in it, and with one.
const DEADLY: [Signal; 2] = [Signal::SIGKILL, Signal::SIGSEGV];

/// Runs a check for some models at the same time: a place is given to a child once a
/// second, so they wait more than they do.
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

/// Its worker processes.
fn workers(server: &Server) -> Vec<i32> {
    let pid = server.child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// The system call that a process is in, if it is in one.
fn system_call(pid: i32) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The worker that has the other end of a connection: the one process that holds its
/// socket, found as the kernel lists both.
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
    assert_eq!(holders.len(), 1, "one process has the connection: {holders:?}");
    holders[0]
}

fn expect_end(client: &mut TcpStream) {
    let end = client.read(&mut [0; 8]);
    let reset = end
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    assert!(reset || matches!(end, Ok(0)), "{end:?}");
}

/// Kills a worker, and waits until it is gone and another has its place.
fn kill_and_expect_another(server: &Server, victim: i32, signal: Signal) {
    let before = workers(server);
    kill(Pid::from_raw(victim), signal).unwrap();
    wait_until("the dead worker is not replaced", || {
        let now = workers(server);
        now.len() == before.len() && !now.contains(&victim)
    });
    let stayed = workers(server).iter().filter(|pid| before.contains(pid)).count();
    assert_eq!(stayed, before.len() - 1, "the others live on");
}

#[test]
fn the_workers_are_there_before_the_clients_and_as_many_as_were_asked_for() {
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
fn a_worker_that_is_killed_takes_its_own_client_along_and_is_replaced() {
    for_each(&MODELS, |model| {
        for signal in DEADLY {
            let server = Server::start(model, &["--workers", "3"]);
            let mut clients = [server.connect(), server.connect(), server.connect()];
            clients.iter_mut().for_each(|client| exchange(client, b"before"));
            let [victim, others @ ..] = &mut clients;
            kill_and_expect_another(&server, worker_of(&server, victim), signal);
            expect_end(victim);
            others.iter_mut().for_each(|client| exchange(client, b"after"));
            exchange(&mut server.connect(), b"in its place");
        }
    });
}

#[test]
fn a_process_for_one_client_takes_that_one_along() {
    for signal in DEADLY {
        let server = Server::start("fork", &[]);
        let mut clients = [server.connect(), server.connect()];
        clients.iter_mut().for_each(|client| exchange(client, b"before"));
        kill(Pid::from_raw(worker_of(&server, &clients[0])), signal).unwrap();
        expect_end(&mut clients[0]);
        exchange(&mut clients[1], b"after");
        wait_until("the dead child is not collected", || workers(&server).len() == 1);
    }
}

#[test]
fn every_worker_may_be_killed_while_it_is_idle() {
    for_each(&MODELS, |model| {
        for signal in DEADLY {
            let server = Server::start(model, &["--workers", "3"]);
            // Whichever of them has the lock, where there is one.
            for victim in workers(&server) {
                kill_and_expect_another(&server, victim, signal);
                exchange(&mut server.connect(), b"served");
            }
        }
    });
}

#[test]
fn the_lock_around_accept_is_held_by_one_worker_and_outlives_it() {
    for_each(&["prefork-fcntl", "prefork-mutex"], |model| {
        for signal in DEADLY {
            let server = Server::start(model, &["--workers", "4"]);
            for _ in 0..4 {
                let holder = holder(&server);
                kill_and_expect_another(&server, holder, signal);
                exchange(&mut server.connect(), b"served");
            }
        }
    });
}

/// The one worker in `accept`, once the others wait for the lock.
fn holder(server: &Server) -> i32 {
    let mut holder = None;
    wait_until("not one worker in accept and the others at the lock", || {
        let (accepting, others): (Vec<_>, Vec<_>) = workers(server)
            .into_iter()
            .partition(|pid| system_call(*pid) == Some(libc::SYS_accept4));
        holder = accepting.first().copied();
        let at_lock = |pid: &i32| {
            system_call(*pid).is_some_and(|call| [libc::SYS_futex, libc::SYS_fcntl].contains(&call))
        };
        accepting.len() == 1 && others.iter().all(at_lock)
    });
    holder.unwrap()
}

#[test]
fn a_limit_of_connections_holds_over_all_workers_and_outlives_them() {
    for_each(&MODELS, |model| {
        let mut server = Server::start(model, &["--workers", "6", "--max-connections", "2"]);
        // Once more than the limit: what the dead had taken is given back.
        for _ in 0..3 {
            let mut first = wait_for_service(&server);
            let mut second = wait_for_service(&server);
            expect_end(&mut server.connect());
            kill_and_expect_another(&server, worker_of(&server, &first), Signal::SIGKILL);
            expect_end(&mut first);
            exchange(&mut second, b"still here");
        }
        server.signal(Signal::SIGTERM);
        server.wait();
        let said = server.stderr();
        assert_eq!(
            said.matches("--max-connections").count(),
            1,
            "one says it for all: {said}"
        );
    });
}

/// A client that is served; an end is seen by the client a moment before the server.
fn wait_for_service(server: &Server) -> TcpStream {
    let mut served = None;
    wait_until("nobody is served again", || {
        let mut client = server.connect();
        let _ = client.write_all(b"x");
        let answered = matches!(client.read(&mut [0; 1]), Ok(1));
        served = answered.then_some(client);
        answered
    });
    served.unwrap()
}

#[test]
fn a_client_that_no_worker_is_free_for_is_served_when_one_has_died() {
    for_each(&MODELS, |model| {
        let mut server = Server::start(model, &["--workers", "2"]);
        let mut clients = [server.connect(), server.connect()];
        clients.iter_mut().for_each(|client| exchange(client, b"busy"));
        let mut third = server.connect();
        third.write_all(b"third").unwrap();
        third.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert_eq!(third.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        third.set_read_timeout(Some(PATIENCE)).unwrap();
        let victim = worker_of(&server, &clients[0]);
        kill_and_expect_another(&server, victim, Signal::SIGKILL);
        let mut answer = [0; 5];
        third.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"third");
        exchange(&mut clients[1], b"still here");
        drop((clients, third));
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0));
        let said = server.stderr();
        assert!(said.contains("SIGKILL"), "a death is not hidden: {said}");
        let shown = model != "prefork-fdpass" || said.contains("--workers");
        assert!(shown, "that one waits is not hidden: {said}");
    });
}

#[test]
fn workers_that_die_at_once_do_not_keep_the_machine_busy() {
    for_each(&MODELS, |model| {
        let server = Server::start(model, &["--workers", "2"]);
        let mut killed = HashSet::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            for worker in workers(&server) {
                let _ = kill(Pid::from_raw(worker), Signal::SIGKILL);
                killed.insert(worker);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let (started, seconds) = (killed.len(), begun.elapsed().as_secs() as usize);
        assert!(started > 2, "nobody was replaced");
        // In each of two places one a second, one that was there before, and one for the
        // part of a second that is not counted.
        assert!(started <= 2 * (seconds + 2), "{started} workers in {seconds} s");
        exchange(&mut server.connect(), b"served again");
    });
}

#[test]
fn workers_that_serve_have_the_drain_time_and_the_idle_end_at_once() {
    for_each(&MODELS, |model| {
        let mut server = Server::start(model, &["--workers", "8", "--drain", "60s"]);
        let mut client = server.connect();
        exchange(&mut client, b"before");
        let busy = worker_of(&server, &client);
        // As Ctrl-C on a terminal: to every process.
        for worker in workers(&server) {
            kill(Pid::from_raw(worker), Signal::SIGINT).unwrap();
        }
        exchange(&mut client, b"still here");
        assert_eq!(
            workers(&server).len(),
            8,
            "a signal to a worker is its parent's affair"
        );
        server.signal(Signal::SIGINT);
        if model != "prefork-fdpass" {
            wait_until("idle workers stay", || workers(&server) == [busy]);
        }
        exchange(&mut client, b"after");
        drop(client);
        assert_eq!(server.wait().code(), Some(0));
    });
}
