//! CIFAR-10 and CIFAR-100, in their binary or their Python layout, as a folder or as the archive that is
//! published, into a data folder. Records keep their order and their files, so that those of CIFAR-10 are
//! the published binary version, byte for byte.

mod files;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard};

use super::archive::{self, Wanted};
use super::pickle::Pickle;
use super::pipeline::pipeline;
use super::stop::Stop;
use super::{ImportError, Imported, NewFolder, Place};
use crate::data::mmap::{self, FileBytes};
use crate::data::{DataError, Description, IMAGE_BYTES, MAX_CLASSES, RECORD_BYTES};
pub use files::{Cifar, Labels};
use files::{Layout, Role, Source};

/// Records that are written at a time.
const AT_A_TIME: usize = 256;

/// Most bytes of the names of all classes.
const MOST_NAME_BYTES: usize = 1 << 16;

/// Imports the data set at `path` to the new data folder `out`. Memory holds few files of images at a time.
///
/// # Errors
/// Names the file, or the member of the archive, of what is wrong; ends early where `stop` is set.
pub fn import_cifar(
    cifar: Cifar,
    path: &Path,
    out: &Path,
    stop: &AtomicBool,
) -> Result<Imported, ImportError> {
    let source = files::find(cifar, path).map_err(|problem| match path.exists() {
        true => ImportError::unusable(path, problem),
        false => ImportError::Read {
            path: path.into(),
            source: std::io::ErrorKind::NotFound.into(),
        },
    })?;
    let folder = NewFolder::create(out, cifar.n_train_files())?;
    let import = Import {
        cifar,
        folder: &folder,
        stop: Stop { flag: stop, out },
        found: Mutex::new(Found::default()),
    };
    let place = match &source {
        Source::Folder(folder, layout) => {
            import.folder(folder, *layout)?;
            folder
        }
        Source::Archive(archive) => {
            import.archive(archive)?;
            archive
        }
    };
    let classes = import.classes(place)?;
    let description = Description {
        name: cifar.name().into(),
        classes,
        source: format!("{}, {}", cifar.name(), place.display()),
        fit: "none".into(),
        ..Description::default()
    };
    folder.finish(description, Vec::new(), Vec::new())
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// By the first file of images.
    layout: Option<Layout>,
    /// Of each layout.
    names: [Option<Vec<String>>; 2],
    /// The largest label of each file of images, and the first record that has it.
    largest: Vec<(usize, (u8, usize))>,
}

struct Import<'a> {
    cifar: Cifar,
    folder: &'a NewFolder,
    stop: Stop<'a>,
    found: Mutex<Found>,
}

