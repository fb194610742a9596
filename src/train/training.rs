//! The loop of epochs: steps, validation, checkpoints, until the last epoch or until told to stop.

use std::time::Instant;

use super::{
    EpochReport, Evaluation, Held, Job, Keeper, Lessons, Outcome, Pace, State, Stop, TrainError,
};
use crate::device::{DeviceError, List, Session};
use crate::graph::Plan;
use crate::graph::params::Weights;
use crate::graph::step::{BufferId, Content};

/// Seconds of work that a device which works on its own is given before a checkpoint is written.
const AHEAD: f64 = 0.5;

/// Trains a child from where `keeper` stands; `on_epoch` hears of every epoch.
///
/// # Errors
/// Data that are not enough, a plan that does not fit, a device that fails, a checkpoint that cannot
/// be written, or `job.stop`, after which the keeper has what was trained. A child that diverges is an
/// [`Outcome`].
pub fn train(
    job: &Job,
    keeper: &mut Keeper,
    on_epoch: &mut dyn FnMut(&EpochReport),
) -> Result<Outcome, TrainError> {
    let child = job.child;
    let lessons = child.lessons()?;
    let made;
    let plan = match job.plan {
        Some(plan) => plan,
        None => {
            made = child.plan(job.runner.device);
            &made
        }
    };
    job.runner.check(plan)?; // before the weights are drawn, which may be too large by themselves
    let mut state = keeper.take();
    if let Some(what) = misfit(job, &*lessons, plan, &state) {
        let path = keeper.path().unwrap_or_default();
        return Err(TrainError::Misfit { path, what });
    }
    let mut session = load(job, &*lessons, plan, &mut state)?;
    let mut training = Training {
        job,
        lessons: &*lessons,
        session: &mut *session,
        keeper,
        state,
        is_kept: true,
    };
    let diverged = training.run(on_epoch)?;
    let state = training.state;
    let weights = Weights {
        trained: read_f32(&mut *session, plan.weights)?,
        running: read_f32(&mut *session, plan.running)?,
    };
    drop(session);
    // paper P9.4
    let test = match job.test && !diverged {
        true => Some(child.evaluate(Held::Test, &weights, &job.runner)?),
        false => None,
    };
    Ok(Outcome {
        diverged,
        epochs: state.epochs,
        test,
        step_losses: state.step_losses,
        planned_memory_bytes: plan.arena_bytes as u64,
        weights,
    })
}

/// What does not fit of a state that a file has given.
fn misfit(job: &Job, lessons: &dyn Lessons, plan: &Plan, state: &State) -> Option<&'static str> {
    if state.buffers.is_empty() {
        let is_first = *state == State::default();
        return (!is_first).then_some("it has no weights");
    }
    let n_steps = lessons.order(job.seed, 0).len() / lessons.batch();
    let n_losses = state.epochs.len().checked_mul(n_steps);
    let n_losses = n_losses.and_then(|n| n.checked_add(state.n_batches));
    let lengths = plan
        .state
        .iter()
        .map(|&buffer| match plan.buffer(buffer).content {
            Content::Values(n) => n,
            _ => 0,
        });
    match () {
        () if state.epochs.len() > job.child.epochs() => Some("it has too many epochs"),
        () if state.n_batches > n_steps => Some("it has too many steps"),
        () if Some(state.step_losses.len()) != n_losses => Some("it has another number of losses"),
        () if !lengths.eq(state.buffers.iter().map(Vec::len)) => Some("its weights are others"),
        () => None,
    }
}

/// A session that goes on from a state, of which it takes the buffers; or from initial weights.
fn load<'s>(
    job: &'s Job,
    lessons: &'s dyn Lessons,
    plan: &'s Plan,
    state: &mut State,
) -> Result<Box<dyn Session + 's>, TrainError> {
    let input = lessons.input(job.seed);
    let buffers = std::mem::take(&mut state.buffers);
    if buffers.is_empty() {
        let drawn;
        let initial = match job.init {
            Some(given) => given,
            None => {
                drawn = job.child.params().initial(job.seed);
                &drawn
            }
        };
        return job.runner.load(plan, input, initial);
    }
    let mut session = job.runner.device.load(plan, Some(input))?;
    for (&buffer, values) in plan.state.iter().zip(&buffers) {
        session.write(buffer, values);
    }
    session.run(List::Prepare, 1);
    Ok(session)
}

/// A training under way.
struct Training<'a> {
    job: &'a Job<'a>,
    lessons: &'a dyn Lessons,
    session: &'a mut dyn Session,
    keeper: &'a mut Keeper,
    /// Where it stands; what the device goes on from is there, not here.
    state: State,
    /// Whether nothing that the device copied aside waits to be kept.
    is_kept: bool,
}

