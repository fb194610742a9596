//! A journal read for what a summary needs and no more: every check sum is verified, but of a child's
//! line only the few facts that are counted are taken out, and its architecture stays the text it is.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc::sync_channel;
use std::thread;

use rayon::prelude::*;
use serde::Deserialize;
use serde::de::value::{Error as WordError, StrDeserializer};
use serde_json::value::RawValue;

use super::entry::{Child, ChildFacts, Entry, Update};
use super::history::History;
use super::{RunError, Status, check_begins, check_not_emptied, journal, settings_of};
use crate::config::Config;
use crate::disk::Disk;
use crate::space::Token;
use crate::train::metrics::REWARD_EPOCHS;
use crate::train::{Counted, Scores};

/// Lines that are parsed at a time, side by side: enough to share among threads, and little memory.
const PIECE: usize = 4096;

/// A run as it lies on disk, for those who only look: nothing is locked or written.
#[derive(Debug)]
pub struct RunBytes<'a> {
    /// Its settings.
    pub config: Config,
    disk: &'a dyn Disk,
    directory: PathBuf,
    journal: Vec<u8>,
}

impl<'a> RunBytes<'a> {
    /// Reads a run's settings and the bytes of its journal.
    ///
    /// # Errors
    /// Where there is no run, or a file of it cannot be read.
    pub fn read(disk: &'a dyn Disk, directory: &Path) -> Result<RunBytes<'a>, RunError> {
        Ok(RunBytes {
            config: settings_of(disk, directory, &[])?,
            disk,
            directory: directory.into(),
            journal: journal::bytes_of(disk, &directory.join(journal::FILE_NAME))?,
        })
    }

    /// Bytes of its journal.
    pub fn n_bytes(&self) -> usize {
        self.journal.len()
    }

    /// What the journal says. A line that was being written is passed over.
    ///
    /// # Errors
    /// Where the journal is damaged.
    pub fn history<'b>(&'b self) -> Result<History<SkimmedChild<'b>>, RunError> {
        let path = self.directory.join(journal::FILE_NAME);
        let lines = journal::split(&self.journal);
        let pieces = lines.chunks(PIECE);
        let parse_all =
            |lines: &[&'b [u8]]| -> Vec<_> { lines.par_iter().map(|line| parse(line)).collect() };
        let mut history = History::default();
        // Lines are parsed while those before them are added up.
        let read = thread::scope(|scope| {
            let (sender, parsed) = sync_channel(2);
            scope.spawn(move || {
                let mut parsed = pieces.map(parse_all);
                // Nobody asks for more after a damaged line.
                parsed.try_for_each(|piece| sender.send(piece))
            });
            journal::each(&lines, parsed.into_iter().flatten(), |line| {
                if line.number == 1 {
                    check_begins(&path, &line)?;
                }
                history.add_line(&path, line)
            })
        })?;
        if let Some(damage) = read.damage {
            return Err(damage.of(&path).into());
        }
        if read.end == 0 {
            check_not_emptied(self.disk, &self.directory)?;
        }
        Ok(history)
    }
}

/// What is kept of a child's line.
#[derive(Clone, Debug)]
pub struct SkimmedChild<'a> {
    /// As the program writes it, without its check sum where it was read.
    line: Cow<'a, str>,
    sample: u64,
    batch: u64,
    architecture: Cow<'a, RawValue>,
    status: Status,
    counted: Option<Counted>,
    reward: Option<f64>,
    duplicate_of: Option<u64>,
    parameters: Option<u64>,
    at: f64,
}

/// What a report takes of a child's line besides, looked for when it is asked for: a summary of a long
/// run would wait for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Details<'a> {
    /// The numbers of `tokens`, as text.
    tokens: &'a str,
    /// Those of its scores.
    scores: &'a str,
    /// Seconds that it took.
    pub seconds: f64,
    /// What follows the number of parameters, up to the times.
    message: &'a str,
}

impl<'a> Details<'a> {
    /// The controller's decisions; none where one is no token.
    pub fn tokens(&self) -> Option<Vec<Token>> {
        numbers(self.tokens)
    }

    /// What it achieved after each epoch; none where one is no number.
    pub fn scores(&self) -> Option<Vec<f64>> {
        numbers(self.scores)
    }

    /// Why it failed.
    pub fn message(&self) -> Option<String> {
        let (_, text) = self.message.split_once("\"message\":")?;
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
        values.next()?.ok()
    }
}

impl SkimmedChild<'_> {
    /// The rest of what its line says.
    pub fn details(&self) -> Option<Details<'_>> {
        details(&self.line, &self.architecture)
    }
}

