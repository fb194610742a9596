//! The command line: commands and flags, what they print, how they end.
//!
//! Results go to standard output, as text or with `--json` as one object; everything else goes to
//! standard error.

mod audit;
mod cluster;
mod compare;
mod data;
mod doctor;
mod environment;
mod eval;
mod explain;
mod export;
mod failure;
mod finish;
mod flags;
mod inspect;
mod machine;
mod output;
mod predict;
mod progress;
mod report;
mod roofline;
mod runs;
mod sample;
mod search;
mod status;
mod stop;
mod terminal;
mod train;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use failure::{Failure, Kind};
use output::Output;

/// Neural architecture search with reinforcement learning.
///
/// A controller designs convolutional networks or recurrent cells, each is trained on real images
/// or text, and the controller learns from what they achieve. Every flag can also be set as
/// NAS_ENGINE_<FLAG>, switches as 1 or 0.
#[derive(Parser)]
#[command(
    name = "nas-engine",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// Flags of every command.
#[derive(Args)]
struct Global {
    /// Print one JSON object on standard output, and nothing else there
    #[arg(long, global = true)]
    json: bool,
    /// Say more on standard error; twice for even more, three times for times by layer
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Search for architectures: sample, train, learn, repeat
    Search(search::Flags),
    /// Train one architecture
    Train(train::Flags),
    /// Evaluate saved weights
    Eval(eval::Flags),
    /// Show what a trained network sees in pictures
    Predict(predict::Flags),
    /// Write text with a trained cell
    Sample(sample::Flags),
    /// Write trained weights for other programs, or draw an architecture
    Export(export::Flags),
    /// Show the layers, parameters and memory of an architecture
    Inspect(inspect::Flags),
    /// Show the least time of training an architecture on a GPU, pass by pass
    Roofline(roofline::Flags),
    /// Show, check or import images and texts
    #[command(subcommand)]
    Data(data::Command),
    /// Search on many machines, by roles that share a NATS server
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Show how far a search is, also while it runs
    Status(status::Flags),
    /// Watch a search in the terminal: history, children under way, the best
    Watch(watch::Flags),
    /// Report on a search: charts, the best, every child, as a page that needs no network, or as numbers
    Report(report::Flags),
    /// Compare searches: what each strategy finds, and whether the spread of the seeds explains it
    Compare(compare::Flags),
    /// Train the best of a search for good: a small grid of recipes, then all records, then the test
    Finish(finish::Flags),
    /// Recompute a run from its settings and its journal, and say where they differ
    Audit(audit::Flags),
    /// Show a sample's decisions with their probabilities, before and after its batch was learned from
    Explain(explain::Flags),
    /// Show what this machine has and can use
    Doctor,
    /// Write a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the program with the arguments and the environment of the process.
pub fn main() -> ExitCode {
    run(std::env::args_os().collect())
}

fn run(arguments: Vec<OsString>) -> ExitCode {
    let command = environment::with_environment(Cli::command()).color(terminal::colours());
    let matches = match command.try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error, &arguments),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments),
    };
    let (quiet, verbose) = cli.global.loudness(&matches);
    let output = Output::new(cli.global.json, quiet && verbose == 0, verbose);
    let result = match quiet && verbose > 0 {
        true => {
            let message = "--quiet and --verbose say the opposite; leave one out";
            Err(Failure::new(Kind::Usage, message))
        }
        false => execute(cli.command, &matches, &output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.kind == Kind::Stopped => output.fail(&failure),
        Err(failure) => output.fail(&Failure {
            message: environment::with_variables(&failure.message, &Cli::command(), &arguments),
            ..failure
        }),
    }
}

impl Global {
    /// Whether to be quiet, and how much to say; both where both are asked for in the same place. What
    /// was typed goes before the environment.
    fn loudness(&self, matches: &ArgMatches) -> (bool, u8) {
        let program = Cli::command();
        let typed = |name| environment::is_typed(&program, matches, name);
        match (typed("quiet"), typed("verbose")) {
            (true, false) => (self.quiet, 0),
            (false, true) => (false, self.verbose),
            _ => (self.quiet, self.verbose),
        }
    }
}

fn execute(command: Command, matches: &ArgMatches, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Search(flags) => search::run(&flags, &typed(matches), output),
        Command::Train(flags) => train::run(&flags, &typed(matches), output),
        Command::Eval(flags) => eval::run(&flags, output),
        Command::Predict(flags) => predict::run(&flags, output),
        Command::Sample(flags) => sample::run(&flags, output),
        Command::Export(flags) => export::run(&flags, output),
        Command::Inspect(flags) => inspect::run(&flags, output),
        Command::Roofline(flags) => roofline::run(&flags, output),
        Command::Data(command) => data::run(&command, &typed(matches), output),
        Command::Cluster(command) => cluster::run(&command, output),
        Command::Status(flags) => status::run(&flags, output),
        Command::Watch(flags) => watch::run(&flags, output),
        Command::Report(flags) => report::run(&flags, output),
        Command::Compare(flags) => compare::run(&flags, output),
        Command::Finish(flags) => finish::run(&flags, &typed(matches), output),
        Command::Audit(flags) => audit::run(&flags, output),
        Command::Explain(flags) => explain::run(&flags, output),
        Command::Doctor => doctor::run(output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "nas-engine", &mut script);
            output.text(&String::from_utf8_lossy(&script))
        }
    }
}

/// Names of the command's own flags that were typed, as opposed to set in the environment.
fn typed(matches: &ArgMatches) -> Vec<String> {
    environment::typed(&Cli::command(), matches)
}

/// Ends after arguments that make no command; also after `--help` and `--version`.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        // Nothing to be done where standard output is closed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let json =
        arguments.iter().any(|argument| argument == "--json") || environment::is_true("json");
    // The reason; how the command is used, and where to read on, come after an empty line.
    let text = error.render().to_string();
    let message = text.trim().trim_start_matches("error: ");
    let reason = message.split("\n\n").next().unwrap_or_default();
    let program = Cli::command();
    let variables = match error.kind() {
        ErrorKind::InvalidUtf8 => environment::not_text(&program, arguments),
        _ => vec![],
    };
    let full = match variables.is_empty() {
        true => environment::with_variables(reason, &program, arguments),
        false => format!("{} is not UTF-8; give it as UTF-8", variables.join(", ")),
    };
    if !json && full == reason {
        let _ = error.print();
        return ExitCode::from(Kind::Usage.exit_code());
    }
    let message = match full == reason {
        true => message.to_owned(),
        false => message.replacen(reason, &full, 1),
    };
    Output::new(json, false, 0).fail_with_usage(message)
}
