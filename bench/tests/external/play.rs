//! The servers of this test: one that echoes and prints, and others with a fault each.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitCode, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bench::conformance::kit::wait::wait_until;
use bench::host::affinity;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getppid, setsid};

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
    if ["deaf", "scattered", "session"].contains(&kind.as_str()) {
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
                self.lead_a_session()?;
                let parent = fs::read_to_string(self.parent())?;
                wait_until(LIFE, || getppid().to_string() != parent);
                self.talk(echo)
            }
            "elsewhere" => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                eprintln!("my own port is {}", listener.local_addr()?.port());
                serve(listener, echo)
            }
            "vanishing" => {
                eprintln!("nothing to do");
                Ok(())
            }
            "runaway" => {
                setsid()?;
                serve(self.listen()?, echo)
            }
            // Has a child in a session of its own, and an orphan in another.
            "scattered" => {
                let _child = self.another("session")?;
                self.another("forking")?.wait()?;
                // The guard, which is in the group, must not mind.
                kill(Pid::from_raw(0), Signal::SIGTERM)?;
                serve(self.listen()?, echo)
            }
            "forking" => self.another("session").map(drop),
            "session" => {
                self.lead_a_session()?;
                self.be("idle")
            }
            // Lets another process have the port.
            "guest" => {
                self.ask_for_squatter()?;
                self.be("idle")
            }
            "tired" => {
                let listener = self.listen()?;
                let (client, _) = listener.accept()?;
                thread::spawn(move || echo(client));
                thread::sleep(Duration::from_millis(100));
                eprintln!("ending under load");
                Ok(())
            }
            "curt" => serve(self.listen()?, echo_once),
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
            other => panic!("there is no server `{other}`"),
        }
    }

    fn talk(&self, answer: fn(TcpStream) -> io::Result<()>) -> io::Result<()> {
        println!("ready or not, here I come");
        println!("started on {:?}", affinity::allowed()?);
        serve(self.listen()?, answer)
    }

    /// Finds its port taken at the first start.
    fn try_twice(&self) -> io::Result<()> {
        if squats(&self.folder).exists() {
            return serve(self.listen()?, echo);
        }
        self.ask_for_squatter()?;
        let error = self.listen().expect_err("the port is taken");
        eprintln!("{error}");
        exit(1)
    }

    fn lead_a_session(&self) -> io::Result<()> {
        setsid()?;
        fs::write(self.folder.join(format!("session-{}", process::id())), "")
    }

    fn parent(&self) -> PathBuf {
        self.folder.join("parent")
    }

    /// Has [`squat`] take the port.
    fn ask_for_squatter(&self) -> io::Result<()> {
        fs::write(wanted(&self.folder), self.port.to_string())?;
        assert!(
            wait_until(LIFE, || squats(&self.folder).exists()),
            "the port is taken"
        );
        Ok(())
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

/// Runs `action`, and takes the port that a server of that folder asks for meanwhile: the test is no
/// process of the server.
pub fn while_squatting<T>(folder: &Path, action: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut listener = None;
            wait_until(LIFE, || {
                let port = fs::read_to_string(wanted(folder)).unwrap_or_default();
                if let (None, Ok(port)) = (&listener, port.parse::<u16>()) {
                    listener = TcpListener::bind(("127.0.0.1", port)).ok();
                    fs::write(squats(folder), "").expect("a file can be written");
                }
                is_over.load(Ordering::SeqCst)
            });
        });
        let result = action();
        is_over.store(true, Ordering::SeqCst);
        result
    })
}

fn wanted(folder: &Path) -> PathBuf {
    folder.join("wanted")
}

fn squats(folder: &Path) -> PathBuf {
    folder.join("squats")
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

/// Ends the connection after one message.
fn echo_once(mut client: TcpStream) -> io::Result<()> {
    let mut message = [0; 64];
    client.read_exact(&mut message)?;
    client.write_all(&message)
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