/// The numbers of a list, without its brackets.
fn numbers<T: FromStr>(list: &str) -> Option<Vec<T>> {
    if list.is_empty() {
        return Some(vec![]);
    }
    // Their number is known, and growing lists would take twice the memory.
    let n = list.bytes().filter(|&byte| byte == b',').count() + 1;
    let mut numbers = Vec::with_capacity(n);
    for number in list.split(',') {
        numbers.push(number.parse().ok()?);
    }
    Some(numbers)
}

/// Of a line as the program writes it.
fn details<'a>(line: &'a str, architecture: &RawValue) -> Option<Details<'a>> {
    let (_, rest) = line.split_once(",\"tokens\":[")?;
    let (tokens, rest) = rest.split_once(']')?;
    let rest = rest.strip_prefix(",\"architecture\":")?;
    let rest = rest.get(architecture.get().len()..)?;
    let (_, rest) = rest.split_once(":[")?; // of the scores, after the status
    let (scores, rest) = rest.split_once(']')?;
    let (message, timing) = rest.rsplit_once(",\"timing\":")?;
    let (_, seconds) = timing.split_once("\"seconds\":")?;
    let end = seconds.find([',', '}'])?;
    Some(Details {
        tokens,
        scores,
        seconds: number(&seconds[..end])?,
        message,
    })
}

impl ChildFacts for SkimmedChild<'_> {
    fn sample(&self) -> u64 {
        self.sample
    }

    fn batch(&self) -> u64 {
        self.batch
    }

    fn status(&self) -> Status {
        self.status
    }

    fn reward(&self) -> Option<f64> {
        self.reward
    }

    fn duplicate_of(&self) -> Option<u64> {
        self.duplicate_of
    }

    fn parameters(&self) -> Option<u64> {
        self.parameters
    }

    fn counted(&self) -> Option<Counted> {
        self.counted
    }

    fn architecture(&self) -> Cow<'_, RawValue> {
        Cow::Borrowed(&self.architecture)
    }

    fn at(&self) -> f64 {
        self.at
    }
}

impl From<Child> for SkimmedChild<'_> {
    fn from(child: Child) -> Self {
        let architecture = Cow::Owned(child.architecture().into_owned());
        let line = journal::line(&Entry::Child(child.clone()));
        SkimmedChild {
            // A child that was read can be written; and without a line it has no details.
            line: Cow::Owned(line.unwrap_or_default()),
            architecture,
            sample: child.sample,
            batch: child.batch,
            status: child.status,
            counted: child.scores.counted(),
            reward: child.reward,
            duplicate_of: child.duplicate_of,
            parameters: child.parameters,
            at: child.timing.at,
        }
    }
}

/// The entry on a line, or what is wrong with the line. A line that is not as the program writes them is
/// read in full, which decides what is wrong with it.
fn parse(line: &[u8]) -> Result<Entry<SkimmedChild<'_>>, String> {
    let text = journal::checked(line)?;
    let entry = if text.starts_with(b"{\"event\":\"child\",") {
        str::from_utf8(text).ok().and_then(child).map(Entry::Child)
    } else if text.starts_with(b"{\"event\":\"update\",") {
        // Reading the type by its own name spares the tagged enum's detour through a tree.
        let update = serde_json::from_slice::<Update>(text);
        update.ok().map(Entry::Update)
    } else {
        None
    };
    entry.map_or_else(|| whole(line), Ok)
}

/// As [`journal::parse`].
fn whole<'a>(line: &[u8]) -> Result<Entry<SkimmedChild<'a>>, String> {
    Ok(match journal::parse(line)? {
        Entry::Child(child) => Entry::Child(child.into()),
        Entry::Run(run) => Entry::Run(run),
        Entry::Round(round) => Entry::Round(round),
        Entry::Update(update) => Entry::Update(update),
        Entry::Lost(lost) => Entry::Lost(lost),
        Entry::Stop(stop) => Entry::Stop(stop),
        Entry::Unknown => Entry::Unknown,
    })
}

