//! `tb/` in a run's directory: its scalars as an event file of TensorBoard, one for all sessions, in which each
//! sample is once and in its order. The journal says all of it, so what a kill leaves is mended when the search
//! goes on, and records that are added are not synced.

mod record;
mod scalars;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Config;
use crate::disk::{Disk, DiskFile, Found, whole};
use crate::run::history::History;
use crate::run::{Run, now};
use crate::search;
use crate::space::Space;
use record::{Event, Summary, VERSION, Value};
use scalars::{Points, Scalars};

/// Name of the folder within a run's directory.
pub const FOLDER: &str = "tb";

/// Name of its file; readers look for `tfevents`.
pub const FILE_NAME: &str = "events.out.tfevents.nas-engine";

/// How many times longer than it need be a file may be, whose scalars are in events of their own, and bytes besides.
const TIMES: u64 = 8;
const LEAST: u64 = 1 << 16;

/// The event file of a run, under way.
#[derive(Debug)]
struct EventFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    scalars: Scalars,
    file: Box<dyn DiskFile>,
    /// Whether a child ended again that was shown.
    needs_rewrite: bool,
}

impl EventFile {
    /// Opens the event file of a run and brings it up to date with the history: appends missing points, truncates
    /// a torn record, replaces a file that disagrees (a TensorBoard that has it open must be started again then).
    ///
    /// # Errors
    /// Where it cannot be read or written.
    fn open(config: &Config, space: Space, run: &Run) -> io::Result<EventFile> {
        let path = run.path.join(FOLDER).join(FILE_NAME);
        let mut scalars = Scalars::new(space, config.search.is_alone());
        let points = scalars.all(&run.history);
        let file = bring_up_to_date(&*run.disk, &path, began(&run.history), &points)?;
        Ok(EventFile {
            disk: Arc::clone(&run.disk),
            path,
            scalars,
            file,
            needs_rewrite: false,
        })
    }

    /// Adds what just happened.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn see(&mut self, event: &search::Event) -> io::Result<()> {
        let points = match event {
            search::Event::Epoch { .. } => return Ok(()),
            search::Event::Ended(child) => {
                self.needs_rewrite |= self.scalars.end(child).is_err();
                self.scalars.children()
            }
            search::Event::Batch { history, .. } if self.needs_rewrite => {
                return self.rewrite(history);
            }
            search::Event::Batch { history, .. } => self.scalars.baselines(history),
        };
        self.file.write_all(&records(&points))
    }

    fn rewrite(&mut self, history: &History) -> io::Result<()> {
        self.scalars = self.scalars.anew();
        let points = self.scalars.all(history);
        self.file = bring_up_to_date(&*self.disk, &self.path, began(history), &points)?;
        self.needs_rewrite = false;
        Ok(())
    }
}

/// The event file of a search that goes on without it where it cannot be written.
#[derive(Debug)]
pub struct Watcher {
    path: PathBuf,
    file: Option<EventFile>,
}

impl Watcher {
    /// Opens the event file of a run and brings it up to date with its history; warns where it cannot be written.
    pub fn open(config: &Config, run: &Run) -> Watcher {
        let path = run.path.join(FOLDER).join(FILE_NAME);
        let mut watcher = Watcher { path, file: None };
        let space = Space::new(&config.space).map_err(io::Error::other);
        let opened = space.and_then(|space| EventFile::open(config, space, run));
        watcher.file = opened.map_err(|error| watcher.warn(&error)).ok();
        watcher
    }

    /// Adds what just happened; warns where it cannot be written, once.
    pub fn see(&mut self, event: &search::Event) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.see(event)
        {
            self.warn(&error);
            self.file = None;
        }
    }

    /// Says what the history says, also where the search ended before a child that was tried again was shown.
    pub fn finish(mut self, history: &History) {
        if let Some(mut file) = self.file.take().filter(|file| file.needs_rewrite)
            && let Err(error) = file.rewrite(history)
        {
            self.warn(&error);
        }
    }

    fn warn(&self, error: &io::Error) {
        let path = self.path.display();
        tracing::warn!(
            "{path}: {error}; TensorBoard sees no more of this run, until `search --resume` can write it"
        );
    }
}

