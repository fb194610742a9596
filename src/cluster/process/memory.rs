//! How much memory a child's process may take: by a control group of its own where this process may make
//! some, else by the limit of its data; and how it is known that a child ended for want of memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::mounts;

/// What holds a child's memory to its limit.
#[derive(Debug)]
pub enum Memory {
    /// Nothing.
    Free,
    /// A control group for each child.
    Groups(Groups),
    /// The limit of its data: memory that no file holds, whether used or not, in bytes.
    Data(u64),
}

impl Memory {
    /// The strictest that there is here. With a GPU its driver takes memory that counts as data and is none,
    /// so that control groups alone will do.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn limited(bytes: u64, has_gpu: bool) -> Result<Memory, String> {
        match Groups::make(Path::new("/"), std::process::id(), bytes) {
            Ok(groups) => Ok(Memory::Groups(groups)),
            Err(why) if has_gpu => Err(why),
            Err(why) => {
                tracing::info!("no control group for children: {why}");
                Ok(Memory::Data(bytes))
            }
        }
    }

    /// In words.
    pub fn describe(&self) -> &'static str {
        match self {
            Memory::Free => "without a limit",
            Memory::Groups(_) => "by a control group of its own",
            Memory::Data(_) => "by the limit of its data (as `ulimit -d`)",
        }
    }

    /// Holds a process that has just begun to the limit.
    pub(super) fn hold(&self, process: u32) -> io::Result<Held> {
        let group = match self {
            Memory::Free => None,
            Memory::Groups(groups) => Some(groups.hold(process)?),
            Memory::Data(bytes) => {
                limit_data(process, *bytes)?;
                None
            }
        };
        Ok(Held {
            group,
            is_data_limited: matches!(self, Memory::Data(_)),
            killed_before: killed_on_the_machine(),
        })
    }
}

