//! The processor quota of a process: `cpu.max` of its cgroup and of those above it, or in version 1
//! `cpu.cfs_quota_us`.
//!
//! A cgroup that has used its quota up does not run for the rest of a period. The kernel counts such
//! periods at each level that has a quota.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use record::Throttling;

use crate::cgroup::{self, Cgroup, Version};

/// The quotas of a process, from its own cgroup outwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Quotas(Vec<Level>);

/// A cgroup with a quota.
#[derive(Debug, Clone, PartialEq)]
struct Level {
    version: Version,
    folder: PathBuf,
    /// Processors that the quota allows.
    processors: f64,
}

/// What a cgroup has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    periods: u64,
    throttled_periods: u64,
    /// Summed over processors.
    throttled: Duration,
}

impl Quotas {
    /// The quotas of a process, such as `/proc/self`; `None` if it has none, or none that can be read.
    pub fn of(process: &Path) -> Option<Self> {
        Quotas::of_cgroups(&cgroup::of(process, "cpu").unwrap_or_default())
    }

    /// The quotas of cgroups that may have the controller `cpu`, and of those above them.
    pub fn of_cgroups(cgroups: &[Cgroup]) -> Option<Self> {
        let levels = cgroups
            .iter()
            .flat_map(|cgroup| cgroup.levels().map(|folder| (cgroup.version, folder)));
        Quotas::at(levels)
    }

    fn at<'a>(folders: impl Iterator<Item = (Version, &'a Path)>) -> Option<Self> {
        let level = |(version, folder): (Version, &Path)| {
            Some(Level {
                version,
                folder: folder.into(),
                processors: quota(version, folder)?,
            })
        };
        let levels: Vec<Level> = folders.filter_map(level).collect();
        (!levels.is_empty()).then_some(Quotas(levels))
    }

    /// The processors that the tightest quota allows.
    pub fn processors(&self) -> f64 {
        { self.0.iter() }
            .map(|level| level.processors)
            .fold(f64::INFINITY, f64::min)
    }

    /// How many of this number of processors can run all the time, at least one.
    pub fn usable(&self, of: usize) -> usize {
        // A cast of more than fits gives the largest number.
        of.min(self.processors() as usize).max(1)
    }

    fn counts(&self) -> Vec<Counts> {
        { self.0.iter() }
            .map(|level| counts(level.version, &level.folder).unwrap_or_default())
            .collect()
    }
}

/// Counts what the quotas of a process do from its start on.
#[derive(Debug)]
pub struct QuotaClock {
    quotas: Quotas,
    before: Vec<Counts>,
    since: Instant,
}

impl QuotaClock {
    /// Starts a clock for a process, such as `/proc/self`; `None` if it has no quota.
    pub fn start(process: &Path) -> Option<Self> {
        Quotas::of(process).map(QuotaClock::of)
    }

    fn of(quotas: Quotas) -> Self {
        QuotaClock {
            before: quotas.counts(),
            quotas,
            since: Instant::now(),
        }
    }

    /// What has happened so far to a process that uses this number of processors. Of several levels
    /// the one counts that was throttled most.
    pub fn read(&self, processors: usize) -> Throttling {
        self.after(self.since.elapsed(), processors)
    }

    fn after(&self, passed: Duration, processors: usize) -> Throttling {
        let levels = { self.quotas.counts().into_iter().zip(&self.before) }.map(|(now, before)| Counts {
            periods: now.periods.saturating_sub(before.periods),
            throttled_periods: now.throttled_periods.saturating_sub(before.throttled_periods),
            throttled: now.throttled.saturating_sub(before.throttled),
        });
        let most = levels.max_by_key(|counts| (counts.throttled_periods, counts.throttled));
        let most = most.unwrap_or_default();
        let all_s = passed.as_secs_f64() * processors.max(1) as f64;
        let throttled_s = most.throttled.as_secs_f64();
        Throttling {
            quota: self.quotas.processors(),
            periods: most.periods,
            throttled_periods: most.throttled_periods,
            throttled_s,
            share: if all_s > 0.0 {
                (throttled_s / all_s).min(1.0)
            } else {
                0.0
            },
        }
    }
}