/// When a run began, or now.
fn began(history: &History) -> f64 {
    history.runs.first().map_or_else(now, |run| run.timing.at)
}

/// Brings the event file of a run up to date with its history, as [`Watcher::open`] does.
pub fn write(config: &Config, run: &Run) {
    Watcher::open(config, run);
}

/// Makes a file hold some points and nothing else; the file, to go on with.
fn bring_up_to_date(
    disk: &dyn Disk,
    path: &Path,
    began: f64,
    points: &[Points],
) -> io::Result<Box<dyn DiskFile>> {
    let folder = crate::disk::folder(path);
    whole::create_folders(disk, folder)?;
    // Readers would take one for a second event file.
    whole::remove_unfinished(disk, folder, |name| name == FILE_NAME)?;
    // Of the folder: a path may be relative, or lead through links.
    if disk.target(path) != disk.target(folder).join(FILE_NAME) {
        let message = "it is a link, and what it leads to may be another's; remove it";
        return Err(io::Error::other(message));
    }
    // Longer than it can be, it says something else: a stranger's file is not read whole.
    let all = records(points);
    let most = LEAST + TIMES * all.len() as u64;
    let before = match disk.found(path)? {
        Some(Found::File(length)) if length <= most => disk.read(path)?,
        _ => vec![],
    };
    let (events, length) = record::read(&before);
    match missing(&events, points) {
        Some(missing) => {
            let mut file = disk.append(path)?;
            if length < before.len() {
                file.cut(length as u64)?;
            }
            file.write_all(&records(&missing))?;
            Ok(file)
        }
        None => {
            let mut bytes = Vec::new();
            let first = Event {
                wall_time: began,
                file_version: Some(VERSION.to_owned()),
                ..Event::default()
            };
            record::write(&first, &mut bytes);
            bytes.extend(all);
            whole::write(disk, path, |file| file.write_all(&bytes))?;
            disk.append(path)
        }
    }
}

/// Those of some points that events do not say yet; nothing where they say anything else.
fn missing(events: &[Event], points: &[Points]) -> Option<Vec<Points>> {
    let (first, events) = events.split_first()?;
    if first.file_version.as_deref() != Some(VERSION) {
        return None;
    }
    // Scalar by scalar: a baseline of replicas may come before or after samples of later batches.
    let mut said: HashMap<&str, Vec<(i64, Option<u32>)>> = HashMap::new();
    for event in events {
        for value in &event.summary.as_ref()?.value {
            let points = said.entry(&value.tag).or_default();
            points.push((event.step, value.simple_value.map(f32::to_bits)));
        }
    }
    let mut missing = Vec::new();
    let mut n_same: HashMap<&str, usize> = HashMap::new();
    for point in points {
        let is_missing = |(tag, value): &(&'static str, f64)| {
            let n = n_same.entry(tag).or_default();
            let Some(at) = said.get(tag).and_then(|said| said.get(*n)) else {
                return Some(true);
            };
            *n += 1;
            let is_same = *at == (point.step as i64, Some((*value as f32).to_bits()));
            is_same.then_some(false)
        };
        let are_missing: Option<Vec<bool>> = point.values.iter().map(is_missing).collect();
        let values = point.values.iter().zip(are_missing?);
        let values: Vec<_> = values
            .filter(|(_, is)| *is)
            .map(|(value, _)| *value)
            .collect();
        if !values.is_empty() {
            missing.push(Points {
                values,
                ..point.clone()
            });
        }
    }
    // What is said beyond them is of another run.
    let is_all = said
        .iter()
        .all(|(tag, points)| n_same.get(tag) == Some(&points.len()));
    is_all.then_some(missing)
}

/// The records of some points.
fn records(points: &[Points]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for point in points.iter().filter(|point| !point.values.is_empty()) {
        let value = point.values.iter().map(|(tag, value)| Value {
            tag: (*tag).to_owned(),
            simple_value: Some(*value as f32),
        });
        let event = Event {
            wall_time: point.at,
            step: point.step as i64,
            file_version: None,
            summary: Some(Summary {
                value: value.collect(),
            }),
        };
        record::write(&event, &mut bytes);
    }
    bytes
}
