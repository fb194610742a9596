//! IDX files, the format of the MNIST family, into a data folder: grey images [n, height, width] or colour
//! images [n, height, width, 3], and their labels.

mod files;
mod fit;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::fit::Fit;
use super::order::{self, Part};
use super::pipeline::pipeline;
use super::stop::Stop;
use super::{ImportError, Imported, NewFolder, Place, gz, packed};
use crate::data::idx::Idx;
use crate::data::{Description, MAX_CLASSES, RECORD_BYTES};
use crate::text;
use files::Pair;
use fit::Shape;

/// Bytes of images that are read at a time, at most. What they become is written in the order in which it
/// stands in the file: all of MNIST at one go, larger files with gaps that later images fill.
const BAND_BYTES: u64 = 1 << 26;

/// Most images of a file: what compressed files say that they hold, they may all but not hold, and each takes
/// memory.
const MOST_IMAGES: u32 = 1 << 28;

/// Records that are written at a time, 1 MB.
const RECORDS_AT_A_TIME: usize = 340;

/// How IDX files are imported.
#[derive(Clone, Debug)]
pub struct IdxOptions {
    /// How images are brought to 32x32; nothing: by their size.
    pub fit: Option<Fit>,
    /// The share of each class that tests where there is no test part, 0.1 if nothing is said.
    pub test_share: Option<f64>,
    /// Seed of the draw of those.
    pub split_seed: u64,
    /// What the data set is called; nothing: as its files are.
    pub name: Option<String>,
    /// Names of the classes, by label; nothing: `0`, `1`, ….
    pub classes: Option<Vec<String>>,
}

/// What a part of a data set is, before its images are read.
struct Labelled {
    images: Idx<Box<dyn std::io::Read + Send>>,
    path: PathBuf,
    shape: Shape,
    labels: Vec<u8>,
}

/// Imports the IDX files at `paths`, folders that hold them or the files themselves, to the new data folder
/// `out`. Files may be compressed by gzip. Memory holds some 20 bytes an image and 64 MiB of images.
///
/// # Errors
/// Names the file, and the byte where there is one, of what is wrong; ends early where `stop` is set.
pub fn import_idx(
    paths: &[PathBuf],
    out: &Path,
    options: &IdxOptions,
    stop: &AtomicBool,
) -> Result<Imported, ImportError> {
    let stop = Stop { flag: stop, out };
    let found = files::find(paths)?;
    let training = read_labels(&found.training)?;
    let test = found.test.as_ref().map(read_labels).transpose()?;
    let first = paths
        .first()
        .map(PathBuf::as_path)
        .unwrap_or(Path::new("."));
    let shapes: Vec<Shape> = [Some(&training), test.as_ref()]
        .into_iter()
        .flatten()
        .map(|part| part.shape)
        .collect();
    let fit = Shape::fit_of_all(&shapes, options.fit)
        .map_err(|problem| ImportError::unusable(&training.path, problem))?;
    let (classes, mut notes) = classes(&training, test.as_ref(), options)?;
    let parts = match test {
        Some(test) => {
            if options.test_share.is_some() {
                notes.push("--test-share is not used: there is a test part".into());
            }
            let places = |part: &Labelled, which| in_order(part.labels.len(), which);
            let train_places = places(&training, Part::Training);
            let test_places = places(&test, Part::Test);
            vec![(training, train_places), (test, test_places)]
        }
        None => {
            let places = split(&training, classes.len(), options)?;
            vec![(training, places)]
        }
    };
    let folder = NewFolder::create(out, 1)?;
    for (part, places) in parts {
        write(part, &places, fit, &folder, stop)?;
    }
    let description = Description {
        name: options.name.clone().unwrap_or(found.name),
        classes,
        source: format!("IDX files, {}", first.display()),
        fit: Shape::name_of_fit(&shapes, fit),
        ..Description::default()
    };
    folder.finish(description, Vec::new(), notes)
}

