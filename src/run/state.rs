//! Whether anybody works on a run, found out without disturbing whoever does: from what its journal
//! says and from the kernel's list of locks, because trying the lock would keep a search from it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::disk::mounts::{self, Mount};

/// Whether anybody works on a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing is left to do.
    Finished,
    /// A process works on it.
    Running,
    /// No process works on it; `search --resume` goes on with it.
    Stopped,
    /// A process elsewhere may work on it: in another container, or on another machine.
    #[default]
    Unknown,
}

impl State {
    /// What the signs say together. A lock that is held is proof; that none is seen says something
    /// only where it would be seen.
    pub fn of(signs: Signs) -> State {
        match signs {
            Signs { finished: true, .. } => State::Finished,
            Signs {
                lock: Lock::Held, ..
            } => State::Running,
            Signs {
                ends_with_stop: true,
                ..
            } => State::Stopped,
            Signs {
                lock: Lock::None,
                all_locks_seen: true,
                ..
            } => State::Stopped,
            _ => State::Unknown,
        }
    }

    /// The word that stands for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Finished => "finished",
            State::Running => "running",
            State::Stopped => "stopped",
            State::Unknown => "unknown",
        }
    }
}

/// What speaks for one state or another.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    /// Nothing is left to do, by the journal.
    pub finished: bool,
    /// The journal's last line says that the search stopped in good order.
    pub ends_with_stop: bool,
    /// Whether the journal's lock is in the kernel's list.
    pub lock: Lock,
    /// Whether that list would show the lock, whoever holds it.
    pub all_locks_seen: bool,
}

/// What the kernel's list says of a file's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// A process holds it.
    Held,
    /// A process holds that of a file with the same number, perhaps on another disk.
    OfSameNumber,
    /// It is not in the list, or there is none.
    None,
}

/// What the kernel knows of the lock of a run's journal.
#[derive(Clone, Copy, Debug)]
pub struct Locks {
    /// Whether the lock is in its list.
    pub lock: Lock,
    /// Whether the list would show it, whoever holds it.
    pub all_seen: bool,
    /// The process that holds it, where that is one that this process sees.
    pub process: Option<u32>,
}

impl Locks {
    /// Whether anybody works on a run, by these and by what its journal says: whether nothing is left to do, and
    /// whether its last line is a stop.
    pub fn state(&self, finished: bool, ends_with_stop: bool) -> State {
        State::of(Signs {
            finished,
            ends_with_stop,
            lock: self.lock,
            all_locks_seen: self.all_seen,
        })
    }

    /// Looks for a file's lock in the kernel's list. To be asked before the journal is read: a search
    /// that ends in between is then seen as finished.
    pub fn look(file: &Path) -> Locks {
        let unseen = Locks {
            lock: Lock::None,
            all_seen: false,
            process: None,
        };
        let Ok(found) = fs::metadata(file) else {
            return unseen;
        };
        let mount = mount_of(file);
        let mut devices = vec![major_minor(found.dev())];
        devices.extend(mount.as_ref().map(|mount| mount.device.clone()));
        // A list that changes while it is read can miss a line: what it shows counts, and what it
        // does not show is looked for again.
        for _ in 0..2 {
            let Ok(list) = fs::read_to_string("/proc/locks") else {
                return unseen;
            };
            let (lock, process) = lock_in(&list, &devices, found.ino());
            if lock != Lock::None {
                return Locks {
                    lock,
                    all_seen: false,
                    process,
                };
            }
        }
        Locks {
            lock: Lock::None,
            all_seen: sees_all_processes() && mount.is_some_and(|mount| is_local(&mount)),
            process: None,
        }
    }
}

/// Whether this process sees those of the whole machine. The kernel's list leaves out the locks of
/// processes that a container does not see.
fn sees_all_processes() -> bool {
    // The number of the first namespace is fixed in the kernel (PROC_PID_INIT_INO).
    fs::read_link("/proc/self/ns/pid").is_ok_and(|name| name == Path::new("pid:[4026531836]"))
}

