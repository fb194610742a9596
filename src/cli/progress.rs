//! How far a search is, on standard error: a bar on a terminal, else a line from time to time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;
use super::terminal;
use crate::config::Config;
use crate::report;
use crate::run::Status;
use crate::run::entry::Child;
use crate::run::history::History;
use crate::search::Event;
use crate::text;

/// The bar and the time left; below them rewards and the children under way.
const TEMPLATE: &str = "{bar:40} {pos}/{len}{prefix}\n{wide_msg}";

/// Time between two lines where batches end fast, as on a table.
const BETWEEN_BATCHES: Duration = Duration::from_secs(2);

/// Time without a line after which the next child that ends has one.
const LONG: Duration = Duration::from_secs(60);

/// Watches a search and shows how far it is.
pub struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    total: u64,
    epochs: usize,
    began: Instant,
    /// When the last line was written, and the last of a batch.
    told: Option<Instant>,
    told_batch: Option<Instant>,
    /// Samples on record when this session began.
    before: u64,
    n_ended: u64,
    rewards: (u64, f64),
    best: Option<Best>,
    /// Epochs done by each child under way.
    under_way: BTreeMap<u64, usize>,
    failures: BTreeMap<&'static str, u64>,
}

impl Drop for Progress {
    /// Also where the search panics, so that words stand on a line of their own.
    fn drop(&mut self) {
        self.clear();
    }
}

/// The best child so far.
struct Best {
    reward: f64,
    /// Its accuracy or perplexity, as it is shown: what that is, and the number.
    score: (&'static str, String),
    sample: u64,
}

impl Progress {
    /// Begins to watch a search with these facts on record.
    pub fn new(config: &Config, history: &History, no_bar: bool, output: &Output) -> Progress {
        let total = config.search.samples;
        let bar = (terminal::takes_bar() && !no_bar && !output.quiet).then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(TEMPLATE);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(500));
            output.stderr.set_bar(Some(bar.clone()));
            bar
        });
        let mut progress = Progress {
            output: output.clone(),
            bar,
            total,
            epochs: config.train.epochs(),
            began: Instant::now(),
            told: None,
            told_batch: None,
            before: history.children.len() as u64,
            n_ended: 0,
            rewards: (0, 0.0),
            best: None,
            under_way: BTreeMap::new(),
            failures: BTreeMap::new(),
        };
        history
            .children
            .values()
            .for_each(|child| progress.count(child));
        progress.draw();
        progress
    }

    /// Shows what just happened.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Epoch { sample, epoch } => {
                self.under_way.insert(*sample, *epoch);
            }
            Event::Ended(child) => {
                self.under_way.remove(&child.sample);
                self.count(child);
                if self.told.unwrap_or(self.began).elapsed() >= LONG {
                    self.tell(&format!("sample {}", child.sample), "");
                }
            }
            Event::Batch { batch, history } => {
                let is_time = |told: Instant| told.elapsed() >= BETWEEN_BATCHES;
                if self.told_batch.is_none_or(is_time) {
                    self.told_batch = Some(Instant::now());
                    self.tell(&format!("batch {batch}"), &last_quarter(history));
                }
            }
        }
        self.draw();
    }

    /// Writes a line, where there is no bar that says it.
    fn tell(&mut self, ended: &str, more: &str) {
        if self.bar.is_none() {
            self.told = Some(Instant::now());
            self.output.note(&format!(
                "{ended}: {} of {} samples{}, {}{more}",
                self.n_ended,
                self.total,
                self.left(),
                self.so_far(),
            ));
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            self.output.stderr.set_bar(None);
            bar.finish_and_clear();
        }
    }

    fn count(&mut self, child: &Child) {
        self.n_ended += 1;
        if child.status != Status::Ok {
            *self.failures.entry(child.status.word()).or_default() += 1;
        }
        if let Some(reward) = child.reward {
            self.rewards = (self.rewards.0 + 1, self.rewards.1 + reward);
        }
        let reward = child.reward.filter(|&reward| reward > 0.0);
        if let Some(reward) = reward
            && let Some(counted) = child.scores.counted()
            && self.best.as_ref().is_none_or(|best| reward > best.reward)
        {
            self.best = Some(Best {
                reward,
                score: counted.shown(),
                sample: child.sample,
            });
        }
    }

    fn draw(&self) {
        let Some(bar) = &self.bar else { return };
        bar.set_position(self.n_ended);
        let children: Vec<String> = self
            .under_way
            .iter()
            .map(|(sample, epoch)| format!("{sample} ({epoch}/{})", self.epochs))
            .collect();
        bar.set_prefix(self.left());
        bar.set_message(format!(
            "{}, training {}",
            self.so_far(),
            children.join(" ")
        ));
    }

    /// Mean reward, and the best accuracy or perplexity, so far.
    fn so_far(&self) -> String {
        let (n, sum) = self.rewards;
        let mean = (n > 0).then(|| sum / n as f64);
        let best = self
            .best
            .as_ref()
            .map(|Best { score, sample, .. }| format!("{} {} (sample {sample})", score.0, score.1));
        format!(
            "mean reward {}, best {}{}",
            text::share(mean),
            best.unwrap_or("-".into()),
            report::failed(&self.failures).map_or(String::new(), |failed| format!(", {failed}")),
        )
    }

    /// Time left at the pace of this session.
    fn left(&self) -> String {
        let ended = self.n_ended - self.before;
        if ended == 0 {
            return String::new();
        }
        let pace = self.began.elapsed().as_secs_f64() / ended as f64;
        format!(
            ", {} left",
            text::duration(pace * self.total.saturating_sub(self.n_ended) as f64)
        )
    }
}

/// The mean reward of the last quarter of the samples so far, in words.
fn last_quarter(history: &History) -> String {
    let n_last = (history.children.len() / 4).max(1);
    let last = history.children.values().rev().take(n_last);
    let mean = report::mean(&last.map(|child| child.reward).collect::<Vec<_>>());
    format!(", last quarter {}", text::share(mean))
}
