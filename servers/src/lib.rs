//! Interchangeable echo servers: one file per concurrency model, one contract for all.
//!
//! A reader who wants to know how a model works opens its file in [`models`]; what the
//! models have in common stands beside it, each thing once: [`listener`] accepts,
//! [`conn`] echoes, [`datagram`] says what is not echoed, [`work`] burns or waits,
//! [`stop`] ends, [`clients`] keeps what is open, [`readiness`] is for event loops,
//! [`turns`] for those that hear of a thing only once, [`loops`] for several of them,
//! [`tasks`] for runtimes, [`children`] and [`seats`] for processes, [`sys`] calls the
//! kernel.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("echobench measures Linux on x86-64 and aarch64; other systems are not supported");

pub mod children;
pub mod cli;
pub mod clients;
pub mod config;
pub mod conn;
pub mod datagram;
pub mod listener;
pub mod loops;
pub mod models;
pub mod readiness;
pub mod seats;
pub mod stop;
pub mod sys;
pub mod tasks;
pub mod turns;
pub mod work;
