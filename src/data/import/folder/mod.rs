//! A folder of pictures, a folder for each class, as a data folder.

mod entries;
mod find;
mod parts;
mod ready;

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::stop::Stop;
use super::{
    DEFAULT_TEST_SHARE, Fit, ImportError, Imported, NewFolder, Part, Place, Skipped, order,
    printable, split_off_test,
};
use crate::data::{Description, RECORD_BYTES};
use crate::text;
use find::{Content, Found};
pub use ready::{Pictures, Ready};

/// Pictures that are decoded side by side and then written: what they take is little.
const CHUNK: usize = 512;

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
    let stop = Stop { flag: stop, out };
    let mut new_folder = NewFolder::create(out, 1)?;
    let Content {
        classes,
        mut files,
        has_test,
        bad: mut skipped,
        notes: mut said,
    } = find::find(dir, options.skip_bad)?;
    if has_test && options.test_share.is_some() {
        return Err(ImportError::TestPart { path: dir.into() });
    }
    loop {
        check_classes(dir, &classes, &files, &skipped, options)?;
        let parts = split(dir, &files, options)?;
        let mut writing = Writing::new(options, stop);
        let bad = writing.both_parts(&parts, &new_folder)?;
        let paths: BTreeSet<PathBuf> = bad.iter().map(|(path, _)| path.clone()).collect();
        skipped.extend(
            bad.into_iter()
                .map(|(path, reason)| Skipped::new(&path, reason)),
        );
        if paths.is_empty() && (skipped.is_empty() || options.skip_bad) {
            skipped.sort_by(|a, b| a.file.cmp(&b.file));
            said.extend(writing.seen.notes(options.upright));
            said.extend(absent(&classes, &parts));
            let description = describe(dir, classes, &writing.seen);
            return new_folder.finish(description, skipped, said);
        }
        if !options.skip_bad {
            skipped.sort_by(|a, b| a.file.cmp(&b.file));
            return Err(ImportError::Bad { files: skipped });
        }
        // Again without them: which images test, and their order, are those of the good files alone.
        files.retain(|file| !paths.contains(&file.path));
        drop(new_folder);
        new_folder = NewFolder::create(out, 1)?;
    }
}

/// The files that paths name, folders by all that is in them, in the order of their bytes, and in that of
/// the paths; what cannot be looked at is bad. Links that lead back to a folder above are not followed.
pub fn files(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<Skipped>) {
    let (mut files, mut bad) = (Vec::new(), Vec::new());
    let mut above = Vec::new();
    for path in paths {
        add_files(path, &mut above, &mut files, &mut bad);
    }
    (files, bad)
}

fn add_files(
    path: &Path,
    above: &mut Vec<PathBuf>,
    files: &mut Vec<PathBuf>,
    bad: &mut Vec<Skipped>,
) {
    if !path.is_dir() {
        return files.push(path.into()); // one that is not there is told when it is read
    }
    let skipped = |error: &std::io::Error| Skipped::new(path, entries::reason(path, error));
    let whole = match path.canonicalize() {
        Ok(whole) => whole,
        Err(error) => return bad.push(skipped(&error)),
    };
    if above.contains(&whole) {
        return bad.push(Skipped::new(path, find::OWN_FOLDER));
    }
    match entries::list(path) {
        Err(error) => bad.push(skipped(&error)),
        Ok(list) => {
            above.push(whole);
            for entry in list {
                match entry.metadata {
                    Ok(_) => add_files(&entry.path, above, files, bad),
                    Err(reason) => bad.push(Skipped::new(&entry.path, reason)),
                }
            }
            above.pop();
        }
    }
}

/// What `dataset.toml` says of the pictures of a folder.
fn describe(dir: &Path, classes: Vec<String>, seen: &Seen) -> Description {
    let whole = dir.canonicalize().unwrap_or(dir.into());
    Description {
        name: printable(whole.file_name().unwrap_or_default().as_bytes()),
        classes,
        source: printable(whole.as_os_str().as_bytes()),
        fit: seen.fits(),
        ..Description::default()
    }
}

