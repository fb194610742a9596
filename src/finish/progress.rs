//! How far the final training of a run is, read from its folder without disturbing whoever works on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::grid::{Grid, Point};
use super::last::{self, Last};
use super::{FOLDER, FinishError, GRID_FILE, check_record, read_grid};
use crate::config::StrategyKind;
use crate::disk::{Disk, Found};
use crate::run::entry::{Child, ChildFacts};
use crate::run::state::{Locks, State};
use crate::run::{self, Facts, Status, journal};
use crate::space::SpaceKind;
use crate::train::Counted;

/// How far it is, and what it came to.
#[derive(Debug)]
pub struct Progress {
    /// The folder that holds it.
    pub folder: PathBuf,
    /// Whether anybody works on it.
    pub state: State,
    /// What is tried.
    pub grid: Grid,
    /// The trainings of the grid that ended, by their number.
    pub tried: BTreeMap<u64, Child>,
    /// The best of them, once all have ended.
    pub chosen: Option<Point>,
    /// Its last training, once that has ended.
    pub last: Option<Last>,
    /// That of an LSTM by the same recipe, where cells were searched.
    pub control: Option<Last>,
}

/// Reads the final training of a run; nothing of one that has none.
///
/// # Errors
/// Where its folder cannot be read, or is damaged.
pub fn read(disk: &dyn Disk, run: &Path) -> Result<Option<Progress>, FinishError> {
    let folder = run.join(FOLDER);
    let Some(grid) = read_grid(disk, &folder)? else {
        let journal = folder.join(journal::FILE_NAME);
        return match disk.found(&journal) {
            // One that has just begun has no line yet.
            Ok(Some(Found::File(1..))) => Err(FinishError::Unfit {
                path: folder,
                why: "it has a journal, and nothing that says what is tried".to_owned(),
            }),
            _ => Ok(None),
        };
    };
    // Before the journal is read: one that ends in between is then seen as finished.
    let locks = Locks::look(&folder.join(journal::FILE_NAME));
    let Facts { history, .. } = run::read(disk, &folder)?;
    let points = grid.points();
    check_record(&folder, &history, &grid)?;
    // Those that a fault of the machine ended are trained again.
    let again = history.to_try_again(StrategyKind::Random);
    let has_ended = |point: &Point| {
        history.children.contains_key(&point.index) && !again.contains(&point.index)
    };
    let mut progress = Progress {
        state: State::Unknown,
        chosen: None,
        last: None,
        control: None,
        folder,
        tried: BTreeMap::new(),
        grid,
    };
    if points.iter().all(has_ended)
        && let Some(best) = history.best()
        && let Some(chosen) = points.into_iter().nth(best.sample as usize)
    {
        // Without its weights it is trained again.
        let read = |name| match disk.found(&last::weights(&progress.folder, name)) {
            Ok(Some(Found::File(_))) => last::read(disk, &progress.folder, name, &chosen),
            _ => Ok(None),
        };
        (progress.last, progress.control) = (read(last::CHOICE)?, read(last::CONTROL)?);
        progress.chosen = Some(chosen);
    }
    let has_control = progress.control.is_some() || progress.kind() != SpaceKind::Cell;
    progress.state = locks.state(progress.last.is_some() && has_control, history.stopped);
    progress.tried = history.children;
    progress.tried.retain(|index, _| !again.contains(index));
    Ok(Some(progress))
}

/// Whether a directory is the folder of a final training, which is a run's directory, too.
pub fn is_folder(disk: &dyn Disk, directory: &Path) -> bool {
    let grid = disk.found(&directory.join(GRID_FILE));
    matches!(grid, Ok(Some(Found::File(_))))
}

impl Progress {
    /// What is trained.
    pub fn kind(&self) -> SpaceKind {
        let first = self.grid.candidates.first();
        first.map_or(SpaceKind::Conv, |candidate| candidate.architecture.kind())
    }

    /// What a training of the grid achieved in validation; nothing where it has not ended, or not well.
    pub fn achieved(&self, point: &Point) -> Option<Counted> {
        self.tried.get(&point.index).and_then(achieved)
    }

    /// Where the weights of the last training are.
    pub fn weights(&self) -> PathBuf {
        last::weights(&self.folder, last::CHOICE)
    }

    /// Where the architecture that was chosen is.
    pub fn architecture(&self) -> PathBuf {
        self.folder.join(last::ARCHITECTURE_FILE)
    }
}

/// What a training achieved in validation; nothing where it did not end well.
pub fn achieved(child: &Child) -> Option<Counted> {
    child.counted().filter(|_| child.status == Status::Ok)
}
