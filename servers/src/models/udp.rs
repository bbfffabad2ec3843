//! # `udp`: datagrams, without connections
//!
//! What it is: one thread and one socket for all clients. Each datagram is a separate request
//! and carries the address for the answer, so there is no client to accept, to track or to
//! close (UNP section 8.3).
//!
//! The loop:
//! 1. wait for a datagram and learn its source address;
//! 2. drop and count it if it was truncated, or if an answer could start a loop;
//! 3. do its work, and send it back;
//! 4. repeat.
//!
//! What it costs: two system calls per echo, and no memory per client. The client must do what
//! TCP does: a datagram that finds the queue full is lost, nothing is retransmitted, and a
//! slow request delays all requests queued behind it.
//!
//! When it wins: very many clients with rare, short requests, which retry if no answer comes.
//!
//! Manual pages: udp(7), recvfrom(2), sendto(2).
//!
//! Read next: `iterative`, to see how little this adds to it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;

use socket2::SockRef;

use crate::config::Config;
use crate::datagram::{self, Drops, Reason};
use crate::listener::{BACK_OFF, Listener, Transport};
use crate::model::{Family, Model};
use crate::stop;
use crate::sys::socket;

pub struct Udp;

impl Model for Udp {
    fn name(&self) -> &'static str {
        "udp"
    }

    fn family(&self) -> Family {
        Family::Datagram
    }

    fn summary(&self) -> &'static str {
        "one thread that answers each datagram where it came from"
    }

    fn transport(&self) -> Transport {
        Transport::Datagram
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        listener.announce()?;
        let mut echo = Echo {
            port: listener.socket().local_addr()?.port(),
            listener,
            buffer: vec![0; config.buffer],
            drops: Drops::default(),
        };
        while !stop::requested() {
            echo.answer_next(config)?;
        }
        echo.drain(config)?;
        if !echo.drops.is_empty() {
            complain!("echo-server: {}", echo.drops);
        }
        Ok(())
    }
}

struct Echo {
    listener: Listener,
    port: u16,
    buffer: Vec<u8>,
    drops: Drops,
}

impl Echo {
    /// Answers or drops one datagram; `false` when the socket is shut down and its queue empty.
    fn answer_next(&mut self, config: &Config) -> io::Result<bool> {
        let datagram = match socket::receive_from(self.listener.as_fd(), &mut self.buffer) {
            Ok(datagram) => datagram,
            Err(error) => return self.outlive(error).map(|()| true),
        };
        let Some(source) = datagram.source else {
            return Ok(false);
        };
        if let Some(reason) = datagram::refusal(source, self.port) {
            self.drops.count(reason, source);
        } else if let Some(message) = self.buffer.get(..datagram.length) {
            config.work.perform();
            if let Err(error) = self.send(message, source) {
                self.drops.count(Reason::Unsent, error);
            }
        } else {
            let what = format_args!("{} bytes from {source}", datagram.length);
            self.drops.count(Reason::TooLong, what);
        }
        Ok(true)
    }

    fn send(&self, message: &[u8], source: SocketAddr) -> io::Result<()> {
        let sent = SockRef::from(&self.listener).send_to(message, &source.into());
        sent.map(drop)
    }

    /// Answers the datagrams that were queued before the stop; later ones are not queued.
    fn drain(&mut self, config: &Config) -> io::Result<()> {
        let full = socket::dropped(self.listener.as_fd())?;
        socket::admit_nothing(self.listener.as_fd())?;
        while !stop::drain_left().is_zero() && self.answer_next(config)? {}
        let all = socket::dropped(self.listener.as_fd())?;
        self.drops.add(Reason::QueueFull, full.into());
        self.drops.add(Reason::Stopped, all.wrapping_sub(full).into());
        Ok(())
    }

    /// Continues after an error that does not concern the socket itself: the network returned
    /// an earlier answer, or memory is short.
    fn outlive(&mut self, error: io::Error) -> io::Result<()> {
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ENOBUFS | libc::ENOMEM) => thread::sleep(BACK_OFF),
            Some(libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH) => {
                self.drops.count(Reason::Unsent, error);
            }
            _ => return Err(error),
        }
        Ok(())
    }
}
