//! Limits on the memory of this process: those of its control groups, in which containers and jobs of
//! schedulers run, and its own (`ulimit`).

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::disk::mounts::{self, Mount};

/// The least limit in bytes, where there is any.
pub fn memory() -> Option<u64> {
    least(Path::new("/"))
}

/// As [`memory`], with `/proc` and the mounts below another root.
fn least(root: &Path) -> Option<u64> {
    let of_groups = groups(root).into_iter().flat_map(|group| group.limits());
    of_groups.chain(of_process(root)).min()
}

/// Limits of address space and of data: soft ones, by which memory is refused.
fn of_process(root: &Path) -> Vec<u64> {
    let text = fs::read_to_string(root.join("proc/self/limits")).unwrap_or_default();
    let limit = |line: &str| {
        let rest = ["Max address space", "Max data size"]
            .iter()
            .find_map(|name| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    text.lines().filter_map(limit).collect()
}

/// A control group of this process, as a folder.
struct Group {
    /// Where the hierarchy is mounted: the last folder that is looked at.
    mount: PathBuf,
    folder: PathBuf,
    /// Files that hold a limit.
    files: &'static [&'static str],
}

impl Group {
    /// Limits of the group and of all above it.
    fn limits(&self) -> Vec<u64> {
        let folders = self.folder.ancestors();
        let folders = folders.take_while(|folder| folder.starts_with(&self.mount));
        let files = folders.flat_map(|folder| self.files.iter().map(|file| folder.join(file)));
        // "max" is none, and so is the first version's number for it, which is more than any machine
        // has. Nothing runs with 0.
        let limit = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse().ok();
        files.filter_map(limit).filter(|&limit| limit > 0).collect()
    }
}

/// The groups of this process that limit memory, in either version of control groups.
fn groups(root: &Path) -> Vec<Group> {
    let own = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let list = fs::read(root.join("proc/self/mountinfo")).unwrap_or_default();
    let group = |mount: Mount| {
        // "0::/user.slice" of the second version, "4:memory:/slurm/uid_1/job_2" of the first.
        let (controller, files): (_, &[&str]) = match mount.file_system.as_str() {
            "cgroup2" => ("", &["memory.max", "memory.high"]),
            "cgroup" => ("memory", &["memory.limit_in_bytes"]),
            _ => return None,
        };
        let mut lines = own.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.split_once(':')
        });
        let has = |controllers: &str| controllers.split(',').any(|name| name == controller);
        let is_of_memory = controller.is_empty() || has(&mount.options);
        let (_, path) = lines.find(|(controllers, _)| has(controllers))?;
        is_of_memory.then(|| {
            let place = root.join(mount.folder.strip_prefix("/").unwrap_or(&mount.folder));
            Group {
                folder: folder(&place, &mount.root, Path::new(path)),
                mount: place,
                files,
            }
        })
    };
    mounts::list(&list).filter_map(group).collect()
}

