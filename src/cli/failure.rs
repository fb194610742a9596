//! How a command fails: a kind, which decides the exit code, and a message.

use std::error::Error;
use std::path::Path;

use serde_json::Value;

use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;
use crate::data::DataError;
use crate::data::corpus::CorpusError;
use crate::data::fetch::FetchError;
use crate::data::import::ImportError;
use crate::device::DeviceError;
use crate::export::ExportError;
use crate::run::RunError;
use crate::run::journal::JournalError;
use crate::search::SearchError;
use crate::search::retrain::RetrainError;
use crate::search::session::SessionError;
use crate::train::TrainError;
use crate::train::weights_file::WeightsError;

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The work itself failed.
    Run,
    /// Flags that do not fit, or something cannot be written where asked.
    Usage,
    /// A setting.
    Config,
    /// An architecture.
    Architecture,
    /// A data set.
    Data,
    /// A weights file.
    Weights,
    /// The journal of a run.
    Journal,
    /// What a stopped training goes on from.
    Checkpoint,
    /// A device.
    Device,
    /// Nothing: the work was told to stop and can be resumed.
    Stopped,
}

impl Kind {
    /// The word for it with `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Run => "run",
            Kind::Usage => "usage",
            Kind::Config => "config",
            Kind::Architecture => "architecture",
            Kind::Data => "data",
            Kind::Weights => "weights",
            Kind::Journal => "journal",
            Kind::Checkpoint => "checkpoint",
            Kind::Device => "device",
            Kind::Stopped => "stopped",
        }
    }

    /// The kind that another process of this program has ended with.
    pub fn of_code(code: i32) -> Kind {
        match code {
            2 => Kind::Usage,
            3 => Kind::Data,
            4 => Kind::Device,
            75 => Kind::Stopped,
            _ => Kind::Run,
        }
    }

    /// The exit code of the program.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Run => 1,
            Kind::Usage | Kind::Config | Kind::Architecture => 2,
            Kind::Data | Kind::Weights | Kind::Journal | Kind::Checkpoint => 3,
            Kind::Device => 4,
            Kind::Stopped => 75, // EX_TEMPFAIL of sysexits.h
        }
    }
}

/// Why a command ends without its result.
#[derive(Debug)]
pub struct Failure {
    /// What kind of thing is wrong.
    pub kind: Kind,
    /// What is wrong and what to do about it.
    pub message: String,
    /// What there is of the result all the same, an object.
    pub partial: Option<Value>,
}

