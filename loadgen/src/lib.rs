//! A load generator for echo servers.
//!
//! It checks every byte that comes back, keeps whole histograms instead of averages,
//! and shares no socket code with the servers that it measures.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("echobench measures Linux on x86-64 and aarch64; other systems are not supported");

pub mod histogram;
pub mod record;
