//! What is mounted where, as the kernel lists it in `/proc/self/mountinfo`.

use std::path::PathBuf;

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The disk: major and minor number in hexadecimal, as `/proc/locks` has them.
    pub device: String,
    /// The folder of the file system that is seen at `folder`.
    pub root: PathBuf,
    /// Where it is mounted.
    pub folder: PathBuf,
    /// The type of the file system.
    pub file_system: String,
    /// Options of the file system, with commas between them.
    pub options: String,
}

/// The mounts of a list; lines that are none are passed over.
pub fn list(list: &[u8]) -> impl Iterator<Item = Mount> {
    list.split(|&byte| byte == b'\n').filter_map(mount)
}

/// A line: "27 1 254:0 / /mnt rw,noatime shared:1 - ext4 /dev/vda rw": after the options any number of
/// words up to a dash.
fn mount(line: &[u8]) -> Option<Mount> {
    let line = str::from_utf8(line).ok()?;
    let (place, kind) = line.split_once(" - ")?;
    let words: Vec<&str> = place.split(' ').collect();
    let (major, minor) = words.get(2)?.split_once(':')?;
    let device = (major.parse::<u64>().ok()?, minor.parse::<u64>().ok()?);
    let mut kind = kind.split(' ');
    Some(Mount {
        device: format!("{:02x}:{:02x}", device.0, device.1),
        root: unescaped(words.get(3)?).into(),
        folder: unescaped(words.get(4)?).into(),
        file_system: kind.next().unwrap_or("").to_owned(),
        options: kind.nth(1).unwrap_or("").to_owned(),
    })
}

/// A path with the blanks and backslashes that the list writes as `\040` and so on.
fn unescaped(path: &str) -> String {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let replace = |path: String, (escape, byte): &(&str, &str)| path.replace(escape, byte);
    escapes.iter().fold(path.to_owned(), replace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let text =
            b"29 27 254:17 /a\\040b /my\\040runs rw shared:1 master:2 - cgroup none rw,memory\n\
            not a mount\n\xff 1 2 - a\n22 27 0:21 / /proc rw - proc";
        let mounts: Vec<Mount> = list(text).collect();
        let [first, second] = &mounts[..] else {
            panic!("{mounts:?}")
        };
        assert_eq!(first.device, "fe:11");
        assert_eq!(first.root, PathBuf::from("/a b"));
        assert_eq!(first.folder, PathBuf::from("/my runs"));
        assert_eq!(
            (&*first.file_system, &*first.options),
            ("cgroup", "rw,memory")
        );
        assert_eq!((&*second.file_system, &*second.options), ("proc", ""));
    }
}
