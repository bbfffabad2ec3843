//! Interchangeable echo servers: one file per concurrency model, one contract for all.
//!
//! The file of a model in [`models`] shows how it works. The modules beside it hold what
//! the models share, each thing once: [`model`] is their contract; [`listener`] binds and
//! accepts; [`conn`] echoes; [`datagram`] selects the datagrams to answer; [`work`]
//! simulates a handler; [`stop`] ends the server; [`clients`] tracks blocking connections;
//! [`workers`] starts threads ahead; [`readiness`] handles the listener in event loops;
//! [`ready_queue`] serves edge-triggered ones; [`descriptor_map`] finds a connection by its
//! descriptor; [`per_core`] runs several loops; [`tasks`] drives async runtimes; [`children`]
//! and [`connection_slots`] manage processes; [`panics`] ends a server that has a fault;
//! [`sys`] wraps system calls.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("echobench measures Linux on x86-64 and aarch64; other systems are not supported");

#[macro_use]
mod complain;

pub mod children;
pub mod cli;
pub mod clients;
pub mod config;
pub mod conn;
pub mod connection_slots;
pub mod datagram;
pub mod descriptor_map;
pub mod listener;
pub mod model;
pub mod models;
pub mod panics;
pub mod per_core;
pub mod readiness;
pub mod ready_queue;
pub mod stop;
pub mod sys;
pub mod tasks;
pub mod work;
pub mod workers;