#[cfg(target_os = "linux")]
fn limit_data(process: u32, bytes: u64) -> io::Result<()> {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    prlimit(process, Resource::Data, limit)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn limit_data(_process: u32, _bytes: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Processes that were killed for want of memory since the machine started, in any control group.
fn killed_on_the_machine() -> Option<u64> {
    number(&fs::read_to_string("/proc/vmstat").ok()?, "oom_kill")
}

/// The number on the line that begins with a name.
fn number(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().filter_map(|line| line.split_once(' '));
    let (_, number) = words.find(|(word, _)| *word == name)?;
    number.trim().parse().ok()
}

/// What a child is held by.
#[derive(Debug)]
pub(super) struct Held {
    group: Option<Group>,
    is_data_limited: bool,
    killed_before: Option<u64>,
}

impl Held {
    /// What was killed until now was not this process's next child.
    pub(super) fn again(&mut self) {
        self.killed_before = killed_on_the_machine();
    }

    /// Whether a process that a signal has ended, with these last words, ended for want of memory.
    pub(super) fn lacked_memory(&self, signal: i32, last_words: &str) -> bool {
        match signal {
            libc::SIGKILL => match &self.group {
                Some(group) => group.has_killed(),
                None => killed_on_the_machine() > self.killed_before,
            },
            // The runtime gives up with these words where it is refused memory.
            libc::SIGABRT => self.is_data_limited && last_words.contains("memory allocation of"),
            _ => false,
        }
    }
}

/// Control groups below this process's own, one for each child.
#[derive(Debug)]
pub struct Groups {
    own: PathBuf,
    /// Where this process itself is, for no group with others below may hold a process.
    leaf: PathBuf,
    bytes: u64,
    process: u32,
    next: AtomicU64,
}

impl Groups {
    /// Those of a process, with `/proc` and mounts below a root.
    fn make(root: &Path, process: u32, bytes: u64) -> Result<Groups, String> {
        let own = own_group(root)?;
        let has_memory = |file: &str| {
            let names = fs::read_to_string(own.join(file)).unwrap_or_default();
            names.split_whitespace().any(|name| name == "memory")
        };
        if !has_memory("cgroup.controllers") {
            return Err(format!("{} does not limit memory", own.display()));
        }
        let leaf = own.join(format!("nas-engine-worker-{process}"));
        let cannot = |what: &str, error: io::Error| format!("{what} {}: {error}", own.display());
        fs::create_dir(&leaf).map_err(|error| cannot("none can be made in", error))?;
        let moved =
            fs::write(leaf.join("cgroup.procs"), process.to_string()).and_then(
                |()| match has_memory("cgroup.subtree_control") {
                    true => Ok(()),
                    false => fs::write(own.join("cgroup.subtree_control"), "+memory"),
                },
            );
        if let Err(error) = moved {
            // Others are in it too.
            let _ = fs::write(own.join("cgroup.procs"), process.to_string());
            let _ = fs::remove_dir(&leaf);
            return Err(cannot("none can be used in", error));
        }
        Ok(Groups {
            own,
            leaf,
            bytes,
            process,
            next: AtomicU64::new(0),
        })
    }

    fn child(&self, number: u64) -> PathBuf {
        let name = format!("nas-engine-child-{}-{number}", self.process);
        self.own.join(name)
    }

    fn hold(&self, process: u32) -> io::Result<Group> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let group = Group {
            folder: self.child(number),
        };
        fs::create_dir(&group.folder)?;
        fs::write(group.folder.join("memory.max"), self.bytes.to_string())?;
        // Not everywhere: what would be swapped counts too, and all of it ends at once.
        let _ = fs::write(group.folder.join("memory.swap.max"), "0");
        let _ = fs::write(group.folder.join("memory.oom.group"), "1");
        fs::write(group.folder.join("cgroup.procs"), process.to_string())?;
        Ok(group)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for number in 0..self.next.load(Ordering::Relaxed) {
            let _ = fs::remove_dir(self.child(number));
        }
        // The group that this process is in can go when it has.
        let _ = fs::write(self.own.join("cgroup.subtree_control"), "-memory");
        let _ = fs::write(self.own.join("cgroup.procs"), self.process.to_string());
        let _ = fs::remove_dir(&self.leaf);
    }
}

/// A child's control group.
#[derive(Debug)]
struct Group {
    folder: PathBuf,
}

impl Group {
    fn has_killed(&self) -> bool {
        let events = fs::read_to_string(self.folder.join("memory.events"));
        number(&events.unwrap_or_default(), "oom_kill").is_some_and(|n| n > 0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.folder.join("cgroup.kill"), "1");
        // Until the last process in it is gone it stays, and then costs nothing.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The folder of this process's control group in the second version of control groups.
fn own_group(root: &Path) -> Result<PathBuf, String> {
    let none = || "there are no control groups of the second version".to_owned();
    let list = fs::read(root.join("proc/self/mountinfo")).map_err(|_| none())?;
    let mount = mounts::list(&list).find(|mount| mount.file_system == "cgroup2");
    let mount = mount.ok_or_else(none)?;
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).map_err(|_| none())?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let path = Path::new(path.ok_or_else(none)?);
    let below = path.strip_prefix(&mount.root).unwrap_or(path);
    let below = below.strip_prefix("/").unwrap_or(below);
    let mounted = mount.folder.strip_prefix("/").unwrap_or(&mount.folder);
    let folder = root.join(mounted).join(below);
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(format!("{} cannot be seen", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";

    /// A made-up machine whose control groups are plain files.
    fn machine(controllers: &str) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("sys/fs/cgroup/user.slice/run.scope");
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        fs::write(root.path().join("proc/self/mountinfo"), MOUNTS).unwrap();
        let groups = "4:memory:/elsewhere\n0::/user.slice/run.scope\n";
        fs::write(root.path().join("proc/self/cgroup"), groups).unwrap();
        fs::write(own.join("cgroup.controllers"), controllers).unwrap();
        (root, own)
    }

    #[test]
    fn a_child_has_a_group_of_its_own() {
        let (root, own) = machine("cpu memory pids\n");
        let read = |path: &str| fs::read_to_string(own.join(path)).unwrap();
        let groups = Groups::make(root.path(), 77, 4096).unwrap();
        assert_eq!(read("nas-engine-worker-77/cgroup.procs"), "77");
        assert_eq!(read("cgroup.subtree_control"), "+memory");
        let memory = Memory::Groups(groups);
        let (one, two) = (memory.hold(100).unwrap(), memory.hold(101).unwrap());
        for (folder, process) in [
            ("nas-engine-child-77-0", "100"),
            ("nas-engine-child-77-1", "101"),
        ] {
            assert_eq!(read(&format!("{folder}/memory.max")), "4096");
            assert_eq!(read(&format!("{folder}/cgroup.procs")), process);
        }
        let events = |text: &str| fs::write(own.join("nas-engine-child-77-0/memory.events"), text);
        events("low 0\nmax 9\noom 0\noom_kill 0\noom_group_kill 0\n").unwrap();
        assert!(!one.lacked_memory(libc::SIGKILL, ""));
        events("low 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 1\n").unwrap();
        assert!(one.lacked_memory(libc::SIGKILL, ""));
        assert!(!one.lacked_memory(libc::SIGSEGV, ""));
        assert!(!two.lacked_memory(libc::SIGKILL, ""), "the other's group");
    }

    #[test]
    fn where_no_group_can_be_made_it_is_told_why() {
        let (root, own) = machine("cpu pids\n");
        let why = |root: &Path| Groups::make(root, 77, 4096).unwrap_err();
        assert!(why(root.path()).contains("does not limit memory"));
        fs::write(own.join("cgroup.controllers"), "memory").unwrap();
        // Others are in the group, which the system refuses then: here it is a folder.
        fs::create_dir(own.join("cgroup.subtree_control")).unwrap();
        assert!(why(root.path()).contains("none can be used in"));
        assert!(
            fs::read_to_string(own.join("cgroup.procs")).unwrap() == "77",
            "back again"
        );
        fs::write(root.path().join("proc/self/mountinfo"), "").unwrap();
        assert!(why(root.path()).contains("second version"));
    }

    #[test]
    fn words_of_a_process_without_memory_count_where_there_is_a_limit() {
        let held = |is_data_limited| Held {
            group: None,
            is_data_limited,
            killed_before: killed_on_the_machine(),
        };
        let words = "memory allocation of 1048576 bytes failed";
        assert!(held(true).lacked_memory(libc::SIGABRT, words));
        assert!(!held(true).lacked_memory(libc::SIGABRT, "assertion failed"));
        assert!(!held(false).lacked_memory(libc::SIGABRT, words));
        assert_eq!(number("oom_kill_x 4\noom_kill 7\n", "oom_kill"), Some(7));
        assert_eq!(number("", "oom_kill"), None);
    }
}
