//! Files of pictures against Pillow, which made what is expected: tests/oracle/pictures.py.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flate2::read::GzDecoder;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use nas_engine::data::import::Fit;
use nas_engine::data::import::picture::Reader;
use safetensors::SafeTensors;

use crate::fuzz::allocations;

/// How far a JPEG may be from libjpeg-turbo's.
const JPEG_BOUND: u8 = 4;

fn fixture() -> Vec<u8> {
    let packed = include_bytes!("../../oracle/pictures.safetensors.gz");
    let mut bytes = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Names of the pictures, in the order of the alphabet.
fn names<'a>(tensors: &'a SafeTensors) -> Vec<&'a str> {
    let mut names = tensors.names();
    names.retain(|name| !name.contains(' '));
    names.sort_unstable();
    names
}

/// How a picture's pixels differ from what is expected: nothing where they are within the bound.
fn compare(
    tensors: &SafeTensors,
    name: &str,
    upright: bool,
    equal: &mut BTreeMap<String, (usize, usize)>,
) -> Option<String> {
    let what = if upright { "upright" } else { "rgb" };
    let expected = tensors.tensor(&format!("{name} {what}")).ok()?;
    let file = tensors.tensor(name).unwrap();
    let reader = Reader::new(upright);
    let picture = match reader.read(file.data()) {
        Ok(picture) => picture,
        Err(reason) => return Some(format!("{name} {reason}")),
    };
    let shape = [picture.rgb.height, picture.rgb.width, 3];
    if shape != expected.shape() {
        return Some(format!("{name}: {shape:?}, not {:?}", expected.shape()));
    }
    let both = picture.rgb.bytes.iter().zip(expected.data());
    let difference = both.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    let format = name.rsplit('.').next().unwrap();
    let (n_equal, n) = equal.entry(format.to_owned()).or_default();
    *n_equal += usize::from(difference == 0);
    *n += 1;
    let bound = if format == "jpg" { JPEG_BOUND } else { 0 };
    (difference > bound).then(|| format!("{name} ({what}): {difference} levels"))
}

