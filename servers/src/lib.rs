//! Interchangeable echo servers: one file per concurrency model, one contract for all.
//!
//! A reader who wants to know how a model works opens its file in [`models`]; what the
//! models have in common stands beside it, each thing once: [`listener`] accepts,
//! [`conn`] echoes, [`datagram`] says what is not echoed, [`work`] burns or waits,
//! [`stop`] ends, [`clients`] keeps what is open, [`readiness`] is for event loops,
//! [`ready_queue`] for those that hear of a thing only once, [`per_core`] for several of them,
//! [`tasks`] for runtimes, [`children`] and [`connection_slots`] for processes, [`sys`] calls the
//! kernel. [`by_design`] says which conformance cases do not apply to which kind of model.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("echobench measures Linux on x86-64 and aarch64; other systems are not supported");

pub mod by_design;
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
pub mod per_core;
pub mod readiness;
pub mod ready_queue;
pub mod stop;
pub mod sys;
pub mod tasks;
pub mod work;