/// The facts of a child's line, where its keys stand as the program writes them: looking for them takes
/// half the time of reading every value. No string holds a bare quote, and so none a key.
fn child(whole: &str) -> Option<SkimmedChild<'_>> {
    let line = whole;
    let (sample, line) = value(line, "{\"event\":\"child\",\"sample\":", ',')?;
    let (batch, line) = value(line, "\"batch\":", ',')?;
    let (_, line) = value(line, "\"tokens\":[", ']')?;
    let line = line.strip_prefix(",\"architecture\":")?;
    let mut values = serde_json::Deserializer::from_str(line).into_iter::<&RawValue>();
    let architecture = values.next()?.ok()?;
    let line = line.get(values.byte_offset()..)?;
    let (status, line) = value(line, ",\"status\":\"", '"')?;
    let (key, rest) = line.strip_prefix(",\"")?.split_once("\":[")?;
    let (list, line) = rest.split_once(']')?;
    let numbers = last_numbers(list)?;
    let scores = match key {
        "accuracies" => Scores::Accuracies(numbers),
        "perplexities" => Scores::Perplexities(numbers),
        "table_accuracies" => Scores::TableAccuracies(numbers),
        _ => return None,
    };
    let (reward, line) = value(line, ",\"reward\":", ',')?;
    let (duplicate_of, line) = optional(line, "\"duplicate_of\":")?;
    let (parameters, line) = optional(line, "\"parameters\":")?;
    let line = match line.starts_with("\"timing\":") {
        true => line,
        false => &line[line.rfind("\"timing\":")?..],
    };
    let (at, _) = value(line, "\"timing\":{\"at\":", ',')?;
    Some(SkimmedChild {
        line: Cow::Borrowed(whole),
        sample: sample.parse().ok()?,
        batch: batch.parse().ok()?,
        architecture: Cow::Borrowed(architecture),
        status: Status::deserialize(StrDeserializer::<WordError>::new(status)).ok()?,
        counted: scores.counted(),
        reward: match reward {
            "null" => None,
            _ => Some(number(reward)?),
        },
        duplicate_of,
        parameters,
        at: number(at)?,
    })
}

/// What stands between a key, which the text begins with, and the next `end`; and what follows.
fn value<'a>(text: &'a str, key: &str, end: char) -> Option<(&'a str, &'a str)> {
    text.strip_prefix(key)?.split_once(end)
}

/// As [`value`], of a whole number whose key may be missing.
fn optional<'a>(text: &'a str, key: &str) -> Option<(Option<u64>, &'a str)> {
    match value(text, key, ',') {
        Some((number, rest)) => Some((Some(number.parse().ok()?), rest)),
        None => Some((None, text)),
    }
}

/// The last of the numbers in a list, as many as a reward looks at.
fn last_numbers(list: &str) -> Option<Vec<f64>> {
    if list.is_empty() {
        return Some(vec![]);
    }
    let mut numbers: Vec<f64> = list
        .rsplit(',')
        .take(REWARD_EPOCHS)
        .map(number)
        .collect::<Option<_>>()?;
    numbers.reverse();
    Some(numbers)
}

/// A number, where it is one that a journal holds.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|x: &f64| x.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::entry::Timing;

    /// Reading a line in full would give the same, later.
    #[test]
    fn what_the_program_writes_is_found_by_its_keys() {
        for some in [false, true] {
            for scores in [
                Scores::Accuracies(vec![]),
                Scores::Accuracies((0..9).map(f64::from).collect()),
                Scores::Perplexities(vec![81.5, 1e-7]),
                Scores::TableAccuracies(vec![91.5, 1e-7, 0.0]),
            ] {
                let entry = Entry::Child(Child {
                    sample: 17,
                    batch: 2,
                    tokens: if some { vec![3, 0, 11] } else { vec![] },
                    architecture: json!({"space": "conv", "layers": [{"status": "ö"}]}),
                    status: Status::TooLarge,
                    scores: scores.clone(),
                    reward: some.then_some(0.25),
                    duplicate_of: some.then_some(3),
                    parameters: some.then_some(4000),
                    writer: some.then(|| "00ff".into()),
                    attempts: some.then_some(2),
                    staleness: some.then_some(7),
                    message: some.then(|| "it said \"ö\",\"parameters\":5,\"timing\":{".into()),
                    timing: Timing {
                        at: 1.5,
                        seconds: 0.25,
                        threads: some.then_some(2),
                        ..Timing::default()
                    },
                });
                let line = journal::line(&entry).unwrap();
                let text = line.trim_end();
                let child = child(text).unwrap_or_else(|| panic!("{text}"));
                assert_eq!(child.counted, scores.counted());
                assert_eq!((child.sample, child.batch, child.at), (17, 2, 1.5));
                assert_eq!(child.status, Status::TooLarge);
                assert_eq!(child.reward, some.then_some(0.25));
                assert_eq!(child.duplicate_of, some.then_some(3));
                assert_eq!(child.parameters, some.then_some(4000));
                let architecture = r#"{"space":"conv","layers":[{"status":"ö"}]}"#;
                assert_eq!(child.architecture.get(), architecture);
                let Entry::Child(of) = entry else {
                    unreachable!()
                };
                for child in [&child, &SkimmedChild::from(of.clone())] {
                    let details = child.details().unwrap();
                    assert_eq!(details.tokens().unwrap(), of.tokens);
                    assert_eq!(details.scores().unwrap(), of.scores.values());
                    assert_eq!(details.seconds, 0.25);
                    assert_eq!(details.message(), of.message);
                }
            }
        }
    }
}