impl Import<'_> {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found
            .lock()
            .expect("noting what was found does not panic")
    }

    /// Reads the files of a folder.
    fn folder(&self, folder: &Path, layout: Layout) -> Result<(), ImportError> {
        let mut files = self.cifar.files(layout).iter().enumerate();
        let next = || {
            let Some((file, name)) = files.next() else {
                return Ok(None);
            };
            let path = folder.join(name);
            // What is missing is told at the end, with all the rest.
            Ok(Some(match path.exists() {
                true => Some((file, open(&path, self.cifar.most_bytes())?)),
                false => None,
            }))
        };
        pipeline(
            self.stop,
            next,
            |file: Option<(usize, FileBytes)>| match file {
                Some((file, bytes)) => {
                    let path = folder.join(self.cifar.files(layout)[file]);
                    let taken = self.take(file, layout, &bytes);
                    taken.map_err(|error| error.of(&path))
                }
                None => Ok(()),
            },
        )
    }

    /// Reads the members of an archive.
    fn archive(&self, archive: &Path) -> Result<(), ImportError> {
        let layouts = [Layout::Binary, Layout::Python];
        let names = layouts.map(|layout| self.cifar.files(layout)).concat();
        let wanted = Wanted {
            names: &names,
            most_bytes: self.cifar.most_bytes(),
        };
        archive::read(archive, wanted, self.stop, |member, bytes| {
            let n_files = names.len() / 2;
            let taken = self.take(member % n_files, layouts[member / n_files], bytes);
            taken.map_err(|error| error.of(&archive.join(names[member])))
        })
    }

    /// Takes a file, by its place in [`Cifar::files`].
    fn take(&self, file: usize, layout: Layout, bytes: &[u8]) -> Result<(), TakeError> {
        if self.cifar.role(file) == Role::Names {
            let names = names(self.cifar, layout, bytes)?;
            self.found().names[layout as usize] = Some(names);
            return Ok(());
        }
        {
            let mut found = self.found();
            // An archive may hold both; they are the same.
            if *found.layout.get_or_insert(layout) != layout {
                return Ok(());
            }
            found.largest.push((file, (0, 0)));
        }
        let mut writer = Writer {
            folder: self.folder,
            file,
            record: 0,
            waiting: Vec::with_capacity(AT_A_TIME * RECORD_BYTES),
            largest: (0, 0),
        };
        match layout {
            Layout::Binary => self.binary(bytes, &mut writer)?,
            Layout::Python => self.python(bytes, &mut writer)?,
        }
        writer.flush()?;
        let mut found = self.found();
        let mut of_file = found.largest.iter_mut().filter(|(of, _)| *of == file);
        if let Some((_, largest)) = of_file.next() {
            *largest = writer.largest;
        }
        Ok(())
    }

    /// Records of one label (CIFAR-10), or a coarse and a fine one (CIFAR-100), and an image.
    fn binary(&self, bytes: &[u8], writer: &mut Writer) -> Result<(), TakeError> {
        let (n_labels, label) = match self.cifar {
            Cifar::Ten => (1, 0),
            Cifar::Hundred(Labels::Coarse) => (2, 0),
            Cifar::Hundred(Labels::Fine) => (2, 1),
        };
        let record_bytes = n_labels + IMAGE_BYTES;
        if bytes.is_empty() {
            return Err("is empty".to_string().into());
        }
        let left = bytes.len() % record_bytes;
        if left != 0 {
            return Err(format!(
                "ends at byte {} within record {}, after {left} of {record_bytes} bytes; it is cut short or \
                 of another kind",
                bytes.len(),
                bytes.len() / record_bytes
            )
            .into());
        }
        for record in bytes.chunks_exact(record_bytes) {
            writer.put(record[label], &record[n_labels..])?;
        }
        Ok(())
    }

    /// A dictionary with an array of images, each a row, and a list of labels.
    fn python(&self, bytes: &[u8], writer: &mut Writer) -> Result<(), TakeError> {
        let pickle = Pickle::read(bytes).map_err(|error| error.to_string())?;
        let key = match self.cifar {
            Cifar::Ten => "labels",
            Cifar::Hundred(Labels::Fine) => "fine_labels",
            Cifar::Hundred(Labels::Coarse) => "coarse_labels",
        };
        let images = pickle.array("data")?;
        if (images.element.kind, images.element.bytes) != (b'u', 1) {
            return Err("`data` does not hold unsigned bytes".to_string().into());
        }
        let ([n, IMAGE_BYTES] | [n, 3, 32, 32]) = images.shape else {
            return Err(format!("`data` is {:?}, not [n, 3072]", images.shape).into());
        };
        let labels = pickle.numbers(key)?;
        if labels.len() != *n || *n == 0 {
            return Err(format!("`data` holds {n} images, `{key}` {} labels", labels.len()).into());
        }
        for (record, (image, label)) in images
            .data
            .chunks_exact(IMAGE_BYTES)
            .zip(labels)
            .enumerate()
        {
            let label = u8::try_from(label)
                .map_err(|_| format!("`{key}` has the label {label} for image {record}"))?;
            writer.put(label, image)?;
        }
        Ok(())
    }

    /// Names of the classes, once all is read; or what is missing.
    fn classes(&self, place: &Path) -> Result<Vec<String>, ImportError> {
        let mut found = self.found();
        let layout = found.layout;
        let layout = layout.ok_or_else(|| {
            let [binary, python] =
                [Layout::Binary, Layout::Python].map(|layout| self.cifar.files(layout)[1]);
            let name = self.cifar.name();
            ImportError::unusable(
                place,
                format!(
                    "holds no {name}: no file {binary} or {python} is in it; give what was published"
                ),
            )
        })?;
        let files = self.cifar.files(layout);
        let has = |file: usize| match self.cifar.role(file) {
            Role::Names => found.names[layout as usize].is_some(),
            Role::Images(_) => found.largest.iter().any(|(of, _)| *of == file),
        };
        let missing: Vec<&str> = (0..files.len())
            .filter(|&file| !has(file))
            .map(|file| files[file])
            .collect();
        if !missing.is_empty() {
            let problem = format!("lacks {}; restore what was published", missing.join(", "));
            return Err(ImportError::unusable(place, problem));
        }
        let names = found.names[layout as usize].take().unwrap_or_default();
        for &(file, (label, record)) in &found.largest {
            if usize::from(label) >= names.len() {
                let problem = format!(
                    "record {record} has the label {label}, but {} classes are named; it is damaged, copy or \
                     download it again",
                    names.len()
                );
                return Err(ImportError::unusable(&place.join(files[file]), problem));
            }
        }
        Ok(names)
    }
}

