//! Pickles that Python 2 and 3 wrote (`tests/pickles/make.py`), and what no array needs.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;

use super::*;

/// The members of an archive of `tests/pickles`.
fn members(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let entries = archive.entries().unwrap().map(Result::unwrap);
    let member = |mut entry: tar::Entry<_>| {
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        (path, bytes)
    };
    entries.map(member).collect()
}

const TEN: &[u8] = include_bytes!("../../../../tests/pickles/cifar-10-python.tar.gz");
const REPICKLED: &[u8] = include_bytes!("../../../../tests/pickles/repickled.tar.gz");

/// The pixels of `make.py`.
fn pixels(batch: usize) -> Vec<u8> {
    let pixel = |at: usize| (31 * batch + 7 * (at / 3072) + at % 3072 / 5) as u8;
    (0..4 * 3072).map(pixel).collect()
}

#[test]
fn what_python_2_wrote() {
    let members = members(TEN);
    for batch in 0..=5 {
        let name = match batch {
            0 => "test_batch".to_string(),
            _ => format!("data_batch_{batch}"),
        };
        let pickle = Pickle::read(&members[&format!("cifar-10-batches-py/{name}")]).unwrap();
        let array = pickle.array("data").unwrap();
        assert_eq!(array.shape, [4, 3072]);
        assert_eq!((array.element.kind, array.element.bytes), (b'u', 1));
        assert!(array.data == pixels(batch), "{name}");
        let labels = (0..4).map(|i| ((batch + 3 * i) % 10) as i64);
        assert_eq!(
            pickle.numbers("labels").unwrap(),
            labels.collect::<Vec<_>>()
        );
        let first = format!("picture_s_{:06}.png", 4 * batch);
        assert_eq!(pickle.strings("filenames", 4).unwrap()[0], first);
    }
    let meta = Pickle::read(&members["cifar-10-batches-py/batches.meta"]).unwrap();
    assert_eq!(meta.strings("label_names", 10).unwrap()[9], "class 9");
}

