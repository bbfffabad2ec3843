//! The servers of this test: one that echoes and prints, and others with a fault each.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{self, Child, Command, ExitCode, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bench::conformance::kit::wait::wait_until;
use bench::host::affinity;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getppid, setsid};

/// The first argument of a process of this test that must be a server; its kind, the folder of its
/// test and its port follow.
pub const BE: &str = "--be";

/// Longer than any test needs a server; ends one that nothing else ends.
const LIFE: Duration = Duration::from_secs(300);

/// Runs one of the servers if this process was started for that.
pub fn play() -> Option<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [be, kind, folder, port] = arguments.as_slice() else {
        return None;
    };
    if be != BE {
        return None;
    }
    if kind == "deaf" {
        // Before other threads start, so that they inherit the mask.
        SigSet::from(Signal::SIGTERM)
            .thread_block()
            .expect("a signal can be blocked");
    }
    thread::spawn(|| {
        thread::sleep(LIFE);
        exit(1);
    });
    let start = Start {
        folder: folder.into(),
        port: port.parse().expect("the port is a number"),
    };
    start.be(kind).expect("the server works");
    Some(ExitCode::SUCCESS)
}

/// Whether the forgetful server answers no more.
static HAS_FORGOTTEN: AtomicBool = AtomicBool::new(false);

fn echo_until_forgotten(mut client: TcpStream) -> io::Result<()> {
    let mut message = [0; 64];
    loop {
        client.read_exact(&mut message)?;
        if !HAS_FORGOTTEN.load(Ordering::SeqCst) {
            client.write_all(&message)?;
        }
    }
}

/// The arguments of a server.
struct Start {
    folder: PathBuf,
    port: u16,
}

impl Start {
    fn be(&self, kind: &str) -> io::Result<()> {
        match kind {
            "talkative" => self.talk(echo),
            "loud" => self.talk(shout),
            "deaf" => {
                let _child = self.another("idle")?;
                serve(self.listen()?, echo)
            }
            "idle" => {
                thread::sleep(LIFE);
                Ok(())
            }
            "silent" => {
                eprintln!("waiting forever");
                self.be("idle")
            }
            "hasty" => {
                eprintln!("no configuration");
                exit(1)
            }
            "background" => {
                eprintln!("going into the background");
                fs::write(self.parent(), process::id().to_string())?;
                self.another("orphan").map(drop)
            }
            // Listens only after the first process has ended.
            "orphan" => {
                let parent = fs::read_to_string(self.parent())?;
                wait_until(LIFE, || getppid().to_string() != parent);
                self.talk(echo)
            }
            "elsewhere" => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                eprintln!("my own port is {}", listener.local_addr()?.port());
                serve(listener, echo)
            }
            "runaway" => {
                setsid()?;
                serve(self.listen()?, echo)
            }
            "tired" => {
                let listener = self.listen()?;
                let (client, _) = listener.accept()?;
                thread::spawn(move || echo(client));
                thread::sleep(Duration::from_millis(100));
                eprintln!("ending under load");
                Ok(())
            }
            // Answers for a while, then never again.
            "forgetful" => {
                let listener = self.listen()?;
                thread::spawn(|| {
                    thread::sleep(Duration::from_millis(700));
                    HAS_FORGOTTEN.store(true, Ordering::SeqCst);
                });
                serve(listener, echo_until_forgotten)
            }
            "unlucky" => self.try_twice(),
            "squatter" => {
                setsid()?;
                let _port = self.listen()?;
                fs::write(self.squats(), "")?;
                wait_until(LIFE, || self.folder.join("served").exists());
                Ok(())
            }
            other => panic!("there is no server `{other}`"),
        }
    }

    fn talk(&self, answer: fn(TcpStream) -> io::Result<()>) -> io::Result<()> {
        println!("ready or not, here I come");
        println!("started on {:?}", affinity::allowed()?);
        serve(self.listen()?, answer)
    }

    /// Finds its port taken at the first start, by a process outside of the group of the harness.
    fn try_twice(&self) -> io::Result<()> {
        if self.squats().exists() {
            fs::write(self.folder.join("served"), "")?;
            return serve(self.listen()?, echo);
        }
        let _squatter = self.another("squatter")?;
        assert!(wait_until(LIFE, || self.squats().exists()), "the port is taken");
        let error = self.listen().expect_err("the port is taken");
        eprintln!("{error}");
        exit(1)
    }

    fn parent(&self) -> PathBuf {
        self.folder.join("parent")
    }

    fn squats(&self) -> PathBuf {
        self.folder.join("squats")
    }

    fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind(("127.0.0.1", self.port))
    }

    fn another(&self, kind: &str) -> io::Result<Child> {
        Command::new(env::current_exe()?)
            .args([BE, kind])
            .arg(&self.folder)
            .arg(self.port.to_string())
            .spawn()
    }
}

fn serve(listener: TcpListener, answer: fn(TcpStream) -> io::Result<()>) -> io::Result<()> {
    for client in listener.incoming() {
        let client = client?;
        println!("a client connected");
        eprintln!("\x1b[31m{:?}\x1b[0m \u{1F980}", client.peer_addr()?);
        thread::spawn(move || answer(client));
    }
    Ok(())
}

fn echo(client: TcpStream) -> io::Result<()> {
    io::copy(&mut &client, &mut &client)?;
    client.shutdown(Shutdown::Write)
}

/// Answers something else than it gets.
fn shout(mut client: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match client.read(&mut buffer)? {
            0 => return client.shutdown(Shutdown::Write),
            length => {
                buffer.make_ascii_uppercase();
                client.write_all(&buffer[..length])?;
            }
        }
    }
}
