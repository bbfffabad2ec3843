//! The cgroups of a process, of version 1 or 2: `/proc/PID/cgroup`, `/proc/PID/mountinfo`.

use std::path::{Component, Path, PathBuf};
use std::{fs, io};

/// The versions of cgroups, which differ in their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Each controller has a hierarchy.
    First,
    /// One hierarchy for all.
    Second,
}

/// A cgroup that a process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Its version.
    pub version: Version,
    /// Its folder.
    pub folder: PathBuf,
    /// The folder of the outermost one that can be seen.
    mount: PathBuf,
}

impl Cgroup {
    /// Its folder, and the folders of those above it.
    pub fn levels(&self) -> impl Iterator<Item = &Path> {
        let is_inside = |folder: &&Path| folder.starts_with(&self.mount);
        self.folder.ancestors().take_while(is_inside)
    }
}

/// The cgroups of a process that may have a controller: of version 1 that with the controller, then
/// that of version 2. `process` is its folder, such as `/proc/self`.
pub fn of(process: &Path, controller: &str) -> io::Result<Vec<Cgroup>> {
    read(
        Path::new("/proc/self/mountinfo"),
        &process.join("cgroup"),
        controller,
    )
}

/// The same from the files that hold the mounts and the cgroups of a process.
pub fn read(mounts: &Path, member: &Path, controller: &str) -> io::Result<Vec<Cgroup>> {
    // The names of folders may have any bytes.
    let (mounts, member) = (fs::read(mounts)?, fs::read(member)?);
    let (mounts, member) = (String::from_utf8_lossy(&mounts), String::from_utf8_lossy(&member));
    let found = [Version::First, Version::Second].map(|version| find(version, controller, &mounts, &member));
    Ok(found.into_iter().flatten().collect())
}

fn find(version: Version, controller: &str, mounts: &str, member: &str) -> Option<Cgroup> {
    let path = member.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let controllers = fields.nth(1)?;
        // Version 2 has an empty list.
        let is_it = match version {
            Version::First => controllers.split(',').any(|this| this == controller),
            Version::Second => controllers.is_empty(),
        };
        is_it.then(|| fields.next())?
    })?;
    let path = Path::new(path);
    if path.components().any(|part| part == Component::ParentDir) {
        return None; // It is outside of the namespace of this process.
    }
    let mounts = || {
        { mounts.lines() }
            .filter_map(Mount::parse)
            .filter(|mount| mount.has(version, controller))
    };
    // In a container the mount may begin inside of the hierarchy. Of several the outermost shows most. If
    // the process is below none, as in a namespace of its own, a mount is what can be seen of its cgroup.
    let above = { mounts() }
        .filter(|mount| path.starts_with(mount.root))
        .min_by_key(|mount| mount.root.len());
    let mount = above.or_else(|| mounts().next())?;
    let inside = path.strip_prefix(mount.root).unwrap_or(Path::new(""));
    let place = mount.place();
    Some(Cgroup {
        version,
        // Without a slash at its end.
        folder: place.components().chain(inside.components()).collect(),
        mount: place,
    })
}

