//! Flags that several commands share, and how they become settings.

use std::ffi::OsStr;
use std::num::IntErrorKind;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clap::builder::PossibleValuesParser;
use toml::Value;

use super::failure::{Failure, Kind};
use super::machine;
use super::output::Output;
use crate::config::{self, Config, DataConfig, Setting};
use crate::data::corpus::{Corpus, Level};
use crate::data::nas_bench_201::BenchTable;
use crate::data::{self, Dataset, Split};
use crate::device::{self, Device};
use crate::disk::{Real, input, whole};
use crate::space::{Architecture, ConvArchitecture};
use crate::text;
use crate::train::{Course, Runner, TrainConfig, weights_header};

/// What runs the work. Whole numbers are read signed, so that a negative one is refused by name.
#[derive(Args)]
pub struct DeviceFlags {
    /// What trains
    #[arg(long, value_name = "DEVICE", help = device::names())]
    pub device: Option<String>,
    /// auto: transforms where they are faster; direct: plain sums only
    #[arg(long, value_name = "HOW", value_parser = ["auto", "direct"])]
    pub convolution: Option<String>,
    /// Threads; every core by default
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::THREADS), value_name = "N")]
    pub threads: Option<i64>,
}

/// Where images or a text come from.
#[derive(Args)]
pub struct DataFlags {
    /// Folder in the CIFAR-10 binary layout, or a text for cells; the bundled sample by default
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Use the first N training and N/5 test images only
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::LIMIT), value_name = "N")]
    pub limit: Option<i64>,
    /// What a token of a text is; word by default
    #[arg(long, value_name = "LEVEL", value_parser = PossibleValuesParser::new(Level::NAMES))]
    pub level: Option<String>,
    /// Tell the N most frequent words of a text apart, <unk> counted; all by default
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::VOCABULARY), value_name = "N")]
    pub vocabulary: Option<i64>,
}

/// Settings from a file.
#[derive(Args, Default)]
pub struct ConfigFlags {
    /// TOML file of settings; a run's config.toml is one
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The root of all chance.
#[derive(Args)]
pub struct SeedFlags {
    /// Seed of all that is drawn
    #[arg(long, allow_negative_numbers = true, value_parser = whole(config::SEED), value_name = "S")]
    pub seed: Option<i64>,
}

/// Settings from flags, in the making.
#[derive(Default)]
pub struct Settings(pub Vec<Setting>);

impl Settings {
    /// Adds a setting where its flag was given.
    pub fn set<T: Into<Value>>(&mut self, key: &'static str, flag: &'static str, value: Option<T>) {
        let value = value.map(Into::into);
        self.0
            .extend(value.map(|value| Setting { key, flag, value }));
    }

    /// Adds the settings of the device.
    pub fn device(&mut self, flags: &DeviceFlags) {
        self.set("device.name", "--device", flags.device.clone());
        self.set(
            "device.convolution",
            "--convolution",
            flags.convolution.clone(),
        );
        self.set("device.threads", "--threads", flags.threads);
    }

    /// Adds the settings of the data; the folder is kept by its full name, so that it is found
    /// again from another folder.
    pub fn data(&mut self, flags: &DataFlags) -> Result<(), Failure> {
        self.data_path(flags.data.as_deref())?;
        self.set("data.limit", "--limit", flags.limit);
        self.set("data.level", "--level", flags.level.clone());
        self.set("data.vocabulary", "--vocabulary", flags.vocabulary);
        Ok(())
    }

    /// Adds where the data lie.
    pub fn data_path(&mut self, path: Option<&Path>) -> Result<(), Failure> {
        let path = path.map(|path| full_name("--data", path)).transpose()?;
        self.set("data.path", "--data", path);
        Ok(())
    }

    /// Adds the seed.
    pub fn seed(&mut self, flags: &SeedFlags) {
        self.set("search.seed", "--seed", flags.seed);
    }

