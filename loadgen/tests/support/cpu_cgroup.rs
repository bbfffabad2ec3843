//! A cgroup with a processor quota, for programs that a test starts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;
use std::{fs, io, thread};

use loadgen::cgroup::{self, Version};

/// The period of the quota in microseconds, the usual one.
const PERIOD: u32 = 100_000;

/// A cgroup that is removed when it is dropped; by then its processes must have ended.
pub struct CpuCgroup(PathBuf);

impl CpuCgroup {
    /// A cgroup in which programs may use that percentage of a processor; or why this host does not
    /// allow it.
    pub fn new(name: &str, percent: u32) -> Result<Self, String> {
        let quota = PERIOD / 100 * percent;
        let mut reason = "there is no cpu controller".to_owned();
        for cgroup in cgroup::of(Path::new("/proc/self"), "cpu").map_err(|error| error.to_string())? {
            // In version 2 a cgroup with processes has no children with controllers.
            for parent in cgroup.levels() {
                let folder = parent.join(format!("echobench-test-{name}-{}", process::id()));
                match CpuCgroup::make(folder, cgroup.version, quota) {
                    Ok(made) => return Ok(made),
                    Err(error) => reason = error.to_string(),
                }
            }
        }
        Err(format!(
            "no cgroup with a processor quota can be made here: {reason}"
        ))
    }

    fn make(folder: PathBuf, version: Version, quota: u32) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        // From here on an early return removes it.
        let made = CpuCgroup(folder);
        let write = |file: &str, text: String| {
            // Not created, where the controller is missing.
            let file = fs::File::options().write(true).open(made.0.join(file));
            file.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
        };
        match version {
            Version::First => {
                write("cpu.cfs_period_us", PERIOD.to_string())?;
                write("cpu.cfs_quota_us", quota.to_string())?;
            }
            Version::Second => write("cpu.max", format!("{quota} {PERIOD}"))?,
        }
        Ok(made)
    }

    /// A command that runs a program in it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("sh");
        let script = "echo $$ >\"$0\" && exec \"$@\"";
        command
            .args(["-c", script])
            .arg(self.0.join("cgroup.procs"))
            .arg(program);
        command
    }
}

impl Drop for CpuCgroup {
    fn drop(&mut self) {
        // A process that has ended is a member until that is known everywhere.
        for _ in 0..1000 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
