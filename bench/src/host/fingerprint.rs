//! The machine's fingerprint: what a result depends on beside the servers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use nix::sys::resource::{Resource, getrlimit};
use procfs::{CpuInfo, Current, Meminfo};
use record::{Host, processors};

use super::affinity;
use crate::proc;

/// The kernel settings that affect the measurements.
const SYSCTLS: [&str; 9] = [
    "net.core.netdev_max_backlog",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_wmem",
];

/// Reads the fingerprint of this machine.
pub fn read() -> Host {
    let processors = CpuInfo::current().ok();
    let model = processors.as_ref().and_then(|all| all.get_field(0, "model name"));
    Host {
        kernel: setting("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()),
        architecture: std::env::consts::ARCH.into(),
        cpu_model: model.map(Into::into),
        cpus_online: processors_online(),
        cpus_allowed: affinity::allowed().unwrap_or_default(),
        memory_bytes: Meminfo::current().ok().map(|memory| memory.mem_total),
        governor: setting("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        hypervisor: processors.as_ref().and_then(hypervisor),
        mitigations: mitigations(),
        sysctls: sysctls(),
        descriptor_limit: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard),
        compiler: env!("BUILT_BY").into(),
        profile: Some(env!("BUILT_AS").into()),
        commit: Some(env!("BUILT_FROM"))
            .filter(|commit| !commit.is_empty())
            .map(Into::into),
    }
}

/// The content of a one-line file; `None` if it is empty or missing.
fn setting(path: impl AsRef<Path>) -> Option<String> {
    let text = proc::read(path).ok()?;
    Some(text.trim().replace('\t', " ")).filter(|text| !text.is_empty())
}

fn processors_online() -> usize {
    let cpus = setting("/sys/devices/system/cpu/online").and_then(|list| processors::parse_list(&list).ok());
    cpus.map_or_else(
        || thread::available_parallelism().map_or(1, Into::into),
        |cpus| cpus.len(),
    )
}

/// The vendor of the virtual machine, if it is one.
fn hypervisor(processors: &CpuInfo) -> Option<String> {
    let vendor = || setting("/sys/class/dmi/id/sys_vendor").unwrap_or_else(|| "unknown".into());
    is_virtual(processors).then(vendor)
}

/// Whether these are the processors of a virtual machine: their flags include `hypervisor`.
pub fn is_virtual(processors: &CpuInfo) -> bool {
    let flags = processors.get_field(0, "flags").unwrap_or_default();
    flags.split(' ').any(|flag| flag == "hypervisor")
}

/// The active mitigations, since only these cost time.
fn mitigations() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return BTreeMap::new();
    };
    let active = |entry: fs::DirEntry| {
        let state = setting(entry.path())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        state.starts_with("Mitigation").then_some((name, state))
    };
    entries.flatten().filter_map(active).collect()
}

fn sysctls() -> BTreeMap<String, String> {
    let named = |name: &str| {
        let value = setting(format!("/proc/sys/{}", name.replace('.', "/")))?;
        Some((name.to_owned(), value))
    };
    SYSCTLS.into_iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_fingerprint() {
        let host = read();
        assert!(
            host.profile
                .is_some_and(|profile| ["debug", "release"].contains(&profile.as_str()))
        );
        assert!(!host.kernel.is_empty() && host.cpus_online > 0 && host.descriptor_limit > 0);
        assert!(host.sysctls.contains_key("net.core.somaxconn"));
        assert!(host.memory_bytes.is_some_and(|bytes| bytes > 1 << 20));
    }
}
