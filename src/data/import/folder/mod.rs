//! A folder of pictures, a folder for each class, as a data folder.

mod find;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::picture::Reader;
use super::{Fit, ImportError, Imported, NewFolder, Part, Place, Skipped, order, split_off_test};
use crate::data::{Description, IMAGE_BYTES, RECORD_BYTES};
use crate::text;
use find::{Content, Found, printable};

/// The share of each class that tests, where there is no test part.
pub const DEFAULT_TEST_SHARE: f64 = 0.1;

/// Pictures that are decoded side by side and then written: what they take is little.
const CHUNK: usize = 512;

/// A larger file is none that a network is shown 32x32 of.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Files from this size on are read one at a time, so that memory does not grow with threads.
const LARGE_FILE_BYTES: u64 = 1 << 25;

/// How a folder of pictures is imported.
#[derive(Clone, Debug, Default)]
pub struct FolderOptions {
    /// How a picture is brought to 32x32; by default what its size calls for.
    pub fit: Option<Fit>,
    /// The share of each class that tests, within 0 and 1, where there is no test part.
    pub test_share: Option<f64>,
    /// Draws the pictures that test.
    pub split_seed: u64,
    /// Leave bad files out.
    pub skip_bad: bool,
    /// Turn pictures by their EXIF tag.
    pub upright: bool,
}

/// Imports the pictures below `dir` into the data folder `out`, by the threads of the current pool.
/// Until all are written there is nothing at `out`.
///
/// # Errors
/// Names every file that is no picture that can be used; ends early where `stop` is set.
pub fn folder(
    dir: &Path,
    out: &Path,
    options: &FolderOptions,
    stop: &AtomicBool,
) -> Result<Imported, ImportError> {
    let mut new_folder = NewFolder::create(out, 1)?;
    let Content {
        classes,
        mut files,
        has_test,
        bad: mut skipped,
        notes: mut said,
    } = find::find(dir)?;
    if has_test && options.test_share.is_some() {
        return Err(ImportError::TestPart { path: dir.into() });
    }
    loop {
        check_classes(dir, &classes, &files, &skipped, options)?;
        let parts = split(dir, &files, options)?;
        let mut writing = Writing {
            reader: Reader::new(options.upright),
            fit: options.fit,
            large_file: Mutex::default(),
            stop,
            out,
            seen: Seen::default(),
        };
        let mut bad = BTreeSet::new();
        for (part, files) in [(Part::Test, &parts.test), (Part::Training, &parts.training)] {
            writing.part(part, files, &new_folder, &mut bad, &mut skipped)?;
        }
        if bad.is_empty() && (skipped.is_empty() || options.skip_bad) {
            skipped.sort_by(|a, b| a.file.cmp(&b.file));
            said.extend(writing.seen.notes(options.upright));
            said.extend(absent(&classes, &parts));
            let description = Description {
                name: printable(
                    dir.canonicalize()
                        .unwrap_or(dir.into())
                        .file_name()
                        .unwrap_or_default()
                        .as_bytes(),
                ),
                classes,
                source: printable(
                    dir.canonicalize()
                        .unwrap_or(dir.into())
                        .as_os_str()
                        .as_bytes(),
                ),
                fit: writing.seen.fits(),
                ..Description::default()
            };
            return new_folder.finish(description, skipped, said);
        }
        if !options.skip_bad {
            skipped.sort_by(|a, b| a.file.cmp(&b.file));
            return Err(ImportError::Bad { files: skipped });
        }
        // Again without them: which images test, and their order, are those of the good files alone.
        files.retain(|file| !bad.contains(&file.path));
        drop(new_folder);
        new_folder = NewFolder::create(out, 1)?;
    }
}