/// The classes without any of these files, by their names.
fn without_files<'a>(
    classes: &'a [String],
    files: impl Iterator<Item = &'a Found>,
) -> impl Iterator<Item = &'a String> {
    let mut is_there = vec![false; classes.len()];
    files.for_each(|file| is_there[file.class] = true);
    let absent = classes.iter().zip(is_there).filter(|(_, there)| !there);
    absent.map(|(name, _)| name)
}

/// That every class has a picture.
fn check_classes(
    dir: &Path,
    classes: &[String],
    files: &[Found],
    skipped: &[Skipped],
    options: &FolderOptions,
) -> Result<(), ImportError> {
    let absent = without_files(classes, files.iter());
    let absent: Vec<_> = absent.map(|name| format!("`{name}`")).collect();
    if absent.is_empty() || (!skipped.is_empty() && !options.skip_bad) {
        return Ok(()); // or the bad files are to be named
    }
    let left = if skipped.is_empty() { "" } else { " left" };
    let which = match absent.len() {
        1 => "the class",
        _ => "each of the classes",
    };
    let problem = format!(
        "no picture{left} in the folder of {which} {}; put some there, or remove the folder",
        absent.join(", ")
    );
    Err(ImportError::unusable(dir, problem))
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
    let problem = format!(
        "no picture is left for the {empty} part; put more pictures there, two of a class at least"
    );
    Err(ImportError::unusable(dir, problem))
}

/// Names the classes that have pictures in one part only, where there are such.
fn absent(classes: &[String], parts: &Parts) -> Vec<String> {
    let sentence = |(files, part): (&[&Found], &str)| {
        let absent = without_files(classes, files.iter().copied());
        let absent: Vec<_> = absent.map(String::as_str).collect();
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
    fn add(&mut self, picture: &Ready) {
        self.fits.extend(picture.fit);
        self.tagged += u64::from(picture.is_tagged);
        self.turned += u64::from(picture.is_turned);
        self.grey_16 += u64::from(picture.is_grey_16);
    }

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

/// Pictures on their way to a folder.
struct Writing<'a> {
    pictures: Pictures,
    stop: Stop<'a>,
    seen: Seen,
}

/// A file that cannot be used, and why.
type Bad = (PathBuf, String);

impl<'a> Writing<'a> {
    fn new(options: &FolderOptions, stop: Stop<'a>) -> Writing<'a> {
        Writing {
            pictures: Pictures::new(options.fit, options.upright),
            stop,
            seen: Seen::default(),
        }
    }

    /// Writes both parts, and gives the files that cannot be used.
    fn both_parts(&mut self, parts: &Parts, folder: &NewFolder) -> Result<Vec<Bad>, ImportError> {
        let mut bad = Vec::new();
        for (part, files) in [(Part::Test, &parts.test), (Part::Training, &parts.training)] {
            self.part(part, files, folder, &mut bad)?;
        }
        Ok(bad)
    }

    /// Writes a part; once there is a bad file, the others are only looked at.
    fn part(
        &mut self,
        part: Part,
        files: &[&Found],
        folder: &NewFolder,
        bad: &mut Vec<Bad>,
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
                .map(|&place| match self.stop.is_set() {
                    true => Err(String::new()), // of no use: seen below
                    false => self.pictures.read(&files[place as usize].path),
                })
                .collect();
            self.stop.check()?;
            records.clear();
            for (&place, ready) in places.iter().zip(ready) {
                let found = files[place as usize];
                match ready {
                    Ok(ready) => {
                        records.push(found.class as u8); // 256 at most
                        records.extend_from_slice(&ready.image);
                        self.seen.add(&ready);
                    }
                    Err(reason) => bad.push((found.path.clone(), reason)),
                }
            }
            if bad.is_empty() {
                folder.put_all(Place { file, record }, &records)?;
                record += (records.len() / RECORD_BYTES) as u64;
            }
        }
        Ok(())
    }
}