/// Reads the headers of a pair, and all labels.
fn read_labels(pair: &Pair) -> Result<Labelled, ImportError> {
    let (images, most_bytes) = open(&pair.images)?;
    let (mut labels, _) = open(&pair.labels)?;
    if images.n() != labels.n() {
        let problem = format!(
            "holds {} labels, but {} holds {} images; give files that belong together",
            labels.n(),
            pair.images.display(),
            images.n()
        );
        return Err(ImportError::unusable(&pair.labels, problem));
    }
    let unusable = |problem: String| ImportError::unusable(&pair.images, problem);
    let shape = Shape::of(images.item()).map_err(unusable)?;
    match images.n() {
        0 => return Err(unusable("holds no image; give a file that does".into())),
        1..=MOST_IMAGES => {}
        n => {
            return Err(unusable(format!(
                "holds {} images; at most {} are imported at a time, give a file of fewer",
                text::count(n.into()),
                text::count(MOST_IMAGES.into())
            )));
        }
    }
    if images.file_bytes() > most_bytes {
        let problem = format!(
            "is cut short: by its header it has {} bytes unpacked, and it cannot have more than {}; copy or \
             download it again",
            text::count(images.file_bytes()),
            text::count(most_bytes)
        );
        return Err(unusable(problem));
    }
    let mut all = Vec::new();
    labels
        .read(u32::MAX, &mut all)
        .map_err(|error| failed(&pair.labels, &error))?;
    Ok(Labelled {
        images,
        path: pair.images.clone(),
        shape,
        labels: all,
    })
}

/// Opens a file, compressed or not; also the most bytes that it can hold.
pub(super) fn open(path: &Path) -> Result<(Idx<Box<dyn std::io::Read + Send>>, u64), ImportError> {
    if let Some(problem) = packed::single(path) {
        return Err(ImportError::unusable(path, problem));
    }
    let gz::Opened { file, most_bytes } = gz::open(path).map_err(|error| failed(path, &error))?;
    let idx = Idx::new(file).map_err(|error| failed(path, &error))?;
    Ok((idx, most_bytes))
}

/// What went wrong in reading a file.
pub(super) fn failed(path: &Path, error: &std::io::Error) -> ImportError {
    gz::failed(path, error, "cannot be read; copy or download it again")
}

/// Names of the classes: as many as the largest label asks for, also where some have no image.
fn classes(
    training: &Labelled,
    test: Option<&Labelled>,
    options: &IdxOptions,
) -> Result<(Vec<String>, Vec<String>), ImportError> {
    let mut counts = [[0u64; MAX_CLASSES]; 2];
    for (counts, part) in counts.iter_mut().zip([Some(training), test]) {
        for label in part.iter().flat_map(|part| &part.labels) {
            counts[usize::from(*label)] += 1;
        }
    }
    let n = |label: usize| counts[0][label] + counts[1][label];
    let last = (0..MAX_CLASSES)
        .rposition(|label| n(label) > 0)
        .unwrap_or(0);
    let n_different = (0..=last).filter(|&label| n(label) > 0).count();
    let unusable = |problem: String| ImportError::unusable(&training.path, problem);
    if n_different < 2 {
        let problem = format!(
            "every label is {last}; a data set has 2 to 256 classes: give the labels that belong to the \
             images"
        );
        return Err(unusable(problem));
    }
    let classes: Vec<String> = match &options.classes {
        Some(classes) if last < classes.len() => classes.clone(),
        Some(classes) => {
            let problem = format!(
                "has a label {last}, but {} classes are known; copy or download the labels again",
                classes.len()
            );
            return Err(unusable(problem));
        }
        None => (0..=last).map(|label| label.to_string()).collect(),
    };
    let mut notes = Vec::new();
    let empty = (0..=last).filter(|&label| n(label) == 0);
    let empty: Vec<String> = empty.map(|label| label.to_string()).collect();
    if !empty.is_empty() {
        let which = empty.join(", ");
        notes.push(format!(
            "no image has the label {which}: it is a class without images"
        ));
    }
    let untrained = (0..=last).filter(|&label| counts[0][label] == 0 && counts[1][label] > 0);
    let untrained: Vec<String> = untrained.map(|label| label.to_string()).collect();
    if !untrained.is_empty() {
        let which = untrained.join(", ");
        notes.push(format!(
            "only test images have the label {which}: it cannot be learned"
        ));
    }
    Ok((classes, notes))
}

