//! Hosts that no machine has, for tests.

use std::fs;

use record::{HostCheck, HostState, Placement, Remedy};
use servers::models;
use tempfile::TempDir;

use super::check::Check;
use super::needs::Needs;
use super::root::Root;

/// A host with these files, and no others.
pub struct Host(TempDir);

impl Host {
    pub fn with(files: &[(&str, &str)]) -> Self {
        let host = Host(tempfile::tempdir().unwrap());
        for (path, text) in files {
            host.write(path, text);
        }
        host
    }

    pub fn write(&self, path: &str, text: &str) {
        let file = self.root().path(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Makes a container of it.
    pub fn enclose(&self) {
        let mounts = self.root().text("/proc/self/mountinfo").unwrap_or_default();
        self.write(
            "/proc/self/mountinfo",
            &format!("{mounts}\n90 25 0:22 / /sys ro - sysfs sysfs ro\n"),
        );
        self.write("/.dockerenv", "");
    }

    pub fn root(&self) -> Root {
        Root::at(self.0.path())
    }

    pub fn check(&self, check: &Check, needs: &Needs) -> HostCheck {
        check.carry_out(&self.root(), needs)
    }

    /// The state that a check finds for some needs.
    pub fn state(&self, check: &Check, needs: &Needs) -> HostState {
        self.check(check, needs).state
    }
}

/// A host with one file.
pub fn host(path: &str, text: &str) -> Host {
    Host::with(&[(path, text)])
}

/// A run of these models under so many connections, on processors 0 and 1.
pub fn needs(names: &[&str], connections: usize) -> Needs {
    let models = names.iter().map(|name| models::find(name).unwrap());
    Needs {
        placement: Placement {
            server_cpus: vec![0],
            generator_cpus: vec![1],
        },
        models: models.map(|model| (model, None)).collect(),
        connections,
        generator_threads: 1,
        at_once: true,
        short_connections: false,
        over_tcp: true,
        io_uring: Ok(()),
    }
}

/// The command that mends what a check found.
pub fn command(check: &HostCheck) -> &str {
    match &check.remedy {
        Some(Remedy::Command(command)) => command,
        other => panic!("{other:?} of {check:?}"),
    }
}

/// How it is mended elsewhere.
pub fn elsewhere(check: &HostCheck) -> &str {
    match &check.remedy {
        Some(Remedy::Elsewhere(how)) => how,
        other => panic!("{other:?} of {check:?}"),
    }
}

/// `/proc/self/limits` with these soft and hard limits.
pub fn limits(descriptors: (&str, &str), processes: &str, locked: &str) -> String {
    let mut text = format!(
        "{:26}{:21}{:21}{:10}\n",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    );
    let unlimited = ("unlimited", "unlimited");
    let rows = [
        ("Max cpu time", unlimited, "seconds"),
        ("Max file size", unlimited, "bytes"),
        ("Max data size", unlimited, "bytes"),
        ("Max stack size", unlimited, "bytes"),
        ("Max core file size", unlimited, "bytes"),
        ("Max resident set", unlimited, "bytes"),
        ("Max processes", (processes, processes), "processes"),
        ("Max open files", descriptors, "files"),
        ("Max locked memory", (locked, locked), "bytes"),
        ("Max address space", unlimited, "bytes"),
        ("Max file locks", unlimited, "locks"),
        ("Max pending signals", unlimited, "signals"),
        ("Max msgqueue size", unlimited, "bytes"),
        ("Max nice priority", ("0", "0"), ""),
        ("Max realtime priority", ("0", "0"), ""),
        ("Max realtime timeout", unlimited, "us"),
    ];
    for (name, (soft, hard), unit) in rows {
        text += &format!("{name:26}{soft:21}{hard:21}{unit:10}\n");
    }
    text
}
