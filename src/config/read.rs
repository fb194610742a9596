//! Settings from flags, environment, file and preset laid over one another, and errors that say
//! where the wrong one stands.

use std::io;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::{Config, MOST_BYTES, check};
use crate::disk::input;
use crate::space::{
    BenchSpaceConfig, CellSpaceConfig, ConvSpaceConfig, PRESETS, SpaceConfig, SpaceKind,
};
use crate::text;
use crate::train::{LanguageConfig, NetworkConfig, TableConfig, TrainConfig};

/// Settings of which one takes the place of the other: the section, and the two.
const EITHER: (&str, [&str; 2]) = ("train", ["hidden", "parameters"]);

/// A setting from the command line or the environment.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Section and name, as in `train.epochs`.
    pub key: &'static str,
    /// The flag, as in `--epochs`.
    pub flag: &'static str,
    /// Its value.
    pub value: Value,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; give a TOML file with --config", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The file is no TOML, or a setting is unknown, of another type or out of range.
    #[error("{place}{what}")]
    Setting {
        /// File and line, or the flag, and a colon; empty where neither is known.
        place: String,
        /// The setting, what is wrong with it and what to write instead.
        what: String,
    },
}

/// A configuration file as read.
struct File<'a> {
    path: &'a Path,
    text: String,
}

impl Config {
    /// The settings that flags and environment (`settings`), the file and the preset give
    /// together; the preset is the one in `settings`, else in the file, else `preset`.
    ///
    /// # Errors
    /// Names the file and line, or the flag, and the setting.
    pub fn resolve(
        file: Option<&Path>,
        settings: &[Setting],
        preset: &str,
    ) -> Result<Config, ConfigError> {
        Config::lay(file.map(File::read).transpose()?, settings, preset)
    }

    /// As [`Config::resolve`], with the text of a file that was read elsewhere.
    ///
    /// # Errors
    /// As [`Config::resolve`].
    pub fn resolve_text(
        path: &Path,
        text: String,
        settings: &[Setting],
        preset: &str,
    ) -> Result<Config, ConfigError> {
        Config::lay(Some(File { path, text }), settings, preset)
    }

    /// Lays settings over a file and a preset.
    fn lay(file: Option<File>, settings: &[Setting], preset: &str) -> Result<Config, ConfigError> {
        let given = file
            .as_ref()
            .map(File::table)
            .transpose()?
            .unwrap_or_default();
        let from_file = given.get("search").and_then(|search| search.get("preset"));
        let from_flag = settings
            .iter()
            .find(|setting| setting.key == "search.preset");
        let named = from_flag.map(|setting| &setting.value).or(from_file);
        let name = named
            .map_or(Some(preset), Value::as_str)
            .unwrap_or_default();
        let wrong = |key: &str, what| ConfigError::Setting {
            place: place(key, file.as_ref(), settings),
            what,
        };
        let preset = Config::preset(name).ok_or_else(|| {
            let what = format!("`search.preset` must be one of {}", PRESETS.join(", "));
            wrong("search.preset", what)
        })?;
        let kind = preset.space.kind();
        let mut table = Table::try_from(preset).expect("settings are a table");
        lay_over(&mut table, given);
        for Setting { key, value, .. } in settings {
            let (section, name) = key.split_once('.').expect("a key has a section and a name");
            let setting = Table::from_iter([(name.to_owned(), value.clone())]);
            let given = [(section.to_owned(), Value::Table(setting))];
            lay_over(&mut table, Table::from_iter(given));
        }
        let broken = |(key, rule): (String, String)| wrong(&key, format!("`{key}` {rule}"));
        check::whole_numbers(&table).map_err(broken)?;
        let read = match kind {
            SpaceKind::Conv => table
                .try_into()
                .map(Config::<ConvSpaceConfig, NetworkConfig>::of_any_kind),
            SpaceKind::Cell => table
                .try_into()
                .map(Config::<CellSpaceConfig, LanguageConfig>::of_any_kind),
            SpaceKind::Bench => table
                .try_into()
                .map(Config::<BenchSpaceConfig, TableConfig>::of_any_kind),
        };
        let mut config = read.map_err(|error| {
            let (key, what) = explain(&error);
            wrong(&key, what)
        })?;
        config.check().map_err(broken)?;
        config.search.fix();
        Ok(config)
    }
}

