//! Archives with members of all kinds, and bombs.

use std::fs;

use super::super::{file, json, text};
use super::{Place, TEN, gz, members};

/// A tar archive of members by their header's kind, path and content or target.
fn tar_of(members: &[(tar::EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        // The crate refuses paths that lead out; others do not.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        let bytes = match kind.is_file() || !(kind.is_hard_link() || kind.is_symlink()) {
            true => *content,
            false => {
                header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content);
                &[]
            }
        };
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn archives_of_all_kinds() {
    use tar::EntryType as Kind;
    let batches = members(TEN);
    let content = |name: &str| &batches.iter().find(|(member, _)| member == name).unwrap().1[..];
    let with = |path: &'static str, kind: Kind, change: &'static [u8]| {
        let mut all: Vec<(Kind, String, &[u8])> = batches
            .iter()
            .map(|(name, bytes)| (Kind::Regular, format!("./x/{name}"), &bytes[..]))
            .collect();
        let name = path.rsplit('/').next().unwrap();
        all.retain(|(_, member, _)| !member.ends_with(&format!("/{name}")));
        all.push((kind, path.into(), change));
        let all: Vec<_> = all
            .iter()
            .map(|(kind, path, bytes)| (*kind, &path[..], *bytes))
            .collect();
        (tar_of(&all), all.len())
    };
    let place = Place::new();
    let root = place.0.path().to_owned();
    let fails = |bytes: &[u8], words: &str| {
        for (name, bytes) in [("bad.tar", bytes.to_vec()), ("bad.tar.gz", gz(bytes))] {
            let path = file(&root, name, bytes);
            place.fails(&["cifar10", &path], 3, words);
            fs::remove_file(path).unwrap();
        }
    };
    for (path, kind, target, words) in [
        (
            "x/data_batch_2",
            Kind::Symlink,
            &b"/etc/passwd"[..],
            "data_batch_2 is a symbolic link",
        ),
        (
            "x/data_batch_2",
            Kind::Char,
            b"",
            "data_batch_2 is neither a file nor a link",
        ),
        (
            "x/data_batch_2",
            Kind::Fifo,
            b"",
            "data_batch_2 is neither a file nor a link",
        ),
        ("x/data_batch_2", Kind::Directory, b"", "lacks data_batch_2"),
        (
            "x/data_batch_2",
            Kind::Link,
            b"x/nothing",
            "data_batch_2 is a link to x/nothing, which is not in it",
        ),
        (
            "/x/data_batch_2",
            Kind::Regular,
            b"",
            "leads out of the archive",
        ),
        (
            "x/../../data_batch_2",
            Kind::Regular,
            b"",
            "leads out of the archive",
        ),
        (
            "x/data_batch_2",
            Kind::Regular,
            b"hello",
            "x/data_batch_2: is no pickle; copy or download it again",
        ),
        ("x/data_batch_2", Kind::GNUSparse, b"", "sparse members"),
    ] {
        let words = words.trim_start_matches("x/");
        fails(&with(path, kind, target).0, words);
    }
    // A hard link stands for another member, before or after it.
    let (linked, _) = with("x/data_batch_2", Kind::Link, b"./x//data_batch_1");
    let path = file(&root, "linked.tar", &linked);
    json(&[
        "data",
        "import",
        "cifar10",
        &path,
        "--out",
        &text(&root.join("linked")),
    ]);
    let [first, second] =
        [1, 2].map(|n| fs::read(root.join(format!("linked/data_batch_{n}.bin"))).unwrap());
    assert_eq!(first, second);
    // Headers of their own: a size of pax is refused, a path is heeded.
    let pax = |record: &'static [u8]| {
        let mut all: Vec<(Kind, &str, &[u8])> = batches
            .iter()
            .map(|(name, bytes)| (Kind::Regular, &name[..], &bytes[..]))
            .collect();
        all.retain(|(_, name, _)| *name != "data_batch_2");
        all.push((Kind::XHeader, "pax", record));
        all.push((Kind::Regular, "elsewhere", content("data_batch_2")));
        tar_of(&all)
    };
    let path = file(&root, "pax.tar", pax(b"23 path=y/data_batch_2\n"));
    json(&[
        "data",
        "import",
        "cifar10",
        &path,
        "--out",
        &text(&root.join("pax")),
    ]);
    fails(&pax(b"22 GNU.sparse.major=1\n"), "sparse members");
    fails(&pax(b"99 path=y\n"), "extended header");
    // Twice, too large, cut, with something after it, a bomb.
    let twice = [
        (Kind::Regular, "a/data_batch_1", content("data_batch_1")),
        (Kind::Regular, "b/data_batch_1", b"x"),
    ];
    fails(&tar_of(&twice), "data_batch_1 is there twice");
    fails(
        &tar_of(&[(Kind::Regular, "data_batch_1", &vec![0; (32 << 20) + 1])]),
        "33,554,433 bytes",
    );
    fails(&linked[..linked.len() / 2], "copy or download it again");
    fails(b"no archive at all", "no whole archive");
    for (name, bytes, words) in [
        (
            "a.tar.bz2",
            &b"BZh91AY&SY"[..],
            "is compressed by bzip2; unpack it with tar -xf",
        ),
        ("a.tar.xz", b"\xfd7zXZ\0", "is compressed by xz; unpack it"),
        ("a.zip", b"PK\x03\x04", "unpack it with unzip"),
    ] {
        place.fails(&["cifar10", &file(&root, name, bytes)], 3, words);
    }
    let cut = file(&root, "cut.tar.gz", &TEN[..TEN.len() - 3]);
    place.fails(&["cifar10", &cut], 3, "ends early");
    let longer = file(&root, "longer.tar.gz", [TEN, b"junk"].concat());
    place.fails(&["cifar10", &longer], 3, "after a gzip member");
    let zeros = file(&root, "zeros.tar.gz", [TEN, &[0; 5000]].concat());
    json(&[
        "data",
        "import",
        "cifar10",
        &zeros,
        "--out",
        &text(&root.join("zeros")),
    ]);
    // Three megabytes that unpack to more than a gigabyte of nothing.
    let megabytes = gz(&vec![0; 64 << 20]);
    let bomb = file(
        &root,
        "bomb.tar.gz",
        [gz(&tar_of(&[])), megabytes.repeat(17)].concat(),
    );
    place.fails(&["cifar10", &bomb], 3, "unpacks to more than 1.07 GB");
}
