//! Why a child was not trained.

use std::io;
use std::path::PathBuf;

use crate::data::corpus::CorpusError;
use crate::device::DeviceError;
use crate::graph::GraphError;
use crate::graph::language::LanguageError;
use crate::space::SpaceKind;

/// Why a child was not trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The architecture cannot be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The language model cannot be built.
    #[error(transparent)]
    Language(#[from] LanguageError),
    /// The text is too short.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// An architecture of one kind, and data for the other.
    #[error(
        "an architecture of the space {}, and data and settings for those of {}; give both for one",
        .0.name(), .1.name()
    )]
    OtherKind(SpaceKind, SpaceKind),
    /// An architecture whose accuracy is in a table.
    #[error(
        "cells of NAS-Bench-201 are looked up and not trained here; `nas-engine search --space nas-bench-201` \
         searches them"
    )]
    LookedUp,
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No full batch.
    #[error(
        "the training split of {train} images is smaller than one batch of {batch}; \
         use a smaller train.batch of --config (`train --batch`), or more images"
    )]
    SmallSplit {
        /// Images to train on.
        train: usize,
        /// Images of a batch.
        batch: usize,
    },
    /// Nothing to validate on.
    #[error("{n} training records leave none for validation; give at least 10")]
    NoValidation {
        /// Training records of the data set.
        n: usize,
    },
    /// The plan needs more than is allowed.
    #[error(
        "the plan takes {bytes} bytes, more than the {limit} allowed; use a smaller batch or model, or \
         a machine with more memory"
    )]
    TooLarge {
        /// Size of the plan.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A checkpoint cannot be written.
    #[error("cannot write {}: {source}; make room on its disk, or mend the right to it", path.display())]
    NotKept {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A checkpoint whose counts are not those of what is trained.
    #[error("the checkpoint {} does not fit: {what}; remove it and begin anew", path.display())]
    Misfit {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
    /// Asked to stop.
    #[error("stopped before the last epoch")]
    Stopped,
}