/// The processors that the quota of a cgroup allows, if it has one.
fn quota(version: Version, folder: &Path) -> Option<f64> {
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let (quota, period) = match version {
        Version::First => (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
        Version::Second => {
            let both = read("cpu.max")?;
            let (quota, period) = both.trim().split_once(' ')?;
            (quota.to_owned(), period.to_owned())
        }
    };
    // Without a quota version 1 has -1, and version 2 `max`.
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok()?;
    (period > 0).then(|| quota as f64 / period as f64)
}

fn counts(version: Version, folder: &Path) -> Option<Counts> {
    let text = fs::read_to_string(folder.join("cpu.stat")).ok()?;
    let value = |name: &str| -> Option<u64> {
        let mut fields = text.lines().filter_map(|line| line.split_once(' '));
        fields.find(|(this, _)| *this == name)?.1.trim().parse().ok()
    };
    Some(Counts {
        periods: value("nr_periods")?,
        throttled_periods: value("nr_throttled")?,
        throttled: match version {
            Version::First => Duration::from_nanos(value("throttled_time")?),
            Version::Second => Duration::from_micros(value("throttled_usec")?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A cgroup as the kernel shows it, with that quota in microseconds and these counts.
    fn cgroup(version: Version, quota: Option<u32>, stat: [u64; 3]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: String| fs::write(folder.path().join(file), text).unwrap();
        match version {
            Version::First => {
                let quota = quota.map_or("-1".to_owned(), |quota| quota.to_string());
                write("cpu.cfs_quota_us", format!("{quota}\n"));
                write("cpu.cfs_period_us", "100000\n".into());
            }
            Version::Second => {
                let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
                write("cpu.max", format!("{quota} 100000\n"));
            }
        }
        count(&folder, version, stat);
        folder
    }

    /// Sets the counts of a cgroup: periods, throttled ones, and throttled milliseconds.
    fn count(folder: &TempDir, version: Version, [periods, throttled, milliseconds]: [u64; 3]) {
        let (before, time, unit) = match version {
            Version::First => ("", "throttled_time", 1_000_000),
            Version::Second => (
                "usage_usec 9\nuser_usec 8\nsystem_usec 1\n",
                "throttled_usec",
                1000,
            ),
        };
        let text = format!(
            "{before}nr_periods {periods}\nnr_throttled {throttled}\n{time} {}\nnr_bursts 0\n",
            milliseconds * unit
        );
        fs::write(folder.path().join("cpu.stat"), text).unwrap();
    }

    fn quotas(version: Version, levels: &[&TempDir]) -> Option<Quotas> {
        Quotas::at(levels.iter().map(|level| (version, level.path())))
    }

    const VERSIONS: [Version; 2] = [Version::First, Version::Second];

    #[test]
    fn the_tightest_quota_of_all_levels_counts() {
        for version in VERSIONS {
            let none = cgroup(version, None, [0; 3]);
            let (two, half) = (
                cgroup(version, Some(200_000), [0; 3]),
                cgroup(version, Some(50_000), [0; 3]),
            );
            assert_eq!(quotas(version, &[&none]), None);
            let processors = |levels: &[&TempDir]| quotas(version, levels).unwrap().processors();
            assert_eq!(processors(&[&two, &none]), 2.0);
            assert_eq!(processors(&[&two, &half]), 0.5);
            assert_eq!(processors(&[&half, &none, &two]), 0.5);
        }
    }

    #[test]
    fn a_cgroup_without_a_controller_has_no_quota() {
        let empty = tempfile::tempdir().unwrap();
        for version in VERSIONS {
            assert_eq!(quotas(version, &[&empty]), None);
        }
    }

    #[test]
    fn whole_processors_of_the_quota_are_usable_and_at_least_one() {
        let usable = |quota, of| {
            let cgroup = cgroup(Version::Second, Some(quota), [0; 3]);
            quotas(Version::Second, &[&cgroup]).unwrap().usable(of)
        };
        assert_eq!((usable(50_000, 8), usable(199_999, 8)), (1, 1));
        assert_eq!((usable(200_000, 8), usable(200_000, 1)), (2, 1));
    }

    #[test]
    fn what_happened_since_the_start_is_counted_where_it_happened() {
        for version in VERSIONS {
            let own = cgroup(version, Some(200_000), [7, 5, 1000]);
            let above = cgroup(version, Some(400_000), [100, 50, 9000]);
            let clock = QuotaClock::of(quotas(version, &[&own, &above]).unwrap());
            let two_s = Duration::from_secs(2);
            let nothing = Throttling {
                quota: 2.0,
                ..Throttling::default()
            };
            assert_eq!(clock.after(two_s, 1), nothing);
            count(&own, version, [27, 5, 1000]);
            count(&above, version, [120, 69, 10_600]);
            let throttling = Throttling {
                periods: 20,
                throttled_periods: 19,
                throttled_s: 1.6,
                share: 0.4,
                ..nothing
            };
            assert_eq!(clock.after(two_s, 2), throttling);
            assert_eq!(
                clock.after(Duration::from_secs(1), 1).share,
                1.0,
                "not more than all"
            );
            assert_eq!(clock.after(Duration::ZERO, 1).share, 0.0);
        }
    }
}
