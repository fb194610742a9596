//! The command line: commands and flags, what they print, how they end.
//!
//! Results go to standard output, as text or with `--json` as one object; everything else goes to
//! standard error.

mod audit;
mod data;
mod doctor;
mod eval;
mod explain;
mod failure;
mod flags;
mod inspect;
mod machine;
mod output;
mod progress;
mod roofline;
mod sample;
mod search;
mod status;
mod stop;
mod train;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use failure::{Failure, Kind};
use output::Output;

/// Neural architecture search with reinforcement learning.
///
/// A controller designs convolutional networks or recurrent cells, each is trained on real images
/// or text, and the controller learns from what they achieve. Every flag can also be set as
/// NAS_ENGINE_<FLAG>.
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
    /// Say more on standard error; twice for even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
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
    /// Write text with a trained cell
    Sample(sample::Flags),
    /// Show the layers, parameters and memory of an architecture
    Inspect(inspect::Flags),
    /// Show the least time of training an architecture on a GPU, pass by pass
    Roofline(roofline::Flags),
    /// Show, check or import images and texts
    #[command(subcommand)]
    Data(data::Command),
    /// Show how far a search is, also while it runs
    Status(status::Flags),
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
    let command = with_environment(Cli::command());
    let matches = match command.try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error, &arguments),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments),
    };
    let output = Output::new(cli.global.json, cli.global.quiet, cli.global.verbose);
    match execute(cli.command, &matches, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.fail(&failure),
    }
}

fn execute(command: Command, matches: &ArgMatches, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Search(flags) => search::run(&flags, &typed(matches), output),
        Command::Train(flags) => train::run(&flags, &typed(matches), output),
        Command::Eval(flags) => eval::run(&flags, output),
        Command::Sample(flags) => sample::run(&flags, output),
        Command::Inspect(flags) => inspect::run(&flags, output),
        Command::Roofline(flags) => roofline::run(&flags, output),
        Command::Data(command) => data::run(&command, &typed(matches), output),
        Command::Status(flags) => status::run(&flags, output),
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

/// Lets every flag of a command also be set as `NAS_ENGINE_<FLAG>`.
fn with_environment(command: clap::Command) -> clap::Command {
    let flag = |argument: Arg| {
        let Some(name) = argument.get_long() else {
            return argument;
        };
        let variable = format!("NAS_ENGINE_{}", name.replace('-', "_").to_uppercase());
        let argument = argument.env(variable).hide_env(true);
        match argument.get_action() {
            ArgAction::SetTrue => argument.value_parser(FalseyValueParser::new()),
            _ => argument,
        }
    };
    // A flag that is given twice has its last value.
    let command = command.args_override_self(true);
    command.mut_args(flag).mut_subcommands(with_environment)
}

/// Names of the command's own flags that were typed, as opposed to set in the environment.
fn typed(matches: &ArgMatches) -> Vec<String> {
    let program = Cli::command();
    let (mut command, mut matches) = (&program, matches);
    while let Some((name, below)) = matches.subcommand()
        && let Some(found) = command.find_subcommand(name)
    {
        (command, matches) = (found, below);
    }
    // Flags of every command are defined above it, and so are not among these.
    let names = command.get_arguments().map(|flag| flag.get_id().as_str());
    names
        .filter(|name| matches.value_source(name) == Some(ValueSource::CommandLine))
        .map(str::to_owned)
        .collect()
}

/// Ends after arguments that make no command; also after `--help` and `--version`.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        // Nothing to be done where standard output is closed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let json = arguments.iter().any(|argument| argument == "--json")
        || std::env::var_os("NAS_ENGINE_JSON").is_some_and(|value| !value.is_empty());
    if !json {
        let _ = error.print();
        return ExitCode::from(Kind::Usage.exit_code());
    }
    let text = error.render().to_string();
    let message = text.trim().trim_start_matches("error: ").to_owned();
    Output::new(true, false, 0).fail(&Failure::new(Kind::Usage, message))
}
