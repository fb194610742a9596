//! `nas-engine cluster drain`: has all roles of a run come to their end, whoever started them and wherever.

use clap::Args;
use serde_json::json;

use super::connection;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cluster::control::{self, Control};

/// Flags of `cluster drain`.
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    connection: connection::ConnectionFlags,
    /// Let the run go on; its roles are to be started again
    #[arg(long)]
    undo: bool,
}

/// Runs the command.
pub fn run(flags: &Flags, output: &Output) -> Result<(), Failure> {
    super::runtime()?.block_on(async {
        let (engine, _) = flags.connection.open(&[]).await?;
        let drained = !flags.undo;
        control::say(&engine, Control { drained }).await?;
        let name = flags.connection.name();
        let words = match drained {
            true => format!(
                "run {name} is drained: workers keep their children's checkpoints, give them back and end, and so do \
                 its other roles; `cluster drain {name} --undo` lets it go on\n"
            ),
            false => format!("run {name} may go on; start its roles again\n"),
        };
        output.result(&json!({"run": name.to_string(), "drained": drained}), &words)
    })
}
