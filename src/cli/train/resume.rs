//! What a training is to come to, from flags or from the checkpoint of one that was stopped; and how it
//! stops.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::failure::{Failure, Kind};
use super::super::flags::{self, Settings};
use super::super::output::Output;
use super::show::Come;
use super::{Flags, resolve};
use crate::checkpoint::Slots;
use crate::config::{Config, DEFAULT_PRESET};
use crate::device::Device;
use crate::disk::{self, Disk, Found, Real, whole};
use crate::space::Architecture;
use crate::text;
use crate::train::{Child, Keeper, Origin};

/// Flags, by their names here, that go with `--resume`.
const WITH_RESUME: [&str; 8] = [
    "resume",
    "data",
    "save",
    "test",
    "log_steps",
    "device",
    "threads",
    "time_limit",
];

/// What a training is to come to.
pub struct Goal {
    /// What is trained.
    pub architecture: Architecture,
    /// How.
    pub config: Config,
    /// In place of the learning rate of the settings and of the architecture.
    pub learning_rate: Option<f64>,
    /// Where the weights go.
    pub save: Option<PathBuf>,
    /// Whether the test data are read.
    pub test: bool,
    /// Whether the loss of every step is told.
    pub log_steps: bool,
    /// Where checkpoints are kept.
    checkpoints: CheckpointFile,
}

/// Where checkpoints are kept.
enum CheckpointFile {
    /// There, from time to time.
    At(PathBuf),
    /// There, where training is stopped: nobody asked for a file.
    OnStop(PathBuf),
    /// There, where training goes on from.
    Resumed(PathBuf),
}

/// What a checkpoint says besides for this command.
#[derive(Serialize, Deserialize)]
struct ToGoOn {
    config: String,
    learning_rate: Option<f64>,
    save: Option<PathBuf>,
    test: bool,
    log_steps: bool,
}

/// Where checkpoints are kept, and what keeps them.
pub struct Kept {
    /// What keeps them.
    pub keeper: Keeper,
    /// The file that `--resume` takes.
    pub path: PathBuf,
}

impl Goal {
    /// What the flags ask for.
    pub fn new(flags: &Flags) -> Result<Goal, Failure> {
        let arch = flags.arch.as_deref().unwrap_or(Path::new(""));
        let architecture = flags::read_architecture(arch)?;
        let config = resolve(flags, arch, architecture.kind())?;
        if let Some(path) = &flags.save {
            let [data, own] = [&flags.data.data, &flags.config.config].map(Option::as_deref);
            flags::check_not_read("--save", path, &[Some(arch), data, own])?;
            flags::check_writable("--save", path)?;
        }
        let checkpoints = match (&flags.checkpoint, &flags.save) {
            (Some(path), _) => CheckpointFile::At(path.clone()),
            (None, Some(save)) => CheckpointFile::At(with_suffix(save, ".checkpoint")),
            (None, None) => CheckpointFile::OnStop(free_name(arch)),
        };
        if let CheckpointFile::At(path) = &checkpoints {
            check_apart(flags.save.as_deref(), path)?;
            check_free(path)?;
            flags::check_writable("--checkpoint", path)?;
        }
        Ok(Goal {
            architecture,
            config,
            learning_rate: flags.learning_rate,
            save: flags.save.as_deref().map(full_save).transpose()?,
            test: flags.test,
            log_steps: flags.log_steps,
            checkpoints,
        })
    }