    /// Lays these settings over a file and a preset.
    pub fn resolve(self, flags: &ConfigFlags, preset: &str) -> Result<Config, Failure> {
        let file = flags.config.as_deref();
        let mut config = Config::resolve(file, &self.0, preset)?;
        name_data_fully(&mut config)?;
        Ok(config)
    }
}

/// Gives the data of a file's settings their full name, so that they are found again from another
/// folder. What the file means is what its name leads to from the folder of today.
pub fn name_data_fully(config: &mut Config) -> Result<(), Failure> {
    if let Some(path) = config.data.path.as_mut().filter(|path| path.is_relative()) {
        *path = full_name("data.path", path)?.into();
    }
    Ok(())
}

/// The full name of a file or folder that a flag or a setting names.
fn full_name(named: &str, path: &Path) -> Result<String, Failure> {
    // One that does not exist is reported when it is opened.
    let full = path.canonicalize().or_else(|_| std::path::absolute(path));
    let full = full.unwrap_or_else(|_| path.into());
    full.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("{named} {}: give a name in UTF-8", path.display());
        Failure::new(Kind::Usage, message)
    })
}

/// Opens the data that children of these settings are trained on, and says on standard error which
/// they are.
pub fn open_course(config: &Config, output: &Output) -> Result<Course, Failure> {
    Ok(match &config.train {
        TrainConfig::Network(train) => {
            Course::Images(open_data(&config.data, output)?, train.clone())
        }
        TrainConfig::Language(train) => {
            Course::Text(open_corpus(&config.data, output)?, train.clone())
        }
        TrainConfig::Table(_) => {
            let DataConfig {
                path,
                limit,
                level,
                vocabulary,
            } = &config.data;
            let of_data = [
                ("--data (data.path)", path.is_some()),
                ("--limit (data.limit)", limit.is_some()),
                ("--level (data.level)", level.is_some()),
                ("--vocabulary (data.vocabulary)", vocabulary.is_some()),
            ];
            refuse(
                &of_data,
                "children that are trained",
                "a table of accuracies",
            )?;
            let table = BenchTable::bundled();
            note_data(&config.data, &table.describe(), output);
            Course::Table(table)
        }
    })
}

/// Says on standard error where a split of images leaves nothing to learn.
pub fn warn_of_split(course: &Course, path: Option<&Path>) {
    let Course::Images(dataset, train) = course else {
        return;
    };
    let split = Split::new(dataset.n_train(), train.split_seed, train.shuffle);
    if let Some(concern) = split.concern(dataset) {
        let sorted = match path {
            Some(_) => {
                "; the images are sorted by class, it seems: write them in a mixed order, as `data \
                        import` does, or leave out --limit and --no-shuffle"
            }
            None => "; leave out --limit and --no-shuffle",
        };
        tracing::warn!("{concern}{sorted}");
    }
}

/// Opens the images and says on standard error which they are.
pub fn open_data(config: &DataConfig, output: &Output) -> Result<Arc<Dataset>, Failure> {
    let dataset = dataset(config)?;
    note_data(config, &dataset.describe(), output);
    Ok(Arc::new(dataset))
}

/// Opens the images.
pub fn dataset(config: &DataConfig) -> Result<Dataset, Failure> {
    let for_text = [
        ("--level (data.level)", config.level.is_some()),
        (
            "--vocabulary (data.vocabulary)",
            config.vocabulary.is_some(),
        ),
    ];
    refuse(&for_text, "a text", "images")?;
    Ok(match &config.path {
        Some(path) if matches!(data::DataKind::of(path), Ok(data::DataKind::Text)) => {
            let message = format!(
                "--data {} is a text, and convolutional networks are trained on images; give a \
                 folder in the CIFAR-10 binary layout",
                path.display()
            );
            return Err(Failure::new(Kind::Data, message));
        }
        Some(path) => Dataset::open(path, config.limit)?,
        None => Dataset::bundled(config.limit)?,
    })
}

