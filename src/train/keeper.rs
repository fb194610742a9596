//! Training as a value: all that it goes on from with the same bits, and where that is kept.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{EpochReport, TrainError};
use crate::checkpoint::{CheckpointError, Saved, Slots};

/// Where a training stands, between two steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Every epoch that ended.
    pub epochs: Vec<EpochReport>,
    /// Batches of the epoch under way that were run.
    pub n_batches: usize,
    /// Seconds that they took.
    pub seconds: f64,
    /// Loss of each batch before its update, over all epochs.
    pub step_losses: Vec<f64>,
    /// What the device goes on from, as [`Plan::state`](crate::graph::Plan::state) lists it; empty
    /// before the first step.
    pub buffers: Vec<Vec<f64>>,
}

/// What a checkpoint is of: all of it but `device`, `version` and `journal_bytes` must be the same for
/// training to go on from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Version of the program.
    pub version: String,
    /// What decides the bits of results, such as `cpu (AVX2)`.
    pub device: String,
    /// The architecture's JSON.
    pub architecture: String,
    /// SHA-256 of the settings that decide results.
    pub config_sha256: String,
    /// SHA-256 of the data.
    pub data_sha256: String,
    /// Seed of all that is drawn.
    pub seed: u64,
    /// The sample, of a child of a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<u64>,
    /// Bytes of the run's journal when the child was begun or gone on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_bytes: Option<u64>,
    /// What a command needs to go on by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<serde_json::Value>,
}

/// The header of a training's checkpoint.
#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(flatten)]
    origin: Origin,
    epochs: Vec<EpochReport>,
    n_batches: usize,
    seconds: f64,
}

/// Keeps the checkpoints of a training, and has the one to go on from.
pub struct Keeper {
    /// Where they are kept, and what they are of.
    place: Option<(Slots, Origin)>,
    every: Duration,
    last: Instant,
    state: State,
}

impl Keeper {
    /// Keeps nothing, and begins at the beginning.
    pub fn none() -> Keeper {
        Keeper {
            place: None,
            every: Duration::MAX,
            last: Instant::now(),
            state: State::default(),
        }
    }

    /// Keeps checkpoints of this origin in `slots`, at the end of an epoch once `every` has passed
    /// since the last. Goes on from what is there, if it is of the same; what is wrong with what is
    /// not used is told.
    pub fn open(
        mut slots: Slots,
        origin: Origin,
        every: Duration,
    ) -> (Keeper, Vec<CheckpointError>) {
        let (saved, mut wrong) = slots.read::<Header>();
        let state = match saved.map(|saved| check(&slots, &origin, saved)) {
            None => State::default(),
            Some(Ok(state)) => state,
            Some(Err(error)) => {
                wrong.push(error);
                State::default()
            }
        };
        let keeper = Keeper {
            place: Some((slots, origin)),
            every,
            last: Instant::now(),
            state,
        };
        (keeper, wrong)
    }

    /// What a checkpoint is of, before anything is known of the work.
    ///
    /// # Errors
    /// Where none can be used: what is wrong with one.
    pub fn origin(slots: &mut Slots) -> Result<Option<Origin>, CheckpointError> {
        match slots.read::<Header>() {
            (Some(saved), _) => Ok(Some(saved.header.origin)),
            (None, wrong) => wrong.into_iter().next().map_or(Ok(None), Err),
        }
    }

    /// Removes what is kept, once it has no more use.
    ///
    /// # Errors
    /// Where a file cannot be removed.
    pub fn remove(&self) -> Result<(), TrainError> {
        let removed = self.place.as_ref().map(|(slots, _)| slots.remove());
        removed
            .transpose()
            .map(drop)
            .map_err(|(path, source)| TrainError::NotKept { path, source })
    }

    /// The file that stands for what is kept.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.place
            .as_ref()
            .map(|(slots, _)| slots.path().to_owned())
    }

    /// Where training begins.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state, which training takes over.
    pub(super) fn take(&mut self) -> State {
        std::mem::take(&mut self.state)
    }

    /// Whether a checkpoint is to be kept now, at the end of an epoch.
    pub(super) fn is_due(&self) -> bool {
        self.place.is_some() && self.last.elapsed() >= self.every
    }

    /// Keeps a checkpoint.
    pub(super) fn keep(&mut self, state: &State) -> Result<(), TrainError> {
        let Some((slots, origin)) = &mut self.place else {
            return Ok(());
        };
        let header = Header {
            origin: origin.clone(),
            epochs: state.epochs.clone(),
            n_batches: state.n_batches,
            seconds: state.seconds,
        };
        let buffers = state.buffers.iter().map(Vec::as_slice);
        let arrays: Vec<&[f64]> = std::iter::once(&state.step_losses[..])
            .chain(buffers)
            .collect();
        let begun = Instant::now();
        let kept = slots.write(&header, &arrays);
        kept.map_err(|(path, source)| TrainError::NotKept { path, source })?;
        tracing::debug!(
            "{}: a checkpoint of {} numbers, written in {:.3} s",
            slots.path().display(),
            arrays.iter().map(|values| values.len()).sum::<usize>(),
            begun.elapsed().as_secs_f64()
        );
        self.last = Instant::now();
        Ok(())
    }
}

/// The state of a checkpoint that is of this origin.
fn check(slots: &Slots, ours: &Origin, saved: Saved<Header>) -> Result<State, CheckpointError> {
    let Header {
        origin: theirs,
        epochs,
        n_batches,
        seconds,
    } = saved.header;
    let differs = |what, theirs: &str, ours: &str| CheckpointError::Other {
        path: slots.path().into(),
        what,
        theirs: theirs.into(),
        ours: ours.into(),
    };
    let same = [
        ("architecture", &theirs.architecture, &ours.architecture),
        ("configuration", &theirs.config_sha256, &ours.config_sha256),
        ("seed", &theirs.seed.to_string(), &ours.seed.to_string()),
        (
            "child",
            &format!("{:?}", theirs.sample),
            &format!("{:?}", ours.sample),
        ),
    ];
    if let Some((what, theirs, ours)) = same.into_iter().find(|(_, theirs, ours)| theirs != ours) {
        return Err(differs(what, theirs, ours));
    }
    if theirs.data_sha256 != ours.data_sha256 {
        return Err(CheckpointError::OtherData {
            path: slots.path().into(),
            theirs: theirs.data_sha256,
            ours: ours.data_sha256.clone(),
        });
    }
    if theirs.device != ours.device {
        tracing::warn!(
            "{}: trained on {} so far, and goes on on {}",
            slots.path().display(),
            theirs.device,
            ours.device
        );
    }
    let mut arrays = saved.arrays.into_iter();
    Ok(State {
        epochs,
        n_batches,
        seconds,
        step_losses: arrays.next().unwrap_or_default(),
        buffers: arrays.collect(),
    })
}