    /// What a training that was stopped was to come to, with the flags that go with that.
    pub fn resumed(flags: &Flags, file: &Path, typed: &[String]) -> Result<Goal, Failure> {
        if let Some(flag) = typed
            .iter()
            .find(|flag| !WITH_RESUME.contains(&flag.as_str()))
        {
            let message = format!(
                "--{} does not go with --resume, which takes all settings from the checkpoint; only \
                 --data (where its data lie now), --save, --test, --log-steps, --device, --threads and \
                 --time-limit may be given: leave it out, or train anew",
                flag.replace('_', "-")
            );
            return Err(Failure::new(Kind::Usage, message));
        }
        let file = &first_slot(file);
        check_apart(flags.save.as_deref(), file)?;
        if let Some(path) = &flags.save {
            flags::check_writable("--save", path)?;
        }
        let save = flags.save.as_deref().map(full_save).transpose()?;
        let mut slots = Slots::new(Arc::new(Real), file.clone());
        let origin = Keeper::origin(&mut slots)?.ok_or_else(|| {
            let message = format!(
                "--resume {}: there is no checkpoint; give the file that a stopped training named",
                file.display()
            );
            Failure::new(Kind::Usage, message)
        })?;
        let settings = origin.settings.unwrap_or(Value::Null);
        let to_go_on: ToGoOn = serde_json::from_value(settings).map_err(|_| {
            let message = format!(
                "--resume {}: it is the checkpoint of a search's child; go on with that search: \
                 nas-engine search --resume RUN",
                file.display()
            );
            Failure::new(Kind::Usage, message)
        })?;
        let architecture = Architecture::from_json(&origin.architecture)
            .map_err(|error| Failure::from_error(Kind::Architecture, &error))?;
        let mut settings = Settings::default();
        settings.set("device.name", "--device", flags.device.device.clone());
        settings.set("device.threads", "--threads", flags.device.threads);
        // In the environment it is where those of new trainings lie.
        if typed.iter().any(|flag| flag == "data") {
            settings.data_path(flags.data.data.as_deref())?;
        }
        let mut config = Config::resolve_text(file, to_go_on.config, &settings.0, DEFAULT_PRESET)?;
        flags::name_data_fully(&mut config)?; // an older version kept names as they stood
        Ok(Goal {
            architecture,
            config,
            learning_rate: to_go_on.learning_rate,
            save: save.or(to_go_on.save),
            test: flags.test || to_go_on.test,
            log_steps: flags.log_steps || to_go_on.log_steps,
            checkpoints: CheckpointFile::Resumed(file.clone()),
        })
    }

    fn origin(&self, child: &dyn Child, device: &dyn Device) -> Origin {
        let to_go_on = ToGoOn {
            config: self.config.to_toml(),
            learning_rate: self.learning_rate,
            save: self.save.clone(),
            test: self.test,
            log_steps: self.log_steps,
        };
        Origin {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: device.model(),
            architecture: self.architecture.to_json(),
            config_sha256: self.config.sha256(),
            data_sha256: child.data_sha256(),
            seed: self.config.search.seed,
            sample: None,
            journal_bytes: None,
            settings: Some(json!(to_go_on)),
        }
    }
}

impl Kept {
    /// What keeps the checkpoints of a training, and goes on from the last where it is to.
    pub fn open(
        goal: &Goal,
        child: &dyn Child,
        device: &dyn Device,
        output: &Output,
    ) -> Result<Kept, Failure> {
        let seconds = goal.config.train.checkpoint_seconds();
        let (path, every) = match &goal.checkpoints {
            CheckpointFile::At(path) | CheckpointFile::Resumed(path) => {
                (path, Duration::from_secs(seconds))
            }
            CheckpointFile::OnStop(path) => (path, Duration::MAX),
        };
        if let CheckpointFile::Resumed(_) = goal.checkpoints {
            remove_unfinished(&[path, &with_suffix(path, ".2")]);
            goal.save.iter().for_each(|save| remove_unfinished(&[save]));
        }
        let slots = Slots::new(Arc::new(Real), path.clone());
        let (keeper, wrong) = Keeper::open(slots, goal.origin(child, device), every);
        let state = keeper.state();
        if let CheckpointFile::Resumed(_) = goal.checkpoints {
            if state.buffers.is_empty() {
                return Err(wrong.into_iter().next_back().map_or_else(
                    || Failure::new(Kind::Usage, format!("{}: no checkpoint", path.display())),
                    Failure::from,
                ));
            }
            wrong.iter().for_each(|error| {
                output.note(&format!("{error}; training goes on from the older one"));
            });
            output.note(&format!(
                "goes on after {} epochs and {} steps",
                state.epochs.len(),
                state.n_batches
            ));
        }
        Ok(Kept {
            keeper,
            path: path.clone(),
        })
    }
}