/// The names of classes in a file.
fn names(cifar: Cifar, layout: Layout, bytes: &[u8]) -> Result<Vec<String>, String> {
    let names = match layout {
        Layout::Binary => {
            let text = std::str::from_utf8(bytes)
                .map_err(|error| format!("is not UTF-8 at byte {}", error.valid_up_to()))?;
            let lines = crate::text::strip_bom(text).lines().map(str::trim);
            let names = lines.filter(|name| !name.is_empty());
            // One too many is enough to refuse them.
            let names: Vec<&str> = names.take(MAX_CLASSES + 1).collect();
            let n_bytes: usize = names.iter().map(|name| name.len()).sum();
            if n_bytes > MOST_NAME_BYTES {
                return Err(format!("holds names of {n_bytes} bytes"));
            }
            names.into_iter().map(String::from).collect()
        }
        Layout::Python => {
            let pickle = Pickle::read(bytes).map_err(|error| error.to_string())?;
            let key = match cifar {
                Cifar::Ten => "label_names",
                Cifar::Hundred(Labels::Fine) => "fine_label_names",
                Cifar::Hundred(Labels::Coarse) => "coarse_label_names",
            };
            pickle.strings(key, MAX_CLASSES)?
        }
    };
    match names.len() {
        2..=MAX_CLASSES => Ok(names),
        n if n > MAX_CLASSES => Err(format!("names more than {MAX_CLASSES} classes")),
        n => Err(format!("names {n} classes, not 2 to {MAX_CLASSES}")),
    }
}

/// Records on their way to a file.
struct Writer<'a> {
    folder: &'a NewFolder,
    file: usize,
    /// Records that were put.
    record: usize,
    waiting: Vec<u8>,
    /// The largest label, and the first record that has it.
    largest: (u8, usize),
}

impl Writer<'_> {
    fn put(&mut self, label: u8, image: &[u8]) -> Result<(), ImportError> {
        if label > self.largest.0 {
            self.largest = (label, self.record);
        }
        self.waiting.push(label);
        self.waiting.extend_from_slice(image);
        self.record += 1;
        match self.waiting.len() < AT_A_TIME * RECORD_BYTES {
            true => Ok(()),
            false => self.flush(),
        }
    }

    fn flush(&mut self) -> Result<(), ImportError> {
        let first = self.record - self.waiting.len() / RECORD_BYTES;
        let place = Place {
            file: self.file,
            record: first as u64,
        };
        self.folder.put_all(place, &self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

/// Why a file is not taken: what is wrong with it, or with where it goes.
enum TakeError {
    Problem(String),
    Import(ImportError),
}

impl TakeError {
    fn of(self, path: &Path) -> ImportError {
        match self {
            TakeError::Problem(problem) => {
                ImportError::unusable(path, format!("{problem}; copy or download it again"))
            }
            TakeError::Import(error) => error,
        }
    }
}

impl From<String> for TakeError {
    fn from(problem: String) -> TakeError {
        TakeError::Problem(problem)
    }
}

impl From<ImportError> for TakeError {
    fn from(error: ImportError) -> TakeError {
        TakeError::Import(error)
    }
}

/// Maps a file of a folder.
fn open(path: &Path, most_bytes: u64) -> Result<FileBytes, ImportError> {
    let failed = |source| ImportError::Read {
        path: path.into(),
        source,
    };
    let metadata = path.metadata().map_err(failed)?;
    if !metadata.is_file() {
        let problem = "is no regular file; put the file itself there";
        return Err(ImportError::unusable(path, problem));
    }
    if metadata.len() > most_bytes {
        let problem = format!(
            "has {} bytes, where at most {most_bytes} are expected; it is none of the published files, \
             copy or download it again",
            metadata.len()
        );
        return Err(ImportError::unusable(path, problem));
    }
    mmap::map(path).map_err(|error| match error {
        DataError::Read { path, source } => ImportError::Read { path, source },
        error => error.into(),
    })
}