/// Where each image of a part is written.
fn in_order(n: usize, part: Part) -> Vec<Target> {
    let mut targets = vec![
        Target {
            test: part == Part::Test,
            record: 0
        };
        n
    ];
    for (record, image) in (0..).zip(order::order(n, part)) {
        targets[image as usize].record = record;
    }
    targets
}

/// Where each image is written, where some of each class become the test part.
fn split(
    all: &Labelled,
    n_classes: usize,
    options: &IdxOptions,
) -> Result<Vec<Target>, ImportError> {
    let share = options.test_share.unwrap_or(order::DEFAULT_TEST_SHARE);
    let mut targets = vec![
        Target {
            test: false,
            record: 0
        };
        all.labels.len()
    ];
    let mut by_class: Vec<Vec<u32>> = vec![Vec::new(); n_classes];
    for (image, label) in (0..).zip(&all.labels) {
        by_class[usize::from(*label)].push(image);
    }
    for (class, images) in by_class.iter().enumerate() {
        for i in order::split_off_test(images.len(), class, share, options.split_seed) {
            targets[images[i as usize] as usize].test = true;
        }
    }
    drop(by_class);
    for part in [Part::Training, Part::Test] {
        let is_test = part == Part::Test;
        let of_part = (0..)
            .zip(&targets)
            .filter(|(_, target)| target.test == is_test);
        let of_part: Vec<u32> = of_part.map(|(image, _)| image).collect();
        if of_part.is_empty() {
            let problem = format!(
                "--test-share {share} leaves no image to {}; give another share, or more images",
                if is_test { "test with" } else { "train on" }
            );
            return Err(ImportError::unusable(&all.path, problem));
        }
        for (record, i) in (0..).zip(order::order(of_part.len(), part)) {
            targets[of_part[i as usize] as usize].record = record;
        }
    }
    Ok(targets)
}

/// Where an image is written.
#[derive(Clone, Copy)]
struct Target {
    test: bool,
    record: u32,
}

impl Target {
    /// Whether `other` is the next record of the same file.
    fn is_before(self, other: Target) -> bool {
        self.test == other.test && u64::from(self.record) + 1 == u64::from(other.record)
    }

    fn place(self) -> Place {
        Place {
            file: usize::from(!self.test),
            record: u64::from(self.record),
        }
    }
}

/// Writes the images of a part, each at its place.
fn write(
    part: Labelled,
    targets: &[Target],
    fit: Fit,
    folder: &NewFolder,
    stop: Stop,
) -> Result<(), ImportError> {
    let Labelled {
        mut images,
        path,
        shape,
        labels,
    } = part;
    let item_bytes = images.item_bytes() as usize; // Shape::of has seen that it is small
    let at_a_time = (BAND_BYTES / item_bytes as u64).max(1) as u32;
    let (mut band, mut first) = (Vec::new(), 0);
    loop {
        let n = images
            .read(at_a_time, &mut band)
            .map_err(|error| failed(&path, &error))? as usize;
        if n == 0 {
            return Ok(());
        }
        let mut order: Vec<usize> = (first..first + n).collect();
        order.sort_unstable_by_key(|&image| (targets[image].test, targets[image].record));
        let mut chunks = order.chunks(RECORDS_AT_A_TIME);
        pipeline(
            stop,
            || Ok(chunks.next()),
            |chunk: &[usize]| {
                for run in chunk.chunk_by(|&a, &b| targets[a].is_before(targets[b])) {
                    let mut records = vec![0; run.len() * RECORD_BYTES];
                    for (&image, record) in run.iter().zip(records.chunks_exact_mut(RECORD_BYTES)) {
                        let (label, planes) = record.split_at_mut(1);
                        label[0] = labels[image];
                        let planes = planes.try_into().expect("the rest of a record");
                        let item = &band[(image - first) * item_bytes..][..item_bytes];
                        shape.to_record(item, fit, planes);
                    }
                    folder.put_all(targets[run[0]].place(), &records)?;
                }
                Ok(())
            },
        )?;
        first += n;
    }
}