/// That every class has a picture.
fn check_classes(
    dir: &Path,
    classes: &[String],
    files: &[Found],
    skipped: &[Skipped],
    options: &FolderOptions,
) -> Result<(), ImportError> {
    let mut is_there = vec![false; classes.len()];
    files.iter().for_each(|file| is_there[file.class] = true);
    let absent = classes.iter().zip(is_there).filter(|(_, there)| !there);
    let absent: Vec<_> = absent.map(|(name, _)| format!("`{name}`")).collect();
    if absent.is_empty() || (!skipped.is_empty() && !options.skip_bad) {
        return Ok(()); // or the bad files are to be named
    }
    let left = if skipped.is_empty() { "" } else { " left" };
    Err(ImportError::Unusable {
        path: dir.into(),
        problem: format!(
            "no picture{left} in the folder of {} {}; put some there, or remove the folder",
            if absent.len() == 1 {
                "the class"
            } else {
                "each of the classes"
            },
            absent.join(", ")
        ),
    })
}

/// The files of each part, in the order of their names.
struct Parts<'a> {
    training: Vec<&'a Found>,
    test: Vec<&'a Found>,
}

fn split<'a>(
    dir: &Path,
    files: &'a [Found],
    options: &FolderOptions,
) -> Result<Parts<'a>, ImportError> {
    let share = options.test_share.unwrap_or(DEFAULT_TEST_SHARE);
    let mut parts = Parts {
        training: Vec::new(),
        test: Vec::new(),
    };
    for class in files.chunk_by(|a, b| a.class == b.class) {
        let drawn = split_off_test(class.len(), class[0].class, share, options.split_seed);
        let mut drawn = drawn.into_iter().peekable();
        for (index, file) in (0u32..).zip(class) {
            let is_drawn = drawn.next_if_eq(&index).is_some();
            let part = match file.part {
                Some(part) => part,
                None if is_drawn => Part::Test,
                None => Part::Training,
            };
            match part {
                Part::Training => parts.training.push(file),
                Part::Test => parts.test.push(file),
            }
        }
    }
    let empty = match (&*parts.training, &*parts.test) {
        ([], _) => "training",
        (_, []) => "test",
        _ => return Ok(parts),
    };
    Err(ImportError::Unusable {
        path: dir.into(),
        problem: format!(
            "no picture is left for the {empty} part; put more pictures there, two of a class at least"
        ),
    })
}

/// Names the classes that have pictures in one part only, where there are such.
fn absent(classes: &[String], parts: &Parts) -> Vec<String> {
    let sentence = |(files, part): (&[&Found], &str)| {
        let mut is_there = vec![false; classes.len()];
        files.iter().for_each(|file| is_there[file.class] = true);
        let absent = classes.iter().zip(is_there).filter(|(_, there)| !there);
        let absent: Vec<_> = absent.map(|(name, _)| name.as_str()).collect();
        (!absent.is_empty()).then(|| format!("no {part} picture of: {}", absent.join(", ")))
    };
    [(&*parts.training, "training"), (&*parts.test, "test")]
        .into_iter()
        .filter_map(sentence)
        .collect()
}

/// What was seen of the pictures.
#[derive(Default)]
struct Seen {
    fits: BTreeSet<Fit>,
    tagged: u64,
    turned: u64,
    grey_16: u64,
}

impl Seen {
    /// What people should know.
    fn notes(&self, upright: bool) -> Vec<String> {
        let pictures = |n: u64| match n {
            1 => "1 picture".into(),
            n => format!("{} pictures", text::count(n)),
        };
        let mut notes = Vec::new();
        let left = self.tagged - self.turned;
        if left > 0 {
            notes.push(format!(
                "{} left as stored although the EXIF tag says to turn them, as torchvision does; \
                 --upright turns them",
                pictures(left)
            ));
        }
        if self.turned > 0 {
            let how = if upright {
                ""
            } else {
                " (TIFF, as Pillow does)"
            };
            notes.push(format!(
                "{} turned by the orientation tag{how}",
                pictures(self.turned)
            ));
        }
        if self.grey_16 > 0 {
            notes.push(format!(
                "{} grey with 16 bits a pixel, of which the upper 8 are taken; Pillow's \
                 convert(\"RGB\") would clip them to white",
                pictures(self.grey_16)
            ));
        }
        notes
    }

