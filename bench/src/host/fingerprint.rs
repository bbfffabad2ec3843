//! The machine's fingerprint: what else a result depends on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use loadgen::record::Host;
use nix::sys::resource::{Resource, getrlimit};

use crate::host::affinity;

/// The settings of the kernel that change what is measured here.
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
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Host {
        kernel: first_line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()),
        architecture: std::env::consts::ARCH.into(),
        cpu_model: value(&processors, "model name"),
        cpus_online: processors_online(),
        cpus_allowed: affinity::allowed().unwrap_or_default(),
        memory_bytes: value(&memory, "MemTotal").and_then(|text| kibibytes(&text)),
        governor: first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        hypervisor: hypervisor(&processors),
        mitigations: mitigations(),
        sysctls: sysctls(),
        descriptor_limit: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard),
        compiler: env!("BUILT_BY").into(),
        commit: Some(env!("BUILT_FROM"))
            .filter(|commit| !commit.is_empty())
            .map(Into::into),
    }
}

/// The first line of a file, unless it is empty.
fn first_line(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().replace('\t', " ")).filter(|text| !text.is_empty())
}

/// The value of `name : value` in a file of the kernel.
fn value(text: &str, name: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .find(|(found, _)| found.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

fn kibibytes(text: &str) -> Option<u64> {
    Some(text.strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn processors_online() -> usize {
    let cpus = first_line("/sys/devices/system/cpu/online")
        .as_deref()
        .map(count_ranges);
    cpus.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into))
}

/// How many numbers `0-3,8,10-11` names.
fn count_ranges(ranges: &str) -> usize {
    let length = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        Some((last + 1).saturating_sub(first))
    };
    ranges.split(',').filter_map(length).sum()
}

/// The maker of the virtual machine, where the processor says that it is virtual.
fn hypervisor(processors: &str) -> Option<String> {
    let virtual_machine = value(processors, "flags")?
        .split(' ')
        .any(|flag| flag == "hypervisor");
    virtual_machine.then(|| first_line("/sys/class/dmi/id/sys_vendor").unwrap_or_else(|| "unknown".into()))
}

/// Only those that are active: they are what costs time.
fn mitigations() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return BTreeMap::new();
    };
    let active = |entry: fs::DirEntry| {
        let state = first_line(entry.path())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        state.starts_with("Mitigation").then_some((name, state))
    };
    entries.flatten().filter_map(active).collect()
}

fn sysctls() -> BTreeMap<String, String> {
    let setting = |name: &str| {
        Some((
            name.to_owned(),
            first_line(format!("/proc/sys/{}", name.replace('.', "/")))?,
        ))
    };
    SYSCTLS.into_iter().filter_map(setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_processors_are_counted() {
        assert_eq!(count_ranges("0"), 1);
        assert_eq!(count_ranges("0-3,8,10-11"), 7);
        assert_eq!(count_ranges(""), 0);
    }

    #[test]
    fn the_files_of_the_kernel_are_read() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nMemTotal:   1024 kB\n";
        assert_eq!(value(text, "model name"), Some("Some CPU @ 2 GHz".into()));
        assert_eq!(
            value(text, "MemTotal").and_then(|text| kibibytes(&text)),
            Some(1024 * 1024)
        );
        assert_eq!(value(text, "flags"), None);
    }

    #[test]
    fn this_machine_has_a_fingerprint() {
        let host = read();
        assert!(!host.kernel.is_empty() && host.cpus_online > 0 && host.descriptor_limit > 0);
        assert!(host.sysctls.contains_key("net.core.somaxconn"));
    }
}