#[test]
fn what_python_3_wrote_of_the_same() {
    let members = members(REPICKLED);
    let good: Vec<_> = members
        .iter()
        .filter(|(name, _)| name.starts_with("good/"))
        .collect();
    assert_eq!(good.len(), 15);
    for (name, bytes) in good {
        let pickle = Pickle::read(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(pickle.array("data").unwrap().data == pixels(1), "{name}");
        assert_eq!(pickle.numbers("labels").unwrap(), [1, 4, 7, 0], "{name}");
    }
}

/// What is not read at all; what is read, but is no batch, is refused where batches are.
#[test]
fn what_is_no_data_is_refused_in_words() {
    let members = members(REPICKLED);
    for (name, words) in [
        ("evil", "names posix.system, which is no array"),
        ("evil-label", "names posix.system"),
        ("ordered", "names collections.OrderedDict"),
        ("set", "names __builtin__.set"),
        ("complex", "names __builtin__.complex"),
        ("masked", "names numpy.ma.core._mareconstruct"),
        ("scalars", "names numpy._core.multiarray.scalar"),
        ("objects", "`O8`, not of numbers"),
        ("fields", "not of numbers"),
        ("columns", "whose columns come first"),
    ] {
        let error = Pickle::read(&members[&format!("bad/{name}")]).unwrap_err();
        assert!(error.problem.contains(words), "{name}: {error}");
    }
}

#[test]
fn a_pickle_cut_anywhere_is_an_error() {
    let members = members(TEN);
    let whole = &members["cifar-10-batches-py/batches.meta"];
    for cut in 0..whole.len() {
        assert!(Pickle::read(&whole[..cut]).is_err(), "{cut}");
    }
    let longer = [whole, &b"x"[..]].concat();
    let error = Pickle::read(&longer).unwrap_err();
    assert!(error.problem.contains("1 bytes follow"), "{error}");
}

#[test]
fn what_is_no_pickle_is_called_so() {
    for bytes in [
        &b"hello"[..],
        b"<html>",
        b"Not Found",
        b"no pickle",
        b"\x1f\x8b\x08",
        b"",
    ] {
        let error = Pickle::read(bytes).unwrap_err();
        assert_eq!(error.to_string(), "is no pickle", "{bytes:?}");
    }
    for (bytes, words) in [
        (&b"(dp0\nhq"[..], "byte 5: takes what was not remembered"),
        (b"\x80\x09.", "byte 0: is of protocol 9"),
    ] {
        let error = Pickle::read(bytes).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}

/// Depth, sharing and numbers of values cost no more than the bytes that say so.
#[test]
fn bombs_are_bounded() {
    // A list in a list in a list, a million deep.
    let deep = [vec![b']'; 900_000], vec![b'a'; 899_999], vec![b'.']].concat();
    assert!(Pickle::read(&deep).unwrap().array("x").is_err());
    // Each list holds the one before it ten times: 10^60 values if they were copied.
    let mut shared = b"]q\0".to_vec();
    for level in 0..60u8 {
        shared.extend([b']', b'q', level + 1, b'(']);
        shared.extend([b'h', level].repeat(10));
        shared.push(b'e');
    }
    shared.push(b'.');
    assert!(Pickle::read(&shared).unwrap().strings("x", 9).is_err());
    // A list that holds itself.
    assert!(Pickle::read(b"]q\0h\0a.").unwrap().numbers("x").is_err());
    let many = [vec![b'N'; 1_100_000], vec![b'.']].concat();
    let error = Pickle::read(&many).unwrap_err();
    assert!(
        error.problem.contains("more than 1000000 values"),
        "{error}"
    );
    let again = [b"N".to_vec(), b"q\0".repeat(4_100_000), b".".to_vec()].concat();
    let error = Pickle::read(&again).unwrap_err();
    assert!(error.problem.contains("instructions"), "{error}");
    // Four gigabytes that are not there.
    for bytes in [
        &b"T\xff\xff\xff\x7f."[..],
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x8b\xff\xff\xff\x7f.",
    ] {
        assert!(Pickle::read(bytes).is_err());
    }
}

/// Strings that are made of others, and lists of one string, cost no more than the pickle has bytes.
#[test]
fn copies_are_bounded() {
    // A text of 10,000 letters that is remembered, and a thousand calls that make bytes of it.
    let mut copies = b"c_codecs\nencode\nq\0X\x10\x27\0\0".to_vec();
    copies.extend([b'a'; 10_000]);
    copies.extend(b"X\x06\0\0\0latin1\x86q\x01");
    copies.extend(b"h\0h\x01R".repeat(1_000));
    copies.push(b'.');
    let error = Pickle::read(&copies).unwrap_err();
    assert!(
        error.problem.contains("makes more bytes of its strings"),
        "{error}"
    );
    // A list of one string, many times.
    let list = |letters: usize, n: usize| {
        let mut pickle = b"}X\x01\0\0\0x](X".to_vec();
        pickle.extend((letters as u32).to_le_bytes());
        pickle.extend(vec![b'a'; letters]);
        pickle.extend(b"q\0");
        pickle.extend(b"h\0".repeat(n - 1));
        pickle.extend(b"es.");
        pickle
    };
    for (letters, n, problem) in [
        (10_000, 7, "more than 65536 bytes"),
        (1, 257, "holds 257 strings, more than 256"),
    ] {
        let pickle = list(letters, n);
        let error = Pickle::read(&pickle)
            .unwrap()
            .strings("x", 256)
            .unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    let pickle = list(10_000, 6);
    assert_eq!(
        Pickle::read(&pickle)
            .unwrap()
            .strings("x", 6)
            .unwrap()
            .len(),
        6
    );
}

/// A call takes no longer for the many arguments of a tuple that is remembered.
#[test]
fn calls_look_at_few_arguments() {
    let mut pickle = b"cnumpy\ndtype\nq\0(U\x02u1".to_vec();
    pickle.extend(vec![b'N'; 400_000]);
    pickle.extend(b"tq\x01");
    pickle.extend(b"h\0h\x01R".repeat(400_000));
    pickle.push(b'.');
    let begun = std::time::Instant::now();
    Pickle::read(&pickle).unwrap();
    // 160,000,000,000 looks would take minutes.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn instructions_that_do_not_fit_are_errors() {
    for bytes in [
        &b"."[..],
        b"",
        b"a.",
        b"e.",
        b"s.",
        b"u.",
        b"t.",
        b"(u.",
        b"}(Nu.",
        b"Na.",
        b"NNa.",
        b"h\x07.",
        b"q\x07.",
        b"gx\n.",
        b"R.",
        b"N)R.",
        b"b.",
        b"]Nb.",
        b"])b.",
        b"\x93.",
        b"NN\x93.",
        b"\x87.",
        b"(N\x86.",
        b"Ix\n.",
        b"I\n.",
        b"L99999999999999999999L\n.",
        b"S'\n.",
        b"Sx\n.",
        b"\x80\x06N.",
        b"0.",
        b"1.",
        b"2.",
        b"\x97.",
        b"\x98.",
        b"i.",
        b"o.",
        b"P0\n.",
        b"Q.",
        b"\x81.",
        b"\x92.",
        b"cnumpy\ndtype\n)R.",
        b"cnumpy\nndarray\n)R.",
        b"c__builtin__\nbytes\n(Nt.R",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\ntR(KtK\x01t.b",
    ] {
        assert!(Pickle::read(bytes).is_err(), "{}", bytes.escape_ascii());
    }
}