/// All but JPEG to the bit. How many there are of each format is counted, so that none goes missing.
#[test]
fn pictures_are_what_pillow_makes_of_them() {
    let bytes = fixture();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut equal = BTreeMap::new();
    let names = names(&tensors);
    let wrong: Vec<_> = names
        .iter()
        .filter_map(|name| compare(&tensors, name, false, &mut equal))
        .collect();
    println!("equal to the bit, of all: {equal:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let n: usize = equal.values().map(|(_, n)| n).sum();
    assert_eq!(n, names.len());
    assert!(names.len() > 150 && equal.len() == 9, "{}", names.len());
}

/// Of those whose tag turns them, what Pillow's `exif_transpose` makes of them.
#[test]
fn tagged_pictures_stand_upright() {
    let bytes = fixture();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut equal = BTreeMap::new();
    let names = names(&tensors);
    let wrong: Vec<_> = names
        .iter()
        .filter_map(|name| compare(&tensors, name, true, &mut equal))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let n: usize = equal.values().map(|(_, n)| n).sum();
    assert_eq!(n, 9, "7 JPEG, a PNG and a WebP: {equal:?}");
    let reader = Reader::new(false);
    for name in names {
        let file = tensors.tensor(name).unwrap();
        let picture = reader.read(file.data()).unwrap();
        let is_tagged = name.starts_with("turned") && name != "turned-1.jpg";
        assert_eq!(picture.is_tagged, is_tagged, "{name}");
        assert_eq!(
            picture.is_turned,
            is_tagged && name.ends_with(".tif"),
            "{name}"
        );
    }
}

/// Resized to the bit of Pillow's; the JPEGs among them may differ by what decoding does.
#[test]
fn pictures_are_fitted_as_pillow_fits_them() {
    let bytes = fixture();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let reader = Reader::new(false);
    let mut n = 0;
    for name in names(&tensors) {
        for fit in [Fit::Resize, Fit::Crop, Fit::Pad] {
            let Ok(expected) = tensors.tensor(&format!("{name} {fit}")) else {
                continue;
            };
            let file = tensors.tensor(name).unwrap();
            let picture = reader.read(file.data()).unwrap();
            let image = picture.rgb.fitted(fit).unwrap();
            let both = image.iter().zip(expected.data());
            let difference = both.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            let bound = if name.ends_with(".jpg") {
                JPEG_BOUND
            } else {
                0
            };
            assert!(difference <= bound, "{name} {fit}: {difference} levels");
            n += 1;
        }
    }
    assert_eq!(n, 30);
}

#[test]
fn grey_of_16_bits_keeps_the_upper_8() {
    let bytes = fixture();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let grey: Vec<String> =
        serde_json::from_str(&metadata.metadata().as_ref().unwrap()["grey16"]).unwrap();
    assert_eq!(grey.len(), 8);
    let reader = Reader::new(false);
    for name in names(&tensors) {
        let file = tensors.tensor(name).unwrap();
        let picture = reader.read(file.data()).unwrap();
        assert_eq!(
            picture.is_grey_16,
            grey.iter().any(|grey| grey == name),
            "{name}"
        );
    }
}

/// A picture that is cut anywhere is refused in words, or what is gone holds no pixels of it.
#[test]
fn pictures_that_are_cut_short_are_bad() {
    let bytes = fixture();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let reader = Reader::new(false);
    let (mut n_refused, mut n_read) = (0, 0);
    for name in names(&tensors) {
        let file = tensors.tensor(name).unwrap();
        let file = file.data();
        let whole = reader.read(file).unwrap().rgb;
        let cuts = (0..file.len()).step_by(1 + file.len() / 20);
        for cut in cuts.chain(file.len() - 8..file.len()) {
            match reader.read(&file[..cut]) {
                // A number at the end of a text may have lost a digit.
                Ok(read) if name.starts_with("text") => assert_eq!(read.rgb.width, whole.width),
                Ok(read) => {
                    assert!(read.rgb.bytes == whole.bytes, "{name}: {cut} bytes");
                    n_read += 1;
                }
                Err(reason) => {
                    assert!(!reason.is_empty() && reason.len() < 200, "{name}: {reason}");
                    n_refused += 1;
                }
            }
        }
    }
    assert!(n_read < n_refused / 10, "{n_read} and {n_refused}");
}

/// A chunk of a PNG with its check sum.
fn chunk(kind: &[u8], content: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(content);
    let length = (content.len() as u32).to_be_bytes();
    [&length[..], kind, content, &crc.sum().to_be_bytes()].concat()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Pixels are read, whatever else the file says that it holds, and nothing is reserved for that.
#[test]
fn bombs_beside_the_pixels_are_not_unpacked() {
    let header = [1u32, 1].map(u32::to_be_bytes).concat();
    let profile = [b"a\0\0", &packed(&vec![0; 1 << 28])[..]].concat();
    let png = [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[&header[..], &[8, 2, 0, 0, 0]].concat()),
        chunk(b"iCCP", &profile),
        chunk(b"IDAT", &packed(&[0, 10, 20, 30])),
        chunk(b"IEND", b""),
    ];
    let (png, reader) = (png.concat(), Reader::new(false));
    let (picture, largest) = allocations::largest(|| reader.read(&png));
    let picture = picture.unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(picture.rgb.bytes, [10, 20, 30]);
    assert!(largest <= 1 << 26, "{largest} bytes for a profile");

    let bytes = fixture();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tagged = names(&tensors)
        .into_iter()
        .find(|name| name.starts_with("turned") && name.ends_with(".webp"));
    let mut webp = tensors.tensor(tagged.unwrap()).unwrap().data().to_vec();
    let exif = webp.windows(4).rposition(|name| name == b"EXIF").unwrap();
    webp[exif + 4..exif + 8].copy_from_slice(&0x7fff_fffe_u32.to_le_bytes());
    let (picture, largest) = allocations::largest(|| reader.read(&webp));
    let picture = picture.unwrap_or_else(|reason| panic!("{reason}"));
    assert!(!picture.is_tagged && picture.rgb.width > 1);
    assert!(largest <= 1 << 26, "{largest} bytes for a tag");

    // A palette of 120 million values, of which there is none.
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        let [tag, kind] = [tag, kind].map(u16::to_le_bytes);
        [&tag[..], &kind, &count.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    let entries = [
        entry(256, 3, 1, 1),
        entry(257, 3, 1, 1),
        entry(258, 3, 1, 8),
        entry(259, 3, 1, 1),
        entry(262, 3, 1, 3),
        entry(273, 4, 1, 8),
        entry(277, 3, 1, 1),
        entry(279, 4, 1, 1),
        entry(320, 3, 120_000_000, 8),
    ];
    let mut tiff = b"II*\0\x0c\0\0\0\xff\0\0\0\x09\0".to_vec();
    tiff.extend(entries.concat());
    tiff.extend([0; 4]);
    let (read, largest) = allocations::largest(|| reader.read(&tiff).map(drop));
    let reason = read.unwrap_err();
    assert!(reason.contains("longer than the file"), "{reason}");
    assert!(largest <= 1 << 20, "{largest} bytes for a palette");
}

/// A picture of many pixels keeps others of its kind waiting until it is dropped, not only until it is read.
#[test]
fn large_pictures_are_in_memory_one_at_a_time() {
    let (width, height) = (4_097, 4_097);
    let mut ppm = format!("P5 {width} {height} 255\n").into_bytes();
    ppm.resize(ppm.len() + width * height, 7);
    let (reader, is_dropped) = (Reader::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let first = reader
            .read(&ppm)
            .unwrap_or_else(|reason| panic!("{reason}"));
        let second = scope.spawn(|| {
            let read = reader.read(&ppm).map(drop);
            (read, is_dropped.load(Ordering::SeqCst))
        });
        // Long enough for the second to be read, if it did not wait.
        std::thread::sleep(Duration::from_secs(2));
        is_dropped.store(true, Ordering::SeqCst);
        drop(first);
        assert_eq!(second.join().unwrap(), (Ok(()), true));
    });
}

#[test]
fn bombs_and_other_files_are_named() {
    let reader = Reader::new(false);
    let read = |bytes: &[u8]| match reader.read(bytes) {
        Ok(_) => panic!("it was read"),
        Err(reason) => reason,
    };
    // 60,000 x 60,000 pixels of each format, and not a byte of them.
    let png =
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0\x5e\x56\x5f\xdf";
    let bmp = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x60\xea\0\0\x60\xea\0\0\x01\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let gif =
        b"GIF89a\x60\xea\x60\xea\x80\0\0\0\0\0\0\0\0\x2c\0\0\0\0\x60\xea\x60\xea\0\x08\x01\0\0;";
    let jpeg =
        b"\xff\xd8\xff\xc0\0\x11\x08\xea\x60\xea\x60\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xda\0\x02";
    let ppm = b"P6 60000 60000 255\n";
    for (name, bytes) in [
        ("BMP", &bmp[..]),
        ("GIF", gif),
        ("JPEG", jpeg),
        ("PPM", ppm),
    ] {
        let reason = read(bytes);
        assert!(reason.contains("60000 x 60000"), "{name}: {reason}");
    }
    let reason = read(png);
    assert!(
        reason.contains("60000 x 60000") || reason.contains("damaged"),
        "{reason}"
    );
    for (bytes, words) in [
        (&b""[..], "is empty"),
        (b"\0\0\0\x20ftypavif", "an AVIF picture"),
        (b"%PDF-1.7", "a PDF document"),
        (b"words", "is no picture"),
        (b"PK\x03\x04", "is a zip archive"),
        (b"P6 3 3 70000\n", "largest value is 70000"),
        (b"P6 0 3 255\n", "has no pixels"),
        (b"P1 is the first word of a text", "is no picture"),
        (b"BMW makes cars, not pictures", "is no picture"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "is no picture"),
    ] {
        let reason = read(bytes);
        assert!(reason.contains(words), "{reason}");
    }
}
