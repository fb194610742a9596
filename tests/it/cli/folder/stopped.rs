//! Imports that are stopped, or killed, in the middle.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// Begins an import to `out` in the folder and waits until it has begun to write.
fn begun(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = program();
    command.args(["data", "import"]).args(arguments);
    command.current_dir(folder).args(["--out", "out"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    // It listens for signals before it begins the new folder.
    let has_begun = || {
        let names = entries(folder);
        names.iter().any(|name| name.starts_with(".out."))
    };
    while !has_begun() {
        assert!(child.try_wait().unwrap().is_none(), "{arguments:?} ended");
        sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args([name, &id]).status();
    assert!(sent.unwrap().success());
}

/// A signal in the middle: exit 75, and nothing is left.
fn stopped(folder: &Path, arguments: &[&str]) {
    let before = entries(folder);
    let child = begun(folder, arguments);
    signal(&child, "-INT");
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(75), "{arguments:?} {stderr}");
    assert!(stderr.contains("stopped"), "{arguments:?} {stderr}");
    assert_eq!(entries(folder), before, "{arguments:?}");
}

/// Pictures that take long: 400 names of one large text.
fn slow_pictures() -> TempDir {
    let folder = three_classes();
    let slow = folder.path().join("slow.ppm");
    let mut text = String::from("P3 1000 1000 255\n");
    text.extend(std::iter::repeat_n("1 22 133\n", 1_000_000));
    fs::write(&slow, text).unwrap();
    for number in 0..400 {
        let name = format!("fruit/apple/slow {number}.ppm");
        fs::hard_link(&slow, folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn a_stopped_import_leaves_nothing() {
    let folder = slow_pictures();
    stopped(folder.path(), &["folder", "fruit"]);
}

/// What a kill leaves is gone with the next import to the same place, and nothing of one that goes on is.
#[test]
fn what_a_killed_import_leaves_is_removed_by_the_next() {
    let folder = slow_pictures();
    let mut killed = begun(folder.path(), &["folder", "fruit"]);
    // A folder is known to be abandoned by the lock of its test file.
    let is_locked = || {
        let names = entries(folder.path());
        let mut unfinished = names.iter().filter(|name| name.starts_with(".out."));
        unfinished.any(|name| folder.path().join(name).join("test_batch.bin").exists())
    };
    while !is_locked() {
        assert!(killed.try_wait().unwrap().is_none(), "the import ended");
        sleep(Duration::from_millis(5));
    }
    let left = |n: usize| {
        let names = entries(folder.path());
        let unfinished = names.iter().filter(|name| name.starts_with(".out."));
        assert_eq!(unfinished.count(), n, "{names:?}");
    };
    killed.kill().unwrap();
    killed.wait().unwrap();
    left(1);
    // A place that another name only begins like is not touched.
    class(&folder.path().join("other/apple"), 3, 1);
    class(&folder.path().join("other/pear"), 3, 1);
    let arguments = ["data", "import", "folder", "other", "--out"];
    let import = |out: &str| {
        let mut command = program();
        command.current_dir(folder.path());
        run(command.args(arguments).arg(out))
    };
    assert_eq!(import("out.b").code, 0);
    left(1);
    assert_eq!(import("out").code, 0);
    left(0);
}

/// Two hundred images of 4096x4096, of which the file holds no byte.
#[test]
fn a_stopped_import_of_idx_files_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let header = |sizes: &[u32]| {
        let sizes = sizes.iter().flat_map(|size| size.to_be_bytes());
        [
            vec![0, 0, 8, sizes.clone().count() as u8 / 4],
            sizes.collect(),
        ]
        .concat()
    };
    let images = folder.path().join("a-images-idx3-ubyte");
    fs::write(&images, header(&[200, 4096, 4096])).unwrap();
    let images = fs::OpenOptions::new().write(true).open(images).unwrap();
    images.set_len(16 + 200 * 4096 * 4096).unwrap();
    let mut labels = header(&[200]);
    labels.extend((0..200).map(|i| i % 2));
    file(folder.path(), "a-labels-idx1-ubyte", labels);
    let arguments = ["idx", "a-images-idx3-ubyte", "a-labels-idx1-ubyte"];
    stopped(folder.path(), &arguments);
}

/// An archive that unpacks to nearly a gibibyte of members that nobody wants.
#[test]
fn a_stopped_import_of_an_archive_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let bytes = vec![0; 1 << 20];
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, "large", &bytes[..]).unwrap();
    let member = tar.into_inner().unwrap();
    // Without the two blocks that end an archive.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut encoder, &member[..512 + bytes.len()]).unwrap();
    let gz = encoder.finish().unwrap();
    file(folder.path(), "cifar.tar.gz", gz.repeat(1000));
    for command in ["cifar10", "cifar100"] {
        stopped(folder.path(), &[command, "cifar.tar.gz"]);
    }
}