/// Opens the text and says on standard error which it is.
pub fn open_corpus(config: &DataConfig, output: &Output) -> Result<Arc<Corpus>, Failure> {
    let for_images = [("--limit (data.limit)", config.limit.is_some())];
    refuse(&for_images, "images", "a text")?;
    let level = config.level.unwrap_or(Level::Word);
    let corpus = match &config.path {
        Some(path) if matches!(data::DataKind::of(path)?, data::DataKind::Images) => {
            let message = format!(
                "--data {} holds images, and cells are trained on a text; give a text file, or a \
                 folder with ptb.train.txt, wiki.train.tokens or train.txt",
                path.display()
            );
            return Err(Failure::new(Kind::Data, message));
        }
        Some(path) => Corpus::open_cached(path, level, config.vocabulary)?,
        None => Corpus::bundled(level, config.vocabulary)?,
    };
    note_data(config, &corpus.describe(), output);
    Ok(Arc::new(corpus))
}

/// Opens the device of one child and says on standard error which it is.
pub fn open_device(config: &Config, output: &Output) -> Result<Box<dyn Device>, Failure> {
    let settings = &config.device;
    let (device, why) =
        device::open_first(&settings.name, Some(threads(config)), settings.convolution)?;
    if device.memory_bytes().is_none() {
        check_threads(config);
    }
    output.device(&device.describe(), why.as_deref());
    Ok(device)
}

/// Where one child is trained or evaluated: within the GPU's memory, or the machine's.
pub fn runner(device: &dyn Device) -> Runner<'_> {
    Runner {
        device,
        memory_limit: device.memory_bytes().or_else(machine::memory_bytes),
    }
}

/// Says on standard error which data are used.
pub fn note_data(config: &DataConfig, words: &str, output: &Output) {
    let hint = match config.path {
        Some(_) => "",
        None => " (no --data given)",
    };
    output.note(&format!("data: {words}{hint}"));
}

/// Refuses flags that go with the other kind of data or of architecture.
pub fn refuse(flags: &[(&str, bool)], theirs: &str, this: &str) -> Result<(), Failure> {
    match flags.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => {
            let message = format!("{flag} goes with {theirs}, not with {this}; leave it out");
            Err(Failure::new(Kind::Usage, message))
        }
    }
}

/// Threads to use.
pub fn threads(config: &Config) -> usize {
    machine::threads(config.device.threads, machine::cores())
}

/// Says where fewer threads are used than were asked for.
pub fn check_threads(config: &Config) {
    let used = threads(config);
    if let Some(asked) = config.device.threads.filter(|&asked| asked > used) {
        tracing::warn!(
            "--threads {asked} (device.threads) is far above the {used} cores that this process may \
             use; {used} threads are used"
        );
    }
}

/// Reads the whole number of a flag whose range is this. Its range is checked later, where the number
/// is used, but what no number can hold, or is none, is refused with the range.
pub fn whole(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<i64, String> + Clone + Send + Sync + 'static {
    move |text| {
        text.parse()
            .map_err(|error: std::num::ParseIntError| match error.kind() {
                IntErrorKind::PosOverflow => {
                    let (low, high) = (range.start(), range.end());
                    format!("too large; give a whole number from {low} to {high}")
                }
                _ => format!("give {}", text::whole_number(&range)),
            })
    }
}

/// Reads the whole number of a flag that must be in this range.
pub fn within(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<i64, String> + Clone + Send + Sync + 'static {
    let read = whole(range.clone());
    move |text| {
        let number = read(text)?;
        let is_in = u64::try_from(number).is_ok_and(|number| range.contains(&number));
        match is_in {
            true => Ok(number),
            false => Err(format!("give {}", text::whole_number(&range))),
        }
    }
}

/// A whole number of a flag, checked against its range.
pub fn in_range(flag: &str, value: i64, range: &RangeInclusive<u64>) -> Result<usize, Failure> {
    u64::try_from(value)
        .ok()
        .filter(|value| range.contains(value))
        .and_then(|value| usize::try_from(value).ok())
        .ok_or_else(|| {
            let message = format!("{flag} is {value}; give {}", text::whole_number(range));
            Failure::new(Kind::Usage, message)
        })
}