/// A line of `mountinfo`.
struct Mount<'a> {
    root: &'a str,
    place: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, source) = line.split_once(" - ")?;
        let place: Vec<_> = place.split(' ').collect();
        let source: Vec<_> = source.split(' ').collect();
        Some(Mount {
            root: place.get(3).copied()?,
            place: place.get(4).copied()?,
            kind: source.first().copied()?,
            options: source.get(2).copied()?,
        })
    }

    /// Its folder. The kernel writes a space in it as `\040`.
    fn place(&self) -> PathBuf {
        self.place.replace("\\040", " ").into()
    }

    fn has(&self, version: Version, controller: &str) -> bool {
        match version {
            Version::First => {
                self.kind == "cgroup" && self.options.split(',').any(|option| option == controller)
            }
            Version::Second => self.kind == "cgroup2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "32 31 0:29 / /cg/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                         39 31 0:36 / /cg/pids rw,relatime shared:7 - cgroup cgroup rw,pids\n";
    const SECOND: &str = "41 31 0:38 / /cg/unified rw,relatime - cgroup2 cgroup2 rw\n";
    const MEMBER: &str = "8:pids:/a/b\n4:cpu,cpuacct:/c\n0::/d/e\n";

    #[test]
    fn version_1_is_found_by_its_controller_and_version_2_by_its_type() {
        let folder = |version, controller, mounts: &str| {
            Some(
                find(version, controller, mounts, MEMBER)?
                    .folder
                    .to_str()?
                    .to_owned(),
            )
        };
        let both = FIRST.to_owned() + SECOND;
        for (controller, expected) in [("pids", "/cg/pids/a/b"), ("cpu", "/cg/cpu/c")] {
            assert_eq!(
                folder(Version::First, controller, &both).as_deref(),
                Some(expected)
            );
        }
        assert_eq!(folder(Version::First, "memory", &both), None);
        assert_eq!(folder(Version::First, "pids", SECOND), None);
        assert_eq!(
            folder(Version::Second, "pids", &both).as_deref(),
            Some("/cg/unified/d/e")
        );
        assert_eq!(folder(Version::Second, "pids", FIRST), None);
    }

    #[test]
    fn the_levels_end_at_the_mount() {
        let found = find(Version::Second, "cpu", SECOND, MEMBER).unwrap();
        let levels: Vec<_> = found.levels().collect();
        let expected = ["/cg/unified/d/e", "/cg/unified/d", "/cg/unified"];
        assert_eq!(levels, expected.map(Path::new));
        let outermost = find(Version::Second, "cpu", SECOND, "0::/\n").unwrap();
        assert_eq!(outermost.levels().collect::<Vec<_>>(), [Path::new("/cg/unified")]);
    }

    #[test]
    fn in_a_container_the_mount_may_begin_at_its_cgroup() {
        let mounts = SECOND.replace(" / /cg", " /docker/x /cg");
        let folder = |member| find(Version::Second, "cpu", &mounts, member).unwrap().folder;
        assert_eq!(folder("0::/docker/x\n"), Path::new("/cg/unified"));
        assert_eq!(folder("0::/docker/x/y\n"), Path::new("/cg/unified/y"));
        assert_eq!(folder("0::/\n"), Path::new("/cg/unified"));
        assert_eq!(folder("0::/docker/xy\n"), Path::new("/cg/unified"), "a sibling");
    }

    #[test]
    fn of_several_mounts_the_outermost_above_the_process_counts() {
        let part = SECOND.replace(" / /cg/unified", " /d /cg/part");
        let other = SECOND.replace(" / /cg/unified", " /other /cg/other\\040one");
        let folder = |mounts: &[&str]| {
            let found = find(Version::Second, "cpu", &mounts.concat(), MEMBER).unwrap();
            found.levels().map(Path::to_path_buf).collect::<Vec<_>>()
        };
        let all = ["/cg/unified/d/e", "/cg/unified/d", "/cg/unified"].map(PathBuf::from);
        assert_eq!(folder(&[&other, &part, SECOND]), all);
        assert_eq!(
            folder(&[&other, &part]),
            ["/cg/part/e", "/cg/part"].map(PathBuf::from)
        );
        assert_eq!(folder(&[&other]), [PathBuf::from("/cg/other one")]);
    }

    #[test]
    fn a_cgroup_outside_of_the_namespace_cannot_be_seen() {
        assert_eq!(find(Version::Second, "cpu", SECOND, "0::/../sibling\n"), None);
        // Its own, if the mount is that of the namespace outside.
        let outside = SECOND.replace(" / /cg", " /../.. /cg");
        let found = find(Version::Second, "cpu", &outside, "0::/\n").unwrap();
        assert_eq!(found.levels().collect::<Vec<_>>(), [Path::new("/cg/unified")]);
    }

    #[test]
    fn this_process_is_in_a_cgroup_that_can_be_read() {
        for cgroup in of(Path::new("/proc/self"), "cpu").unwrap() {
            assert!(cgroup.levels().count() > 0, "{cgroup:?}");
        }
    }
}
