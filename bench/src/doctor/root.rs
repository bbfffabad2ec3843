//! The files of a host, below `/` or, in tests, below a folder that resembles it.

use std::path::{Path, PathBuf};

use loadgen::cgroup::{self, Cgroup};
use procfs::{CpuInfo, CpuTime, FromRead, FromReadSI, KernelStats, ProcResult, current_system_info};

use crate::host::fingerprint;
use crate::proc;

/// Where the files of a host are. Nothing here fails: what cannot be read or understood is absent.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

/// A limit of a process; the largest number if there is none.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// What holds now.
    pub soft: u64,
    /// What the process may raise it to.
    pub hard: u64,
}

impl Root {
    /// This host.
    pub fn host() -> Self {
        Root("/".into())
    }

    /// A folder that has the files of a host.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Root(folder.into())
    }

    /// Where a file is that a host has at `path`, which begins with a slash.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The content without space around it; `None` if it is empty.
    pub fn text(&self, path: &str) -> Option<String> {
        self.text_of(&self.path(path))
    }

    /// The content of a file that was found below the root.
    pub fn text_of(&self, file: &Path) -> Option<String> {
        let text = proc::read(file).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The only number in a file.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// A kernel setting by its `sysctl` name.
    pub fn sysctl(&self, name: &str) -> Option<u64> {
        self.number(&format!("/proc/sys/{}", name.replace('.', "/")))
    }

    /// A file as procfs understands it.
    pub fn parsed<T: FromRead>(&self, path: &str) -> Option<T> {
        let parsed: ProcResult<T> = T::from_file(self.path(path));
        parsed.ok()
    }

    /// What the processors together did since the start of the system.
    pub fn times(&self) -> Option<CpuTime> {
        let stat = KernelStats::from_file(self.path("/proc/stat"), current_system_info());
        stat.ok().map(|stat| stat.total)
    }

    /// The cgroups of this process that may have a controller; none if they cannot be seen.
    pub fn cgroups(&self, controller: &str) -> Vec<Cgroup> {
        let (mounts, member) = (self.path("/proc/self/mountinfo"), self.path("/proc/self/cgroup"));
        let cgroups = cgroup::read(&mounts, &member, controller).unwrap_or_default();
        { cgroups.into_iter() }
            .filter(|cgroup| cgroup.folder.exists())
            .collect()
    }

    /// Whether there is a file or a folder.
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// A limit of this process by its name in `/proc/self/limits`. (The parser of procfs panics if the
    /// file is not as it expects.)
    pub fn limit(&self, name: &str) -> Option<Limit> {
        let text = self.text("/proc/self/limits")?;
        let mut values = { text.lines() }
            .find_map(|line| line.strip_prefix(name))?
            .split_whitespace();
        let mut value = || match values.next()? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        };
        Some(Limit {
            soft: value()?,
            hard: value()?,
        })
    }

    /// A field of the status of this process.
    fn status(&self, name: &str) -> Option<String> {
        let text = self.text("/proc/self/status")?;
        let value = { text.lines() }.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }

    /// Whether this process has one of these capabilities, by their numbers.
    pub fn has_capability(&self, any_of: &[u32]) -> Option<bool> {
        let mask = u64::from_str_radix(&self.status("CapEff")?, 16).ok()?;
        Some(any_of.iter().any(|bit| mask >> bit & 1 == 1))
    }

    /// Whether a seccomp filter decides which system calls this process may make.
    pub fn has_seccomp_filter(&self) -> Option<bool> {
        Some(self.status("Seccomp")? == "2")
    }

    /// Whether the processor is that of a virtual machine.
    pub fn is_virtual_machine(&self) -> bool {
        let processors: Option<CpuInfo> = self.parsed("/proc/cpuinfo");
        processors.as_ref().is_some_and(fingerprint::is_virtual)
    }

    /// Whether this is a container that may not change its kernel: it has the mark of docker, podman or
    /// systemd, and sees kernel settings read-only. The mark alone is also in the image of a virtual
    /// machine that was made from a container.
    pub fn is_container(&self) -> bool {
        let marks = ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"];
        let mounts = self.text("/proc/self/mountinfo").unwrap_or_default();
        let is_protected = |mount: &str| {
            let fields: Vec<&str> = mount.split(' ').collect();
            let [_, _, _, _, place, options, ..] = fields[..] else {
                return false;
            };
            ["/sys", "/proc/sys"].contains(&place) && options.split(',').any(|option| option == "ro")
        };
        marks.iter().any(|mark| self.has(mark)) && mounts.lines().any(is_protected)
    }

    /// Whether a program is in one of the usual folders of programs.
    pub fn has_program(&self, name: &str) -> bool {
        let folders = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"];
        folders.iter().any(|folder| self.has(&format!("{folder}/{name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Host;
    use super::*;
    use std::fs;

    #[test]
    fn a_container_has_a_mark_and_may_not_change_its_kernel() {
        let protected = "30 25 0:22 / /sys ro,nosuid - sysfs sysfs ro\n";
        let open = "30 25 0:22 / /sys rw,nosuid - sysfs sysfs rw\n31 25 0:9 / /ro ro - tmpfs tmpfs ro\n";
        let with = |mark: Option<&str>, mounts: &str| {
            let files = [("/proc/self/mountinfo", mounts)];
            let host = Host::with(&files);
            if let Some(mark) = mark {
                host.write(mark, "");
            }
            host.root().is_container()
        };
        for mark in ["/.dockerenv", "/run/.containerenv"] {
            assert!(with(Some(mark), protected));
            assert!(
                !with(Some(mark), open),
                "a virtual machine from an image, or a container with privileges"
            );
            assert!(!with(Some(mark), "garbled"));
        }
        assert!(!with(None, protected));
    }

    #[test]
    fn a_process_may_have_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert_eq!(root.has_capability(&[0]), None);
        fs::create_dir_all(root.path("/proc/self")).unwrap();
        let status = b"Name:\ta\xff:\nCapEff:\t0000000000000004\nSeccomp:\t2\n";
        fs::write(root.path("/proc/self/status"), status).unwrap();
        assert_eq!(root.has_capability(&[1, 3]), Some(false));
        assert_eq!(root.has_capability(&[1, 2]), Some(true));
        assert_eq!(root.has_seccomp_filter(), Some(true));
    }
}
