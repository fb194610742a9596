//! Random input: whatever bytes come, readers end with a value or words, and hold no more memory than the
//! bytes justify. `FUZZ_INPUTS=1000000` sets how many.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::archive::{self, Wanted};
use super::gz::Gz;
use super::pickle::Pickle;
use super::pickle::tests::{REPICKLED, TEN, members};
use super::stop::Stop;
use crate::data::idx::Idx;
use crate::rng::{Purpose, Rng};

/// The system's memory, counted a thread.
struct Counted;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn count(grown: usize, shrunk: usize) {
    // Where the thread is ending nobody asks any more.
    let _ = HELD.try_with(|held| {
        held.set((held.get() + grown).saturating_sub(shrunk));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is handed on to the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise for `layout` is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: `pointer` came from the system's allocator by this one, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there while it is copied.
        count(size, 0);
        // SAFETY: as in `dealloc`; the caller promises that `size` is valid for it.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        count(0, layout.size());
        moved
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// The most bytes that `work` held at a time.
fn peak(work: impl FnOnce()) -> usize {
    let before = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    work();
    PEAK.with(Cell::get).saturating_sub(before)
}

/// Inputs to try: as many as the variable says.
fn n_inputs(default: u64) -> u64 {
    let asked = std::env::var("FUZZ_INPUTS").ok();
    asked.map_or(default, |n| n.parse().expect("FUZZ_INPUTS is a number"))
}

/// Changes bytes here and there: flips, large numbers, cuts, repeats, pieces of another input, or no more
/// than random bytes.
fn mutated(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let pick = |rng: &mut Rng| &seeds[rng.below(seeds.len() as u32) as usize];
    let mut bytes = pick(rng).clone();
    if rng.below(20) == 0 {
        bytes = (0..rng.below(60)).map(|_| rng.u32() as u8).collect();
    }
    for _ in 0..=rng.below(4) {
        // Most of what decides stands at the beginning or the end.
        let at = |rng: &mut Rng, n: usize| match rng.below(3) {
            _ if n == 0 => 0,
            0 => rng.below(n.min(64) as u32) as usize,
            1 => n - 1 - rng.below(n.min(64) as u32) as usize,
            _ => rng.below(n as u32) as usize,
        };
        let n = bytes.len();
        let (a, b) = (at(rng, n), at(rng, n));
        let (a, b) = (a.min(b), a.max(b));
        match rng.below(7) {
            0 if n > 0 => bytes[a] ^= 1 << rng.below(8),
            1 if n > 0 => bytes[a] = rng.u32() as u8,
            2 => {
                let number = [0xff, 0xff, 0xff, 0x7f, 0, 0x80];
                let number = &number[rng.below(3) as usize..][..1 + rng.below(3) as usize];
                bytes.splice(a..(a + number.len()).min(n), number.iter().copied());
            }
            3 => bytes.truncate(a),
            4 => drop(bytes.drain(a..b)),
            5 => {
                let piece = bytes[a..b.min(a + 200)].to_vec();
                bytes.splice(a..a, piece);
            }
            _ => {
                let other = pick(rng);
                let from = at(rng, other.len());
                let piece = other[from..(from + 30).min(other.len())].to_vec();
                bytes.splice(a..a, piece);
            }
        }
    }
    bytes
}

/// Reads many inputs made of the seeds; none may hold more than `per_byte` bytes for each of its own.
fn try_many(
    name: &str,
    seeds: &[Vec<u8>],
    default: u64,
    per_byte: usize,
    read: impl Fn(&[u8]) -> bool,
) {
    let begun = Instant::now();
    let n = n_inputs(default);
    let (mut n_read, mut most) = (0, 0.0f64);
    for input in 0..n {
        let bytes = mutated(seeds, &mut Rng::new(13, Purpose::Test, input));
        let held = peak(|| n_read += u64::from(read(&bytes)));
        let allowed = (1 << 16) + per_byte * bytes.len();
        assert!(
            held <= allowed,
            "{name}: input {input} of {} bytes holds {held}",
            bytes.len()
        );
        most = most.max(held as f64 / (bytes.len() as f64 + 64.0));
    }
    println!(
        "{name}: {n} inputs in {:.1} s, {n_read} of them read; at most {most:.0} bytes a byte",
        begun.elapsed().as_secs_f64()
    );
    assert!(
        n_read > 0 && n_read < n,
        "{name}: {n_read} of {n} were read"
    );
}

#[test]
fn any_bytes_as_a_pickle() {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for archive in [TEN, REPICKLED] {
        seeds.extend(
            members(archive)
                .into_values()
                .filter(|bytes| bytes.len() < 1000),
        );
    }
    // Arrays of few elements, so that most bytes decide something.
    seeds.push(
        b"\x80\x02}q\x01(U\x04datacnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\
          \x01b\x87R(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\
          \xff\xff\xff\xffK\x00tb\x89U\x06abcdeftbU\x06labels](K\x01K\x02eu."
            .to_vec(),
    );
    // Bytes that are made of a text, and a list of one string again and again.
    seeds.push(
        b"}X\x04\0\0\0datac_codecs\nencode\nq\0X\x03\0\0\0abcX\x06\0\0\0latin1\x86q\x01Rs."
            .to_vec(),
    );
    seeds.push(
        [
            &b"}X\x0b\0\0\0label_names](X\x14\0\0\0twenty letters alikeq\0"[..],
            &b"h\0".repeat(30),
            b"es.",
        ]
        .concat(),
    );
    seeds.push(b"(dp0\nS'labels'\np1\n(lp2\nI1\naI01\naL5L\nasV\\u20ac\nF1.5\ns.".to_vec());
    try_many("pickle", &seeds, 20_000, 256, |bytes| {
        match Pickle::read(bytes) {
            Ok(pickle) => {
                for key in ["data", "labels", "label_names", "filenames"] {
                    let _ = pickle.array(key).map(|array| array.data.len());
                    let _ = (pickle.numbers(key), pickle.strings(key, 256));
                }
                true
            }
            Err(_) => false,
        }
    });
}

#[test]
fn any_bytes_as_an_idx_file() {
    let file = |sizes: &[u32]| {
        let n: u32 = sizes.iter().product();
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend((0..n).map(|i| i as u8));
        bytes
    };
    let seeds = [
        &[5][..],
        &[3, 4, 5],
        &[2, 3, 2, 3],
        &[0, 28, 28],
        &[40, 2, 2],
    ]
    .map(file);
    try_many("idx", &seeds, 20_000, 16, |bytes| {
        let read = |bytes: &[u8]| -> std::io::Result<()> {
            let mut idx = Idx::new(bytes)?;
            let mut items = Vec::new();
            while idx.read(7, &mut items)? > 0 {}
            Ok(())
        };
        read(bytes).is_ok()
    });
}

#[test]
fn any_bytes_as_an_archive() {
    let mut tar = tar::Builder::new(Vec::new());
    let long = "a-folder/".repeat(20) + "data_batch_2";
    for (path, bytes) in [
        ("x/data_batch_1", &b"one"[..]),
        (&long, b"two"),
        ("./y/test_batch", &[7; 600]),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, bytes).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut gz, &tar).unwrap();
    let gz = gz.finish().unwrap();
    let names = ["data_batch_1", "data_batch_2", "test_batch"];
    let wanted = Wanted {
        names: &names,
        most_bytes: 1 << 16,
    };
    let flag = AtomicBool::new(false);
    let stop = Stop {
        flag: &flag,
        out: Path::new("out"),
    };
    let read = |bytes: &[u8]| {
        archive::read_from(Path::new("x"), bytes, wanted, stop, &|_, _| Ok(()), || {
            Ok(bytes)
        })
        .is_ok()
    };
    // Threads are begun for each.
    try_many("tar", &[tar], 1_000, 64, read);
    let read = |bytes: &[u8]| {
        let file = || Gz::new(BufReader::with_capacity(512, bytes));
        archive::read_from(Path::new("x"), file(), wanted, stop, &|_, _| Ok(()), || {
            Ok(file())
        })
        .is_ok()
    };
    try_many("tar.gz", &[gz], 1_000, 1024, read);
}
