//! `nas-engine cluster status`: how far a run on a server is, and who works on it.

mod found;
mod show;

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::connection;
use crate::cli::failure::Failure;
use crate::cli::flags::within;
use crate::cli::output::Output;
use crate::cli::stop::{self, TimeFlags};
use crate::cluster::beat::Roll;
use crate::cluster::engine::Engine;
use crate::cluster::nats::{Beats, Nats};
use crate::cluster::scheme::Scheme;
use found::Found;

/// Flags of `cluster status`.
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    connection: connection::ConnectionFlags,
    /// Show it again every so many seconds, until stopped
    #[arg(long, allow_negative_numbers = true, value_parser = within(1..=86_400), value_name = "SECONDS")]
    watch: Option<i64>,
    /// Listen to the workers for so many seconds; by default until those that were asked have answered
    #[arg(long, allow_negative_numbers = true, value_parser = within(1..=3600), value_name = "SECONDS")]
    listen: Option<i64>,
}

/// For how long workers that were asked are waited for: at least, at most, and after the last one's answer.
const ANSWERS: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_millis(800),
    Duration::from_millis(100),
];

/// Beats that are heard after the time for it, at most: whoever sends many of them holds nobody up.
const MOST_LATE: usize = 100_000;

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    let Some(every) = flags.watch else {
        return super::runtime()?.block_on(async {
            let (mut view, asked) = View::open(flags).await?;
            let json = view.look(flags, Some(asked)).await?;
            output.result(&json, &show::words(&json, &view.roll))
        });
    };
    let stop = stop::flag(&TimeFlags { time_limit: None })?;
    let every = Duration::from_secs(every.unsigned_abs());
    super::runtime()?.block_on(async {
        let watched = async {
            let (mut view, asked) = View::open(flags).await?;
            let mut asked = Some(asked);
            loop {
                let json = view.look(flags, asked.take()).await?;
                output.again(&json, &show::words(&json, &view.roll))?;
                let next = view.engine.now() + every;
                view.hear_until(|_| next).await;
            }
        };
        tokio::select! {
            ended = watched => ended,
            () = super::set(stop) => Ok(()),
        }
    })
}

/// A look at a run.
struct View {
    engine: Nats,
    scheme: Scheme,
    found: Found,
    beats: Beats,
    roll: Roll,
}

impl View {
    /// Asks the workers how they are; when that was.
    async fn open(flags: &Flags) -> Result<(View, Duration), Failure> {
        let (engine, fact) = flags.connection.open(&[]).await?;
        let beats = engine.beats().await?;
        beats.ask().await;
        let view = View {
            found: Found::new(&fact.scheme),
            scheme: fact.scheme,
            beats,
            roll: Roll::default(),
            engine,
        };
        let asked = view.engine.now();
        Ok((view, asked))
    }

    /// What there is now; first the workers that were asked at a time are listened to.
    async fn look(&mut self, flags: &Flags, asked: Option<Duration>) -> Result<Value, Failure> {
        self.found.look(&self.engine).await?;
        if let Some(asked) = asked {
            let [least, most, quiet] = ANSWERS.map(|time| asked + time);
            match flags.listen {
                Some(seconds) => {
                    let until = asked + Duration::from_secs(seconds.unsigned_abs());
                    self.hear_until(|_| until).await;
                }
                None => {
                    let after = |last: Duration| (last + (quiet - asked)).clamp(least, most);
                    self.hear_until(after).await;
                }
            }
        }
        let queue = self.engine.queue().await.ok();
        let heard = (&self.roll, self.engine.now());
        let mut json = show::to_json(&self.scheme, &self.found, queue, heard);
        if json["state"] == "running"
            && let Err(error) = self.engine.keeps().await
        {
            json["server"] = error.to_string().into();
        }
        Ok(json)
    }

    /// Hears beats until a time, which may depend on when the last new worker was heard; those that have
    /// come by then are heard too.
    async fn hear_until(&mut self, until: impl Fn(Duration) -> Duration) {
        let (mut last, mut n_late) = (Duration::ZERO, 0);
        while n_late < MOST_LATE {
            let left = until(last).saturating_sub(self.engine.now());
            n_late += usize::from(left.is_zero());
            let Some((name, bytes)) = self.beats.next(left).await else {
                // Time is up, or nobody can be heard any more.
                let left = until(last).saturating_sub(self.engine.now());
                return self.engine.sleep(left).await;
            };
            let now = self.engine.now();
            if self.roll.hear(&name, &bytes, now) {
                last = now;
            }
        }
    }
}
