//! A server process that is killed while it is loaded, and another that takes its port, over both
//! engines. What follows for the latencies is proved in virtual time.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use loadgen::Observer;
use record::histogram::Statistic;
use record::{Arrivals, Finding, Load, Plan};

mod support;
use support::*;

/// Makes this program a server, whose listener is its standard input.
const SERVER_VARIABLE: &str = "LOADGEN_TEST_SERVER";

/// What the server prints for each connection that it has answered some messages on.
const SERVED: &str = "served a connection";

/// Messages that count as some: the load has begun, and the first message alone is not it.
const SOME: usize = 5;

/// How long there is no server, at least.
const OUTAGE: Duration = Duration::from_millis(50);

/// A process that echoes.
struct Server {
    child: Child,
    /// A line for each connection that was served.
    served: mpsc::Receiver<()>,
}

impl Server {
    fn start(listener: TcpListener) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "the_server_of_a_process_of_its_own", "--nocapture"])
            .env(SERVER_VARIABLE, "1")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (serving, served) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains(SERVED) && serving.send(()).is_err() {
                    return;
                }
            }
        });
        Server { child, served }
    }

    /// Waits until it has served that many connections. The time-out only turns a hang into a failure.
    fn wait_for(&self, connections: usize) {
        for _ in 0..connections {
            self.served
                .recv_timeout(Duration::from_secs(60))
                .expect("the server is loaded");
        }
    }
}

/// Kills it.
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_server_of_a_process_of_its_own() {
    if env::var_os(SERVER_VARIABLE).is_none() {
        return;
    }
    let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(stream));
    }
}

fn serve(mut stream: TcpStream) {
    let mut message = [0; 64];
    let mut answers = 0;
    while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {
        answers += 1;
        if answers == SOME {
            println!("{SERVED}");
        }
    }
}

/// Tells when the window is open.
struct Opened(mpsc::Sender<()>);

impl Observer for Opened {
    fn window_opened(&mut self) {
        let _ = self.0.send(());
    }
}

/// Loads a server with four connections. Once the window is open, it is killed, and another one is
/// started. Ends when that has served all of them.
fn restarted(plan: Plan) -> Load {
    // No connection comes from this address, so none takes the port while there is no server.
    let listener = TcpListener::bind("127.0.0.77:0").unwrap();
    let target = listener.local_addr().unwrap();
    let plan = checked(target, plan);
    let stop = AtomicBool::new(false);
    let (opened, is_open) = mpsc::channel();
    let first = Server::start(listener);
    let load = thread::scope(|scope| {
        // Whatever fails, the run must end.
        let stops = Stops(&stop);
        let restarting = scope.spawn(move || {
            let _stops = stops;
            is_open
                .recv_timeout(Duration::from_secs(60))
                .expect("the window opens");
            first.wait_for(4);
            drop(first);
            thread::sleep(OUTAGE);
            let second = Server::start(TcpListener::bind(target).unwrap());
            second.wait_for(4);
            second
        });
        let load = loadgen::run(&plan, &mut Opened(opened), &stop);
        // The second server runs until the load has ended.
        drop(restarting.join().unwrap());
        load
    });
    load.unwrap()
}

struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_server_that_is_killed_and_restarted_is_in_the_latencies() {
    let hour = Duration::from_secs(3600);
    for &engine in engines() {
        for plan in [closed(1), closed(8), open(500.0, hour, Arrivals::Constant)] {
            let load = restarted(Plan {
                engine,
                reconnect: true,
                duration: time(hour),
                ..plan
            });
            let name = format!("{engine}: {:?}", load.summary);
            let seen = load.summary.reconnects.unwrap();
            assert_eq!((seen.lost, seen.reopened), (4, 4), "{name}");
            assert!(seen.longest_s >= OUTAGE.as_secs_f64(), "{name}");
            assert_eq!(load.summary.errors.values().sum::<u64>(), 4, "{name}");
            let connections = load.summary.connections;
            assert_eq!((connections.open, connections.answered), (4, 4), "{name}");
            // In the latencies of some messages in flight, or of those that became due.
            let main = load.summary.latencies.main().unwrap();
            let max = main.known(Statistic::Max).unwrap();
            assert!(max.value() >= OUTAGE.as_micros() as f64, "{name}");
            let reasons: Vec<_> = { own_reasons(&load).into_iter() }
                .filter(|finding| !matches!(finding, Finding::Interrupted { .. }))
                .collect();
            assert!(reasons.is_empty(), "{reasons:?}");
        }
    }
}