/// Where a group lies below a mount of its hierarchy, whose own root is the group `root`. What cannot
/// be seen there, as in a name space of its own, is left out.
fn folder(mount: &Path, root: &Path, group: &Path) -> PathBuf {
    let below = group.strip_prefix(root).unwrap_or(group);
    let names = below.components().filter_map(|part| match part {
        Component::Normal(name) => Some(Some(name)),
        Component::ParentDir => Some(None),
        _ => None,
    });
    let names: Option<PathBuf> = names.collect();
    names
        .map(|names| mount.join(names))
        .filter(|folder| folder.is_dir())
        .unwrap_or_else(|| mount.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    /// A made-up machine: what `/proc/self` says, and files with their limits.
    fn limit(cgroup: &str, mountinfo: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/cgroup", cgroup);
        write("proc/self/mountinfo", mountinfo);
        for (path, text) in files {
            write(path, text);
        }
        least(root.path())
    }

    #[test]
    fn the_least_limit_from_the_own_group_upwards_counts() {
        let own = "0::/system.slice/job.scope\n";
        let at = |level: &str| format!("sys/fs/cgroup/{level}memory.max");
        let [top, slice, scope] = ["", "system.slice/", "system.slice/job.scope/"].map(at);
        let of = |limits: [&str; 3]| {
            let files = [
                (&*top, limits[0]),
                (&*slice, limits[1]),
                (&*scope, limits[2]),
            ];
            limit(own, V2, &files)
        };
        assert_eq!(of(["max\n", "max\n", "max\n"]), None);
        assert_eq!(of(["max\n", "max\n", "2147483648\n"]), Some(2 << 30));
        assert_eq!(of(["max\n", "2147483648\n", "max\n"]), Some(2 << 30));
        assert_eq!(of(["3000\n", "2000\n", "4000\n"]), Some(2000));
        assert_eq!(of(["1000\n", "2000\n", "4000\n"]), Some(1000));
        assert_eq!(of(["0\n", "\n", "a lot\n"]), None);
        let high = "sys/fs/cgroup/system.slice/memory.high";
        let files = [(&*scope, "5000\n"), (high, "4000\n")];
        assert_eq!(limit(own, V2, &files), Some(4000));
        let other = "sys/fs/cgroup/other.slice/memory.max";
        assert_eq!(limit(own, V2, &[(other, "1\n")]), None, "of another group");
        let above = "sys/fs/memory.max";
        assert_eq!(limit(own, V2, &[(above, "1\n")]), None, "above the mount");
    }

    #[test]
    fn the_first_version_has_a_hierarchy_for_memory() {
        let own = "5:cpu,cpuacct:/slurm\n4:memory:/slurm/uid_1/job_2\n0::/\n";
        let job = "sys/fs/cgroup/memory/slurm/uid_1/job_2/memory.limit_in_bytes";
        let user = "sys/fs/cgroup/memory/slurm/uid_1/memory.limit_in_bytes";
        let none = "9223372036854771712\n";
        assert_eq!(
            limit(own, V1, &[(job, "2147483648\n"), (user, none)]),
            Some(2 << 30)
        );
        assert_eq!(limit(own, V1, &[(job, none), (user, "4096\n")]), Some(4096));
        let of_cpu = "sys/fs/cgroup/cpu/slurm/memory.limit_in_bytes";
        assert_eq!(limit(own, V1, &[(of_cpu, "1\n")]), None);
        // Both versions at once: memory is in one of them.
        let both = format!("{V1}33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        assert_eq!(limit(own, &both, &[(job, "4096\n")]), Some(4096));
    }

    #[test]
    fn a_container_sees_its_group_at_the_mount() {
        let file = ("sys/fs/cgroup/memory.max", "4096\n");
        // In a name space of its own; of a mount that shows a part; where its own part is hidden.
        let part = V2.replace(" / /sys", " /docker/1 /sys");
        let hidden = V2.replace(" / /sys", " /../.. /sys");
        for (own, mounts) in [
            ("0::/\n", V2),
            ("0::/docker/1\n", &*part),
            ("0::/docker/1\n", V2),
            ("0::/../2\n", V2),
            ("0::/\n", &*hidden),
        ] {
            assert_eq!(limit(own, mounts, &[file]), Some(4096), "{own}{mounts}");
        }
        let below = ("sys/fs/cgroup/step_0/memory.max", "1024\n");
        assert_eq!(
            limit("0::/docker/1/step_0\n", &part, &[file, below]),
            Some(1024)
        );
    }

    #[test]
    fn limits_of_the_process_count_too() {
        let limits = |space: &str, data: &str| {
            let text = format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max cpu time              1                    unlimited            seconds   \n\
                 Max data size             {data}               unlimited            bytes     \n\
                 Max address space         {space}              unlimited            bytes     \n"
            );
            limit("0::/\n", V2, &[("proc/self/limits", &text)])
        };
        assert_eq!(limits("unlimited", "unlimited"), None);
        assert_eq!(limits("4096", "unlimited"), Some(4096));
        assert_eq!(limits("4096", "2048"), Some(2048));
        assert_eq!(limit("", "", &[]), None);
    }
}
