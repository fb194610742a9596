//! Writes down what counts: rounds, how children ended, and which gradients a shard has counted, each a line
//! of the run's journal. From these lines everything else is computed again.

use std::collections::HashMap;
use std::sync::mpsc::Sender;

use crate::cluster::engine::EngineError;
use crate::cluster::export::{begun, counted};
use crate::cluster::key::{Cell, Fact};
use crate::cluster::learner::Learner;
use crate::cluster::message::{Ended, Gradient, MessageError, Round, Shard};
use crate::cluster::replay::Standing;
use crate::run::entry::{Child, Entry, Lost, Timing};
use crate::run::history::History;
use crate::run::journal::{Journal, JournalError};
use crate::run::now;

/// What is on record now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// How a child ended.
    Child(u64),
    /// That the first shard has counted the gradient of a round.
    Counted(u64),
}

/// Who writes the journal.
pub struct Scribe {
    learner: Learner,
    journal: Journal,
    history: History,
    /// Hears of what is on record.
    news: Sender<News>,
    /// Version of the first shard after so many gradients.
    versions: Vec<u64>,
    /// The baselines of the gradients that were sent, by replica and number.
    baselines: HashMap<(u32, u64), Option<f64>>,
    /// Why nothing can be written any more.
    failed: Option<JournalError>,
}

impl Scribe {
    /// Goes on with a journal, which comes to `standing`; `versions` are those of the first shard after no
    /// gradient, one, and so on.
    pub fn new(
        learner: Learner,
        (journal, history): (Journal, History),
        (versions, standing): (Vec<u64>, &Standing),
        news: Sender<News>,
    ) -> Scribe {
        let heads = standing.logs[0].iter().map(|gradient| &gradient.head);
        Scribe {
            learner,
            journal,
            history,
            news,
            versions,
            baselines: heads
                .map(|head| ((head.replica, head.n), head.baseline))
                .collect(),
            failed: None,
        }
    }

    /// All that is on record.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Gives the journal back, and why it could not be written, if so.
    pub fn into_parts(self) -> (Journal, History, Option<JournalError>) {
        (self.journal, self.history, self.failed)
    }

    /// That a GPU was lost while it trained a child.
    pub fn lost(&mut self, sample: u64, message: String) -> Result<(), EngineError> {
        self.append(Entry::Lost(Lost {
            sample,
            message,
            timing: at(now()),
        }))
    }

    pub(super) fn fact(&mut self, fact: Fact, value: &[u8]) -> Result<(), EngineError> {
        match fact {
            Fact::Round(t) => {
                let round = Round::from_bytes(value).map_err(ours)?;
                let mut line = begun(t, &round);
                line.timing = at(now());
                self.append(Entry::Round(line))
            }
            Fact::Child(sample) => {
                let child = Ended::from_bytes(value).map_err(ours)?.line();
                let staleness = self.staleness(child.batch);
                self.append(Entry::Child(Child { staleness, ..child }))?;
                self.tell(News::Child(sample));
                Ok(())
            }
            Fact::Run | Fact::Device | Fact::End => Ok(()),
        }
    }

    /// Updates of the first shard since a round was begun.
    fn staleness(&self, round: u64) -> Option<u64> {
        let read = *self.history.rounds.get(&round)?.counted.first()?;
        let then = self.versions.get(usize::try_from(read).ok()?)?;
        Some(self.versions.last()? - then)
    }

    /// A cell is about to change. Of a shard the gradients that are new in its order are written.
    pub(super) fn cell(&mut self, cell: Cell, value: &[u8]) -> Result<(), EngineError> {
        let Cell::Shard(s) = cell else {
            return Ok(());
        };
        let after = Shard::from_bytes(value).map_err(ours)?;
        let mut numbers: HashMap<u32, u64> = HashMap::new();
        let before = self.history.counted.get(&s).map_or(0, Vec::len);
        for (i, &replica) in after.head.order.iter().enumerate() {
            let n = numbers.entry(replica).or_insert(0);
            *n += 1;
            // Of a wave, some may be on record since before a process was killed.
            if i >= before {
                self.counted(s, (replica, *n), &after)?;
            }
        }
        if s == 0 {
            let n = after.head.order.len() + 1;
            self.versions.resize(n, after.head.version);
        }
        Ok(())
    }

    fn counted(
        &mut self,
        s: u32,
        (replica, n): (u32, u64),
        after: &Shard,
    ) -> Result<(), EngineError> {
        let mut rounds = self.history.rounds.values();
        let round = rounds.find(|round| (round.replica, round.n) == (replica, n));
        let Some(round) = round.cloned() else {
            return Err(EngineError::Refused(format!(
                "round {n} of replica {replica} is not on record; go on with --resume"
            )));
        };
        // On record already where the first shard had counted it before the process began.
        let on_record = self.history.updates.get(&round.round);
        let baseline = match self.baselines.get(&(replica, n)) {
            Some(baseline) => *baseline,
            None => on_record.and_then(|update| update.baseline),
        };
        let children = &self.history.children;
        let mut line = counted(&self.learner, children, (s, &round), baseline, after);
        line.timing = at(now());
        self.append(Entry::Update(line))?;
        if s == 0 {
            self.tell(News::Counted(round.round));
        }
        Ok(())
    }

    /// A gradient is about to be sent.
    pub(super) fn pushed(&mut self, shard: u32, gradient: &[u8]) -> Result<(), EngineError> {
        if shard == 0 {
            let head = Gradient::from_bytes(gradient).map_err(ours)?.head;
            self.baselines.insert((head.replica, head.n), head.baseline);
        }
        Ok(())
    }

    /// Writes a line to the journal, then to the history.
    fn append(&mut self, entry: Entry) -> Result<(), EngineError> {
        if let Err(error) = self.journal.append(&entry) {
            let words = error.to_string();
            self.failed.get_or_insert(error);
            return Err(EngineError::Refused(words));
        }
        let added = self.history.add(entry);
        added.map_err(|words| EngineError::Refused(format!("{words}; go on with --resume")))
    }

    fn tell(&self, news: News) {
        let _ = self.news.send(news); // nobody listens where the search ends
    }
}

fn at(at: f64) -> Timing {
    Timing {
        at,
        ..Timing::default()
    }
}

/// What this process itself has written cannot be read: never, or memory is at fault.
fn ours(error: MessageError) -> EngineError {
    EngineError::Refused(format!("{error}; go on with --resume"))
}