/// The kinds of lock: an NFS server holds the second for a client whose program asked for the first.
const KINDS: [&str; 2] = ["FLOCK", "POSIX"];

/// A file's lock in the kernel's list, by the devices that its disk may be named by there; and who holds it.
fn lock_in(list: &str, devices: &[String], inode: u64) -> (Lock, Option<u32>) {
    // "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"; one that waits has an arrow after its number.
    let places = list.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (device, number) = words.get(5)?.rsplit_once(':')?;
        let is_lock = KINDS.contains(&words[1]) && words[3] == "WRITE";
        is_lock.then_some((device, number, words[4]))
    });
    let inode = inode.to_string();
    let mut lock = Lock::None;
    for (device, _, process) in places.filter(|(_, number, _)| *number == inode) {
        if devices.iter().any(|own| own == device) {
            // 0 or less stands for a process that is not seen from here.
            let process = process.parse().ok().filter(|&process| process > 0);
            return (Lock::Held, process);
        }
        lock = Lock::OfSameNumber;
    }
    (lock, None)
}

/// A device number as the kernel's list writes it.
fn major_minor(device: u64) -> String {
    // As the C library packs it: minor 8 bits, major 12, minor 12 more, major 32 more.
    let major = device >> 8 & 0xfff | device >> 32 & 0xffff_f000;
    let minor = device & 0xff | device >> 12 & 0xffff_ff00;
    format!("{major:02x}:{minor:02x}")
}

/// File systems of which this machine alone writes what it mounts, and whose locks its kernel keeps.
/// Those of a network, of a layer over others and of programs (fuse) are not among them.
const LOCAL: [&str; 13] = [
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ramfs", "tmpfs", "vfat",
    "xfs", "zfs",
];

fn is_local(mount: &Mount) -> bool {
    LOCAL.contains(&mount.file_system.as_str())
}

/// The mount that a file lies in, where the system says.
fn mount_of(file: &Path) -> Option<Mount> {
    let file = file.canonicalize().ok()?;
    mount_in(&fs::read("/proc/self/mountinfo").ok()?, &file)
}