impl<S: Into<SpaceConfig>, T: Into<TrainConfig>> Config<S, T> {
    fn of_any_kind(self) -> Config {
        Config {
            search: self.search,
            data: self.data,
            device: self.device,
            train: self.train.into(),
            controller: self.controller,
            space: self.space.into(),
        }
    }
}

impl File<'_> {
    fn read(path: &Path) -> Result<File<'_>, ConfigError> {
        let text = input::read_text(path, MOST_BYTES).map_err(|source| ConfigError::Read {
            path: path.into(),
            source,
        })?;
        Ok(File { path, text })
    }

    fn table(&self) -> Result<Table, ConfigError> {
        self.text
            .parse()
            .map_err(|error: toml::de::Error| ConfigError::Setting {
                place: self.place(error.span().map_or(0, |span| span.start)),
                what: format!("not TOML: {}; mend the line", error.message()),
            })
    }

    /// File and line of a byte of the file.
    fn place(&self, at: usize) -> String {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("{}, line {line}: ", self.path.display())
    }

    /// The byte where a setting, or else its section, stands.
    fn find(&self, key: &str) -> Option<usize> {
        let document = DeTable::parse(&self.text).ok()?.into_inner();
        let mut table = &document;
        let mut found = None;
        for part in key.split('.') {
            let (name, value) = entry(table, part).or(found)?;
            found = Some((name, value));
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        found.map(|(name, _)| name.span().start)
    }
}

type Entry<'a, 'i> = (
    &'a Spanned<std::borrow::Cow<'i, str>>,
    &'a Spanned<DeValue<'i>>,
);

fn entry<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<Entry<'a, 'i>> {
    table.iter().find(|(key, _)| key.get_ref() == name)
}

/// Where a setting was given.
fn place(key: &str, file: Option<&File>, settings: &[Setting]) -> String {
    if let Some(setting) = settings.iter().find(|setting| setting.key == key) {
        return format!("{}: ", setting.flag);
    }
    let Some(file) = file else {
        return String::new();
    };
    match file.find(key) {
        Some(at) => file.place(at),
        None => format!("{}: ", file.path.display()),
    }
}

/// Lays settings over others, section by section.
fn lay_over(table: &mut Table, given: Table) {
    for (name, value) in given {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(section)), Value::Table(given)) => {
                let (of, [a, b]) = EITHER;
                for (one, other) in [(a, b), (b, a)] {
                    if name == of && given.contains_key(one) {
                        section.remove(other);
                    }
                }
                section.extend(given);
            }
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
}

/// The setting that an error of deserialisation is about, and what is wrong with it.
fn explain(error: &toml::de::Error) -> (String, String) {
    // The path of the value is in the last line of the error's text: "in `train.epochs`".
    let whole = error.to_string();
    let path = whole
        .lines()
        .last()
        .and_then(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    let path = path.unwrap_or_default();
    let message = error.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match (&quoted[..], message) {
        ([unknown, known @ ..], _) if message.starts_with("unknown field") => {
            let key = [path, unknown].into_iter().filter(|part| !part.is_empty());
            let key = key.collect::<Vec<_>>().join(".");
            let hint = text::nearest(unknown, known.iter().copied()).map_or_else(
                || format!("the settings here are {}", known.join(", ")),
                |name| format!("did you mean `{name}`?"),
            );
            (key.clone(), format!("`{key}` is no setting; {hint}"))
        }
        ([unknown, known @ ..], _) if message.starts_with("unknown variant") => {
            let known = known.join(", ");
            (
                path.into(),
                format!("`{path}` cannot be `{unknown}`; give one of {known}"),
            )
        }
        ([number, ..], _)
            if message.starts_with("invalid value: integer `-")
                && message.contains("expected u") =>
        {
            let rule = format!("`{path}` is {number}; give a whole number of 0 or more");
            (path.into(), rule)
        }
        _ => {
            let message = [("usize", "a whole number"), ("u64", "a whole number")]
                .into_iter()
                .chain([("f64", "a number"), ("a sequence", "a list")])
                .fold(message.to_owned(), |text, (rust, plain)| {
                    text.replace(&format!("expected {rust}"), &format!("give {plain}"))
                });
            let found = message
                .replace("invalid type: ", "found ")
                .replace("invalid value: ", "found ");
            (path.into(), format!("`{path}`: {found}"))
        }
    }
}