/// Largest file that is read as an architecture: 256 layers with every input take far less.
const LARGEST_ARCHITECTURE: u64 = 4 << 20;

/// Reads the architecture of `--arch`.
pub fn read_architecture(path: &Path) -> Result<Architecture, Failure> {
    let wrong = |message: String| wrong_architecture(path, &message);
    let weights = || {
        let named = text::shell_path(path);
        wrong(format!(
            "it looks like weights, and --arch takes the JSON of an architecture, such as the best.json of a search; \
             nas-engine export --arch {named} --format json --out FILE writes the architecture that weights hold, under `architecture`"
        ))
    };
    // Weights may be longer than what is read here.
    if weights_header::is_weights(path) {
        return Err(weights());
    }
    let unreadable = |error| {
        wrong(format!(
            "cannot read: {error}; give a JSON file with --arch"
        ))
    };
    let bytes = input::read(path, LARGEST_ARCHITECTURE).map_err(unreadable)?;
    if weights_header::begins_weights(&bytes) {
        return Err(weights()); // by a pipe
    }
    let text = input::text_of(bytes).map_err(unreadable)?;
    Architecture::from_json(&text).map_err(|error| wrong(error.to_string()))
}

/// Reads the architecture of `--arch`, which must be a convolutional network.
pub fn read_network(path: &Path) -> Result<ConvArchitecture, Failure> {
    let network = read_architecture(path)?.into_conv();
    network.map_err(|error| wrong_architecture(path, &error.to_string()))
}

fn wrong_architecture(path: &Path, message: &str) -> Failure {
    Failure::new(Kind::Architecture, format!("{}: {message}", path.display()))
}

/// Checks, before work begins, that a file can be written where asked.
pub fn check_writable(flag: &str, path: &Path) -> Result<(), Failure> {
    let wrong = |reason: String| {
        let message = format!("cannot write {flag} {}: {reason}", path.display());
        Failure::new(Kind::Usage, message)
    };
    if path.is_dir() {
        return Err(wrong("it is a folder; add the name of a file".into()));
    }
    if path.exists() && !path.is_file() {
        return Err(wrong(
            "it is no file but a device or a pipe; name a file".into(),
        ));
    }
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(wrong("it names a folder; add the name of a file".into()));
    }
    whole::check(&Real, path).map_err(|error| {
        let other = || format!("{}; choose a folder that can be written", error.kind());
        wrong(whole::no_folder(path, &error).unwrap_or_else(other))
    })
}

/// Refuses to write over what is read: a file, or data in a folder.
pub fn check_not_read(flag: &str, path: &Path, read: &[Option<&Path>]) -> Result<(), Failure> {
    let full = |path: &Path| path.canonicalize().ok();
    let Some(out) = full(path) else {
        return Ok(()); // nothing is there yet
    };
    let ending = out.extension().and_then(OsStr::to_str);
    let is_data = ending.is_some_and(|ending| ["bin", "toml", "txt", "tokens"].contains(&ending));
    let is_read = |input: &&Path| {
        let input = full(input);
        input.as_ref() == Some(&out) || is_data && input.as_deref() == out.parent()
    };
    let Some(input) = read.iter().flatten().copied().find(is_read) else {
        return Ok(());
    };
    let (path, input) = (path.display(), input.display());
    let message =
        format!("{flag} {path} would write over what is read of {input}; name another file");
    Err(Failure::new(Kind::Usage, message))
}

/// Says that a file was written, and whether another one was there before.
pub fn note_written(path: &Path, replaced: bool, output: &Output) {
    let replaced = match replaced {
        true => ", in place of the file that was there",
        false => "",
    };
    output.note(&format!("written: {}{replaced}", path.display()));
}
