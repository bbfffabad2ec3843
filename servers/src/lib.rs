//! Interchangeable echo servers: one file per concurrency model, one contract for all.
//!
//! A reader who wants to know how a model works opens its file in [`models`]; what the
//! models have in common stands beside it, each thing once: [`listener`] accepts,
//! [`conn`] echoes, [`work`] burns or waits, [`stop`] ends, [`clients`] keeps what is
//! open, [`readiness`] is for event loops, [`tasks`] for runtimes, [`sys`] calls the kernel.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("echobench measures Linux on x86-64 and aarch64; other systems are not supported");

pub mod cli;
pub mod clients;
pub mod config;
pub mod conn;
pub mod listener;
pub mod models;
pub mod readiness;
pub mod stop;
pub mod sys;
pub mod tasks;
pub mod work;
