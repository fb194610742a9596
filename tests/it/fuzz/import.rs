//! What is imported: pickles, IDX files, archives and pictures.

use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use nas_engine::data::import::pickle::Pickle;
use nas_engine::data::import::picture::Reader;
use nas_engine::data::import::{Cifar, IdxOptions, ImportError, import_cifar, import_idx};
use safetensors::SafeTensors;

use super::*;

const TEN: &[u8] = include_bytes!("../../pickles/cifar-10-python.tar.gz");
const REPICKLED: &[u8] = include_bytes!("../../pickles/repickled.tar.gz");

fn unpacked(gz: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(gz).read_to_end(&mut bytes).unwrap();
    bytes
}

/// The members of an archive that have fewer than 1,000 bytes.
fn small_members(archive: &[u8]) -> Vec<Vec<u8>> {
    let archive = unpacked(archive);
    let mut archive = tar::Archive::new(&archive[..]);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut bytes = Vec::new();
        entry.unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    });
    let small = |bytes: &Vec<u8>| (1..1000).contains(&bytes.len());
    entries.filter(small).collect()
}

#[test]
fn pickles() {
    let mut good = [small_members(TEN), small_members(REPICKLED)].concat();
    good.retain(|bytes| Pickle::read(bytes).is_ok());
    // Arrays of few elements, so that most bytes decide something.
    good.push(
        b"\x80\x02}q\x01(U\x04datacnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\
          \x01b\x87R(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\
          \xff\xff\xff\xffK\x00tb\x89U\x06abcdeftbU\x06labels](K\x01K\x02eu."
            .to_vec(),
    );
    // Bytes that are made of a text, and a list of one string again and again.
    good.push(
        b"}X\x04\0\0\0datac_codecs\nencode\nq\0X\x03\0\0\0abcX\x06\0\0\0latin1\x86q\x01Rs."
            .to_vec(),
    );
    good.push(
        [
            &b"}X\x0b\0\0\0label_names](X\x14\0\0\0twenty letters alikeq\0"[..],
            &b"h\0".repeat(30),
            b"es.",
        ]
        .concat(),
    );
    good.push(b"(dp0\nS'labels'\np1\n(lp2\nI1\naI01\naL5L\nasV\\u20ac\nF1.5\ns.".to_vec());
    let n_good = good.len();
    assert!(n_good > 5, "{n_good}");
    read_all(7, &good, |input| {
        let allowed = (1 << 18) + 256 * input.len();
        let (is_read, held) = allocations::most_held(|| match Pickle::read(&input) {
            Ok(pickle) => {
                for key in ["data", "labels", "label_names", "filenames"] {
                    let _ = pickle.array(key).map(|array| array.data.len());
                    let _ = (pickle.numbers(key), pickle.strings(key, 256));
                }
                true
            }
            Err(_) => false,
        });
        assert!(held <= allowed, "{held} bytes held for {}", input.len());
        is_read
    });
}

/// Whether an import has a result. Without one nothing is left, and no error is one of this program.
fn is_imported(
    folder: &Path,
    import: impl FnOnce(&Path) -> Result<nas_engine::data::import::Imported, ImportError>,
) -> bool {
    let out = folder.join("out");
    match import(&out) {
        Ok(_) => {
            fs::remove_dir_all(out).unwrap();
            true
        }
        Err(error) => {
            let is_input = matches!(error, ImportError::Unusable { .. });
            assert!(is_input && !out.exists(), "{error}");
            false
        }
    }
}

#[test]
fn idx_files() {
    let file = |sizes: &[u32]| {
        let n: u32 = sizes.iter().product();
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend((0..n).map(|i| i as u8));
        bytes
    };
    let folder = folder();
    let labels = folder.path().join("labels");
    fs::write(&labels, [0, 0, 8, 1, 0, 0, 0, 4, 0, 1, 0, 1]).unwrap();
    let images = folder.path().join("images");
    let good = [&[4, 4, 5][..], &[4, 3, 2, 3], &[4, 40, 1]].map(file);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&good[0]).unwrap();
    let packed = packed.finish().unwrap();
    let options = IdxOptions {
        fit: None,
        test_share: Some(0.5),
        split_seed: 0,
        name: None,
        classes: None,
    };
    let paths = [images.clone(), labels];
    let never = AtomicBool::new(false);
    read_some(8, &[&good[..], &[packed]].concat(), 500, |input| {
        fs::write(&images, input).unwrap();
        is_imported(folder.path(), |out| {
            import_idx(&paths, out, &options, &never)
        })
    });
}

#[test]
fn archives() {
    let folder = folder();
    let archive = folder.path().join("archive");
    let never = AtomicBool::new(false);
    read_some(9, &[TEN.to_vec(), unpacked(TEN)], 300, |input| {
        fs::write(&archive, input).unwrap();
        is_imported(folder.path(), |out| {
            import_cifar(Cifar::Ten, &archive, out, &never)
        })
    });
}

/// No panic: how much memory pixels take, their file says.
#[test]
fn pictures() {
    let fixture = unpacked(include_bytes!("../../oracle/pictures.safetensors.gz"));
    let tensors = SafeTensors::deserialize(&fixture).unwrap();
    let mut names = tensors.names();
    names.retain(|name| !name.contains(' '));
    names.sort_unstable();
    let files = names.iter().map(|name| tensors.tensor(name).unwrap());
    let good: Vec<_> = files.map(|file| file.data().to_vec()).collect();
    let good: Vec<_> = good.into_iter().filter(|file| file.len() < 3_000).collect();
    assert!(good.len() > 50, "{}", good.len());
    let reader = Reader::new(true);
    let mut n_read = 0;
    for index in 0..n_inputs(1_000) {
        let input = mutate(&good, &mut Rng::new(10, Purpose::Test, index));
        let Ok(picture) = reader.read(&input) else {
            continue;
        };
        let rgb = &picture.rgb;
        assert_eq!(rgb.bytes.len(), 3 * rgb.width * rgb.height, "input {index}");
        n_read += 1;
    }
    assert!(n_read > 100, "{n_read}");
}