/// Removes what a kill has left of files that were being written, where it can be.
fn remove_unfinished(files: &[&Path]) {
    for file in files {
        let name = file.file_name().unwrap_or_default();
        let removed = whole::remove_unfinished(&Real, disk::folder(file), |of| name == of);
        if let Err(error) = removed {
            tracing::warn!(
                "cannot remove what a kill has left of {}: {error}",
                file.display()
            );
        }
    }
}

/// A failure with the words to go on from the last checkpoint, where there is one.
pub fn to_go_on(failure: Failure, path: &Path) -> Failure {
    let there = |path: &Path| matches!(Real.found(path), Ok(Some(Found::File(_))));
    if !there(path) && !there(&with_suffix(path, ".2")) {
        return failure;
    }
    let message = format!(
        "{}; go on from the last checkpoint with: nas-engine train --resume {}",
        failure.message,
        text::shell_path(path)
    );
    Failure { message, ..failure }
}

/// Shows what a training that was stopped has come to; how to go on with it.
pub fn stopped(come: &Come, path: &Path, output: &Output) -> Result<Failure, Failure> {
    let (json, words) = come.result();
    let message = match Real.found(path) {
        Ok(Some(_)) => format!(
            "{} epochs are done; go on with: nas-engine train --resume {}",
            come.epochs.len(),
            text::shell_path(path)
        ),
        _ => "before the first step; train anew".to_owned(),
    };
    output.partial(&json, &words, Failure::new(Kind::Stopped, message))
}

/// The name that stands for both slots, where that of the second was given.
fn first_slot(file: &Path) -> PathBuf {
    let first = file.to_str().and_then(|name| name.strip_suffix(".2"));
    let first = first.map(PathBuf::from);
    first
        .filter(|first| matches!(Real.found(first), Ok(Some(Found::File(_)))))
        .unwrap_or_else(|| file.to_owned())
}

/// That the weights do not go where the checkpoints are, which are removed in the end.
fn check_apart(save: Option<&Path>, checkpoint: &Path) -> Result<(), Failure> {
    let slots = [checkpoint.to_owned(), with_suffix(checkpoint, ".2")].map(|slot| full(&slot));
    match save.map(full).filter(|save| slots.contains(save)) {
        None => Ok(()),
        Some(save) => {
            let message = format!(
                "--save {}: the checkpoint is there, which is removed when training has ended; choose \
                 another name",
                save.display()
            );
            Err(Failure::new(Kind::Usage, message))
        }
    }
}

/// That no stopped training has its checkpoint there.
fn check_free(path: &Path) -> Result<(), Failure> {
    let is_file = |path: &Path| matches!(Real.found(path), Ok(Some(Found::File(_))));
    if !is_file(path) && !is_file(&with_suffix(path, ".2")) {
        return Ok(());
    }
    let path = text::shell_path(path);
    let message = format!(
        "{path} or {path}.2 is there: if a training was stopped, go on with it: nas-engine train --resume \
         {path}; or remove both, or choose another --checkpoint"
    );
    Err(Failure::new(Kind::Usage, message))
}

/// A name for the checkpoint of an architecture of which nothing else is kept, that no file has.
fn free_name(arch: &Path) -> PathBuf {
    let stem = arch
        .file_stem()
        .map_or("network".into(), |stem| stem.to_string_lossy());
    let name = |n: u32| match n {
        1 => PathBuf::from(format!("{stem}.checkpoint")),
        _ => PathBuf::from(format!("{stem}-{n}.checkpoint")),
    };
    let is_free = |path: &PathBuf| check_free(path).is_ok();
    (1..1000).map(name).find(is_free).unwrap_or_else(|| name(1))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Where the weights go, as a checkpoint can say it.
fn full_save(path: &Path) -> Result<PathBuf, Failure> {
    let full = full(path);
    match full.to_str() {
        Some(_) => Ok(full),
        None => {
            let message = format!("--save {}: give a name in UTF-8", full.display());
            Err(Failure::new(Kind::Usage, message))
        }
    }
}

/// A path that is found again from another folder.
fn full(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}