impl Training<'_> {
    /// Every epoch that is left; whether the child has diverged.
    fn run(&mut self, on_epoch: &mut dyn FnMut(&EpochReport)) -> Result<bool, TrainError> {
        let n_epochs = self.job.child.epochs();
        while self.state.epochs.len() < n_epochs {
            let Some(report) = self.epoch()? else {
                return Ok(true);
            };
            on_epoch(&report);
            self.state.epochs.push(report);
            self.state.n_batches = 0;
            self.state.seconds = 0.0;
            if self.state.epochs.len() < n_epochs && self.keeper.is_due() {
                self.session.keep();
                self.is_kept = false;
            }
        }
        if self.job.test && (self.job.stop)() {
            return Err(self.stopped());
        }
        Ok(false)
    }

    /// What is left of an epoch, and its validation; `None` where a loss, a weight or a perplexity is
    /// not finite.
    fn epoch(&mut self) -> Result<Option<EpochReport>, TrainError> {
        let (job, lessons) = (self.job, self.lessons);
        let epoch = self.state.epochs.len();
        let order = lessons.order(job.seed, epoch);
        let n_steps = order.len() / lessons.batch();
        let learning_rate = lessons.learning_rate(job.learning_rate, epoch);
        let control = lessons.control(learning_rate, epoch);
        self.session.begin_at(&order, self.state.n_batches, control);
        let finite = self.steps(n_steps, job.stop)?;
        if !finite {
            return Ok(None);
        }
        if self.state.n_batches < n_steps {
            return Err(self.stopped());
        }
        let Some(validation) = lessons.validate(self.session, job.stop)? else {
            return Err(self.stopped());
        };
        let State {
            step_losses,
            seconds,
            ..
        } = &self.state;
        let losses = &step_losses[step_losses.len() - n_steps..];
        let train_loss = losses.iter().sum::<f64>() / n_steps as f64;
        let score = lessons.score(train_loss, &validation);
        let sound = validation.loss().is_finite() && score.is_finite();
        let per_second = n_steps as f64 * lessons.predictions() as f64 / seconds;
        Ok(sound.then(|| EpochReport {
            epoch: epoch + 1,
            learning_rate,
            train_loss,
            validation_loss: validation.loss(),
            score,
            seconds: *seconds,
            pace: match validation {
                Evaluation::Images(_) => Pace::ImagesPerSecond(per_second),
                Evaluation::Text(_) => Pace::WordsPerSecond(per_second),
            },
        }))
    }

    /// The steps of an epoch from where it stands to its end, or until `stop`; whether all was
    /// finite.
    fn steps(&mut self, n_steps: usize, stop: Stop) -> Result<bool, TrainError> {
        let begun = Instant::now();
        let mut left = n_steps - self.state.n_batches;
        if !self.is_kept {
            let n_ahead = self.n_ahead(n_steps).min(left);
            self.session.run(List::Train, n_ahead);
            left -= n_ahead;
            self.state.n_batches += n_ahead;
            self.keep_end_of_epoch(n_ahead)?;
        }
        self.state.n_batches += self.session.run_until(List::Train, left, stop);
        let results = self.session.results()?;
        self.state.seconds += begun.elapsed().as_secs_f64();
        let predictions = self.lessons.predictions() as f64;
        let losses = results.loss_sums.iter().map(|sum| sum / predictions);
        self.state.step_losses.extend(losses);
        Ok(results.finite)
    }

    /// Steps that a device which works on its own is given, so that it does not wait while a
    /// checkpoint is read and written; none elsewhere.
    fn n_ahead(&self, n_steps: usize) -> usize {
        let last = self
            .state
            .epochs
            .last()
            .filter(|_| self.session.works_alone());
        last.map_or(0, |epoch| {
            (n_steps as f64 * AHEAD / epoch.seconds.max(AHEAD)).ceil() as usize
        })
    }

    /// Writes what the device copied aside at the end of the last epoch, `n_ahead` steps ago.
    fn keep_end_of_epoch(&mut self, n_ahead: usize) -> Result<(), TrainError> {
        self.state.n_batches -= n_ahead;
        self.keep()?;
        self.state.n_batches += n_ahead;
        self.is_kept = true;
        Ok(())
    }

    /// Writes a checkpoint with what the device copied aside last.
    fn keep(&mut self) -> Result<(), TrainError> {
        self.state.buffers = self.session.kept()?;
        let kept = self.keeper.keep(&self.state);
        self.state.buffers.clear();
        kept
    }

    /// Keeps all that was trained, where that is anything; why training ends.
    fn stopped(&mut self) -> TrainError {
        if self.state.epochs.is_empty() && self.state.n_batches == 0 {
            return TrainError::Stopped;
        }
        self.session.keep();
        self.keep().err().unwrap_or(TrainError::Stopped)
    }
}

fn read_f32(session: &mut dyn Session, buffer: BufferId) -> Result<Vec<f32>, DeviceError> {
    let values = session.read(buffer)?;
    Ok(values.into_iter().map(|x| x as f32).collect())
}