/// The mount that a file lies in, of a list such as `/proc/self/mountinfo`: of those that its path
/// begins with the longest, and of these the last, which covers the others.
fn mount_in(list: &[u8], file: &Path) -> Option<Mount> {
    let around = mounts::list(list).filter(|mount| file.starts_with(&mount.folder));
    around.max_by_key(|mount| mount.folder.components().count()) // of equals the last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every case, by what decides it.
    #[test]
    fn a_state_follows_from_the_signs() {
        let mut seen = Vec::new();
        for finished in [false, true] {
            for ends_with_stop in [false, true] {
                for lock in [Lock::Held, Lock::OfSameNumber, Lock::None] {
                    for all_locks_seen in [false, true] {
                        let state = State::of(Signs {
                            finished,
                            ends_with_stop,
                            lock,
                            all_locks_seen,
                        });
                        seen.push(state.word().chars().next().unwrap_or(' '));
                    }
                }
            }
        }
        // Lock held, of the same number, none; of each: not all locks seen, all seen.
        let [not_ended, stop_line, finished] = ["rr uu us", "rr ss ss", "ff ff ff"];
        let expected = [not_ended, stop_line, finished, finished].join("");
        assert_eq!(
            seen.into_iter().collect::<String>(),
            expected.replace(' ', "")
        );
    }

    #[test]
    fn a_lock_is_found_by_disk_and_number() {
        let list = "1: FLOCK  ADVISORY  WRITE 3259 fe:00:5333141 0 EOF\n\
                    2: FLOCK  ADVISORY  READ 3219 fe:00:10133507 0 EOF\n\
                    2: -> FLOCK  ADVISORY  WRITE 77 fe:00:10133507 0 EOF\n\
                    3: POSIX  ADVISORY  WRITE 12 00:2f:77 0 EOF\n\
                    4: LEASE  ACTIVE    WRITE 12 fe:00:88 0 EOF\n\
                    5: OFDLCK ADVISORY  WRITE -1 fe:00:99\n\
                    half a li";
        let devices = ["00:2f".to_owned(), "fe:00".to_owned()];
        for (inode, devices, lock) in [
            (5_333_141, &devices[..], Lock::Held),
            (5_333_141, &devices[..1], Lock::OfSameNumber),
            (5_333_141, &[], Lock::OfSameNumber),
            (533_314, &devices[..], Lock::None),
            (10_133_507, &devices[..], Lock::None), // a reader's, and one that waits
            (77, &devices[..], Lock::Held),
            (77, &devices[1..], Lock::OfSameNumber),
            (88, &devices[..], Lock::None),
        ] {
            assert_eq!(lock_in(list, devices, inode).0, lock, "{inode} {devices:?}");
        }
        let process = |inode| lock_in(list, &devices, inode).1;
        assert_eq!(
            [77, 88, 5_333_141].map(process),
            [Some(12), None, Some(3259)]
        );
        let unseen = list.replace(" 12 ", " 0 ");
        assert_eq!(lock_in(&unseen, &devices, 77), (Lock::Held, None));
    }

    #[test]
    fn device_numbers_are_those_of_the_kernel() {
        for (device, written) in [
            (0xfe00, "fe:00"),
            (0x2f, "00:2f"),
            (0x0010_0801, "08:101"),
            (0x1000_0000_0102, "1001:02"),
        ] {
            assert_eq!(major_minor(device), written, "{device:x}");
        }
    }

    #[test]
    fn the_mount_of_a_file_is_the_one_that_covers_it() {
        let list = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
            28 27 0:50 / /home rw shared:1 master:2 - nfs4 server:/home rw\n\
            29 27 0:51 / /my\\040runs rw - fuse.sshfs host: rw\n\
            30 27 0:52 / /over rw - ext4 /dev/sdb rw\n\
            31 27 0:53 / /over rw - overlay overlay rw\n\
            32 28 259:17 / /home/scratch rw - xfs /dev/nvme0n1 rw\n\
            not a mount\n";
        for (file, device, file_system, is_local) in [
            ("/run/journal.jsonl", "fe:00", "ext4", true),
            ("/home/me/run", "00:32", "nfs4", false),
            ("/homeless/run", "fe:00", "ext4", true),
            ("/home/scratch/run", "103:11", "xfs", true),
            ("/my runs/a", "00:33", "fuse.sshfs", false),
            ("/over/a", "00:35", "overlay", false),
        ] {
            let mount = mount_in(list, Path::new(file)).unwrap();
            assert_eq!(mount.device, device, "{file}");
            assert_eq!(mount.file_system, file_system, "{file}");
            assert_eq!(super::is_local(&mount), is_local, "{file}");
        }
        assert_eq!(mount_in(b"", Path::new("/a")), None);
    }

    /// What this machine's kernel says of a lock that this process takes and gives back.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_lock_is_seen_while_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = fs::File::create(&path).unwrap();
        assert_eq!(Locks::look(&path).lock, Lock::None);
        file.try_lock().unwrap();
        assert_eq!(Locks::look(&path).lock, Lock::Held);
        assert_eq!(Locks::look(&path).process, Some(std::process::id()));
        file.unlock().unwrap();
        file.lock_shared().unwrap();
        assert_eq!(Locks::look(&path).lock, Lock::None);
        assert!(mount_of(&path).is_some());
        // What the kernel makes up lies on no disk of this machine.
        let made_up = Path::new("/proc/self/status");
        assert_eq!(mount_of(made_up).unwrap().file_system, "proc");
        assert!(!Locks::look(made_up).all_seen);
    }
}