    /// How pictures were brought to their size.
    fn fits(&self) -> String {
        let fits: Vec<_> = self.fits.iter().map(Fit::to_string).collect();
        match fits.is_empty() {
            true => "none".into(),
            false => fits.join(", "),
        }
    }
}

/// A picture that is ready to be written.
struct Ready {
    image: [u8; IMAGE_BYTES],
    fit: Option<Fit>,
    is_tagged: bool,
    is_turned: bool,
    is_grey_16: bool,
}

/// Pictures on their way to a folder.
struct Writing<'a> {
    reader: Reader,
    fit: Option<Fit>,
    large_file: Mutex<()>,
    stop: &'a AtomicBool,
    out: &'a Path,
    seen: Seen,
}

impl Writing<'_> {
    /// Writes a part; once there is a bad file, the others are only looked at.
    fn part(
        &mut self,
        part: Part,
        files: &[&Found],
        folder: &NewFolder,
        bad: &mut BTreeSet<PathBuf>,
        skipped: &mut Vec<Skipped>,
    ) -> Result<(), ImportError> {
        let file = match part {
            Part::Training => 1,
            Part::Test => 0,
        };
        let mut record = 0;
        let mut records = Vec::with_capacity(CHUNK * RECORD_BYTES);
        for places in order(files.len(), part).chunks(CHUNK) {
            let ready: Vec<_> = places
                .par_iter()
                .map(|&place| match self.stop.load(Ordering::Relaxed) {
                    true => Err(String::new()), // of no use: seen below
                    false => self.read(&files[place as usize].path),
                })
                .collect();
            if self.stop.load(Ordering::Relaxed) {
                return Err(ImportError::Stopped {
                    out: self.out.into(),
                });
            }
            records.clear();
            for (&place, ready) in places.iter().zip(ready) {
                let found = files[place as usize];
                match ready {
                    Ok(ready) => {
                        records.push(found.class as u8); // 256 at most
                        records.extend_from_slice(&ready.image);
                        self.seen.fits.extend(ready.fit);
                        self.seen.tagged += u64::from(ready.is_tagged);
                        self.seen.turned += u64::from(ready.is_turned);
                        self.seen.grey_16 += u64::from(ready.is_grey_16);
                    }
                    Err(reason) => {
                        bad.insert(found.path.clone());
                        skipped.push(Skipped {
                            file: printable(found.path.as_os_str().as_bytes()),
                            reason,
                        });
                    }
                }
            }
            if bad.is_empty() {
                folder.put_all(Place { file, record }, &records)?;
                record += (records.len() / RECORD_BYTES) as u64;
            }
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Ready, String> {
        let cannot = |error: std::io::Error| format!("cannot be read: {error}");
        let file = File::open(path).map_err(cannot)?;
        let length = file.metadata().map_err(cannot)?.len();
        if length > MAX_FILE_BYTES {
            return Err(format!(
                "has {}, too much for a picture",
                text::bytes(length)
            ));
        }
        // It guards no data that a panic could have spoiled.
        let _large = (length > LARGE_FILE_BYTES).then(|| {
            self.large_file
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
        });
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(MAX_FILE_BYTES)
            .read_to_end(&mut bytes)
            .map_err(cannot)?;
        let picture = self.reader.read(&bytes)?;
        let usual = picture.rgb.usual_fit();
        let fit = usual.and(self.fit.or(usual));
        Ok(Ready {
            image: picture.rgb.fitted(fit.unwrap_or(Fit::Pad))?,
            fit,
            is_tagged: picture.is_tagged,
            is_turned: picture.is_turned,
            is_grey_16: picture.is_grey_16,
        })
    }
}