impl Failure {
    /// A failure with a message of its own.
    pub fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            message: message.into(),
            partial: None,
        }
    }

    /// That the weights of a file give no result.
    pub fn not_finite(weights: &Path) -> Failure {
        let message = format!(
            "{} holds weights that are not finite, or too large; train it again",
            weights.display()
        );
        Failure::new(Kind::Weights, message)
    }

    /// A failure whose message is that of an error and of what caused it.
    pub fn from_error(kind: Kind, error: &dyn Error) -> Failure {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            // Many messages end with that of their cause already.
            let text = error.to_string();
            if !message.contains(&text) {
                message += &format!(": {text}");
            }
            cause = error.source();
        }
        Failure::new(kind, message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::from_error(Kind::Config, &error)
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Failure {
        let kind = match error {
            DataError::Limit { .. } => Kind::Usage,
            _ => Kind::Data,
        };
        Failure::from_error(kind, &error)
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Failure {
        let kind = match error {
            ImportError::Exists { .. }
            | ImportError::NoName { .. }
            | ImportError::Write { .. }
            | ImportError::TestPart { .. } => Kind::Usage,
            ImportError::Stopped { .. } => Kind::Stopped,
            _ => Kind::Data,
        };
        Failure::from_error(kind, &error)
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Failure {
        let kind = match error {
            FetchError::Import(error) => return error.into(),
            FetchError::Url { .. } | FetchError::NoCacheFolder | FetchError::Write { .. } => {
                Kind::Usage
            }
            FetchError::Network { .. } | FetchError::NotThere { .. } | FetchError::Busy { .. } => {
                Kind::Run
            }
            FetchError::Other { .. } => Kind::Data,
            FetchError::Stopped { .. } => Kind::Stopped,
        };
        Failure::from_error(kind, &error)
    }
}

impl From<CorpusError> for Failure {
    fn from(error: CorpusError) -> Failure {
        let kind = match error {
            CorpusError::Vocabulary { .. }
            | CorpusError::ShorterThanBatch { .. }
            | CorpusError::Write { .. } => Kind::Usage,
            _ => Kind::Data,
        };
        Failure::from_error(kind, &error)
    }
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Failure {
        let kind = match error {
            DeviceError::Unknown(_) | DeviceError::Twice { .. } => Kind::Usage,
            _ => Kind::Device,
        };
        Failure::from_error(kind, &error)
    }
}

impl From<WeightsError> for Failure {
    fn from(error: WeightsError) -> Failure {
        let kind = match error {
            WeightsError::Write { .. } => Kind::Usage,
            _ => Kind::Weights,
        };
        Failure::from_error(kind, &error)
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Failure {
        match error {
            TrainError::Device(error) => error.into(),
            TrainError::Corpus(error) => error.into(),
            TrainError::Graph(error) => Failure::from_error(Kind::Architecture, &error),
            TrainError::Language(error) => Failure::from_error(Kind::Config, &error),
            TrainError::SmallSplit { .. }
            | TrainError::NoValidation { .. }
            | TrainError::OtherKind(..)
            | TrainError::LookedUp
            | TrainError::TooLarge { .. } => Failure::from_error(Kind::Usage, &error),
            TrainError::Misfit { .. } => Failure::from_error(Kind::Checkpoint, &error),
            TrainError::NotKept { .. } => Failure::from_error(Kind::Run, &error),
            TrainError::Stopped => Failure::from_error(Kind::Stopped, &error),
        }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Failure {
        let kind = match error {
            ExportError::Weights(error) => return error.into(),
            ExportError::Train(error) => return error.into(),
            ExportError::Exists { .. }
            | ExportError::NoName { .. }
            | ExportError::Write { .. }
            | ExportError::TooLarge { .. }
            | ExportError::NoReader { .. } => Kind::Usage,
            ExportError::Stopped { .. } => Kind::Stopped,
            ExportError::Unreadable { .. } | ExportError::Differs { .. } => Kind::Run,
        };
        Failure::from_error(kind, &error)
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Failure {
        let kind = match error {
            JournalError::Damaged { .. }
            | JournalError::Read { .. }
            | JournalError::Missing { .. }
            | JournalError::NoFile { .. }
            | JournalError::NoJournal { .. } => Kind::Journal,
            JournalError::Locked { .. } | JournalError::Begun { .. } => Kind::Usage,
            JournalError::Io { .. } => Kind::Run,
        };
        Failure::from_error(kind, &error)
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Failure {
        Failure::from_error(Kind::Checkpoint, &error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        let kind = match error {
            RunError::Config(error) => return error.into(),
            RunError::Journal(error) => return error.into(),
            RunError::Absent { .. }
            | RunError::NoSettings { .. }
            | RunError::Begun { .. }
            | RunError::Write { .. } => Kind::Usage,
            RunError::Read { .. } | RunError::OtherSettings { .. } => Kind::Config,
            RunError::Keep { .. } => Kind::Run,
            RunError::Emptied { .. } => Kind::Journal,
            RunError::OtherData { .. } => Kind::Data,
        };
        Failure::from_error(kind, &error)
    }
}

impl From<SearchError> for Failure {
    fn from(error: SearchError) -> Failure {
        match error {
            SearchError::Journal(error) => error.into(),
            SearchError::Run(error) => error.into(),
            SearchError::Space { .. } => Failure::from_error(Kind::Run, &error),
            SearchError::OtherSearch { .. } => Failure::from_error(Kind::Journal, &error),
        }
    }
}

impl From<RetrainError> for Failure {
    fn from(error: RetrainError) -> Failure {
        match error {
            RetrainError::Architecture { .. } => Failure::from_error(Kind::Journal, &error),
            RetrainError::Lost { .. } => Failure::from_error(Kind::Device, &error),
            RetrainError::Run(error) => error.into(),
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Failure {
        match error {
            SessionError::Space(error) => Failure::from_error(Kind::Config, &error),
            SessionError::Device(error) => error.into(),
            SessionError::Run(error) => error.into(),
            SessionError::Search(error) => error.into(),
        }
    }
}
