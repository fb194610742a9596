//! Flags from the environment: every flag is also `NAS_ENGINE_<FLAG>`. An empty variable is as none,
//! and what was typed goes before it.

use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// The variable of a flag, by its long name.
fn variable(flag: &str) -> String {
    format!("NAS_ENGINE_{}", flag.replace('-', "_").to_uppercase())
}

/// Its value; none where it is empty.
fn value(flag: &str) -> Option<OsString> {
    std::env::var_os(variable(flag)).filter(|value| !value.is_empty())
}

/// Flags that mean something else than those of other commands which have their names, and so have no
/// variable.
const OTHERS: [(&str, &str); 4] = [
    ("apply", "shards"),
    ("server-config", "listen"),
    ("server-config", "monitor"),
    ("status", "listen"),
];

/// Lets every flag of a command also be set as `NAS_ENGINE_<FLAG>`.
pub fn with_environment(command: Command) -> Command {
    let of = command.get_name().to_owned();
    let flag = |argument: Arg| {
        let Some(name) = argument.get_long() else {
            return argument;
        };
        if OTHERS.contains(&(&of, name)) {
            return argument;
        }
        let argument = match value(name) {
            Some(_) => {
                let variable = variable(name);
                argument.env(variable).hide_env(true)
            }
            None => argument,
        };
        match argument.get_action() {
            ArgAction::SetTrue => argument.value_parser(switch),
            ArgAction::Count => argument.value_parser(count),
            _ => argument,
        }
    };
    // A flag that is given twice has its last value.
    let command = command.args_override_self(true);
    command.mut_args(flag).mut_subcommands(with_environment)
}

/// What a variable says of a flag that has no value.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("give 1, true, yes or on, or 0, false, no or off".to_owned()),
    }
}

/// What a variable says of a flag that is given once or several times.
fn count(text: &str) -> Result<u8, String> {
    let times = || switch(text).map(u8::from);
    text.parse()
        .or_else(|_| times())
        .map_err(|_| "give a number from 0 to 255, or yes or no".to_owned())
}

/// Whether a flag without a value is set by its variable.
pub fn is_true(flag: &str) -> bool {
    value(flag).is_some_and(|value| switch(&value.to_string_lossy()) == Ok(true))
}

/// The command whose flags these are, and its matches.
fn command_of<'a>(program: &'a Command, matches: &'a ArgMatches) -> (&'a Command, &'a ArgMatches) {
    let (mut command, mut matches) = (program, matches);
    while let Some((name, below)) = matches.subcommand()
        && let Some(found) = command.find_subcommand(name)
    {
        (command, matches) = (found, below);
    }
    (command, matches)
}

/// Names of the command's own flags that were typed, as opposed to set in the environment.
pub fn typed(program: &Command, matches: &ArgMatches) -> Vec<String> {
    let (command, matches) = command_of(program, matches);
    // Flags of every command are defined above it, and so are not among these.
    let names = command.get_arguments().map(|flag| flag.get_id().as_str());
    names
        .filter(|name| matches.value_source(name) == Some(ValueSource::CommandLine))
        .map(str::to_owned)
        .collect()
}

/// Whether a flag of every command was typed.
pub fn is_typed(program: &Command, matches: &ArgMatches, name: &str) -> bool {
    let (_, matches) = command_of(program, matches);
    matches.value_source(name) == Some(ValueSource::CommandLine)
}

/// The long names of all flags of a program and of its commands that have a variable with a value, and
/// were not typed.
fn set(program: &Command, arguments: &[OsString]) -> Vec<String> {
    let is_typed = |name: &str, short: Option<char>| {
        let flag = format!("--{name}");
        arguments.iter().any(|argument| {
            let argument = argument.to_string_lossy();
            let is_long = argument
                .strip_prefix(&flag)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
            // One of several letters, as in `-qv`.
            let letters = argument
                .strip_prefix('-')
                .filter(|rest| !rest.starts_with('-'));
            is_long || short.is_some_and(|short| letters.is_some_and(|rest| rest.contains(short)))
        })
    };
    let mut flags = flags(program);
    flags.sort();
    flags.dedup();
    flags.retain(|(name, short)| value(name).is_some() && !is_typed(name, *short));
    flags.into_iter().map(|(name, _)| name).collect()
}

/// Long names and letters of all flags.
fn flags(command: &Command) -> Vec<(String, Option<char>)> {
    let own = command.get_arguments().filter_map(|flag| {
        let name = flag.get_long()?.to_owned();
        Some((name, flag.get_short()))
    });
    own.chain(command.get_subcommands().flat_map(flags))
        .collect()
}

/// A message with the variables that have set the flags which it names: nobody who reads it has typed
/// them.
pub fn with_variables(message: &str, program: &Command, arguments: &[OsString]) -> String {
    let is_named = |name: &String| {
        let flag = format!("--{name}");
        message.match_indices(&flag).any(|(at, _)| {
            let next = message[at + flag.len()..].chars().next();
            next.is_none_or(|next| !next.is_ascii_alphanumeric() && next != '-')
        })
    };
    let named = set(program, arguments).into_iter().filter(is_named);
    named.fold(message.to_owned(), |message, name| {
        format!("{message}; --{name} is set by {}", variable(&name))
    })
}

/// The variables of flags whose values are no text.
pub fn not_text(program: &Command, arguments: &[OsString]) -> Vec<String> {
    let is_no_text = |value: &OsStr| value.to_str().is_none();
    let names = set(program, arguments).into_iter();
    names
        .filter(|name| value(name).is_some_and(|value| is_no_text(&value)))
        .map(|name| variable(&name))
        .collect()
}
