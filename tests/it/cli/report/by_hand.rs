//! Journals made by hand, of any length and space, and how long reports of long ones take.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nas_engine::config::{self, Config};
use nas_engine::rng::{Purpose, Rng};
use nas_engine::run::Status;
use nas_engine::run::entry::{Child, Entry, RunTiming, Started, Timing};
use nas_engine::run::journal::FILE_NAME;
use nas_engine::space::{Space, SpaceKind};
use nas_engine::train::Scores;

use crate::cli::{nas, text};

/// When the search begins.
const BEGAN: f64 = 1_700_000_000.0;

/// A run in the making.
pub struct ByHand {
    pub config: Config,
    pub space: Space,
    lines: String,
    at: f64,
}

impl ByHand {
    /// Of a preset, with samples drawn uniformly, on data with this digest.
    pub fn new(preset: &str, samples: u64, seed: u64, data_sha256: &str) -> ByHand {
        let mut config = Config::preset(preset).unwrap();
        config.search.samples = samples;
        config.search.seed = seed;
        let mut run = ByHand {
            space: Space::new(&config.space).unwrap(),
            config,
            lines: String::new(),
            at: BEGAN,
        };
        run.add(&Entry::Run(Started {
            version: "0.0.9".to_owned(),
            config_sha256: "1".to_owned(),
            data_sha256: data_sha256.to_owned(),
            samples,
            timing: RunTiming {
                at: BEGAN,
                device: "cpu (by hand)".to_owned(),
                threads: 2,
            },
        }));
        run
    }

    fn add(&mut self, entry: &Entry) {
        let mut line = serde_json::to_string(entry).unwrap();
        line.pop();
        let sum = crc32fast::hash(line.as_bytes());
        self.lines += &format!("{line},\"crc32\":\"{sum:08x}\"}}\n");
    }

    /// A child of the space that ends so, after so many epochs, the last of which is the best.
    pub fn child(&mut self, sample: u64, status: Status, scores: Vec<f64>) {
        let tokens = self.space.random(self.config.search.seed, sample);
        let architecture = self.space.decode(&tokens).unwrap().to_json();
        let scores = match self.space.kind() {
            SpaceKind::Conv => Scores::Accuracies(scores),
            SpaceKind::Cell => Scores::Perplexities(scores),
            SpaceKind::Bench => Scores::TableAccuracies(scores),
        };
        self.at += 2.5;
        self.add(&Entry::Child(Child {
            sample,
            batch: sample / 8,
            tokens,
            architecture: serde_json::from_str(&architecture).unwrap(),
            status,
            reward: match status {
                Status::Ok => Some(scores.reward()),
                _ => status.is_verdict().then_some(0.0),
            },
            scores,
            duplicate_of: None,
            parameters: None,
            message: (status != Status::Ok)
                .then(|| format!("it ended as \"{}\" <&>", status.word())),
            writer: None,
            attempts: None,
            staleness: None,
            timing: Timing {
                at: self.at,
                seconds: 2.25,
                ..Timing::default()
            },
        }));
    }

    /// Writes the run.
    pub fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(config::FILE_NAME), self.config.to_toml()).unwrap();
        fs::write(folder.join(FILE_NAME), &self.lines).unwrap();
    }
}

/// A run of 50 epochs a child, some of which fail.
fn long(preset: &str, samples: u64) -> ByHand {
    let mut run = ByHand::new(preset, samples, 1, "2");
    let mut draw = Rng::new(1, Purpose::Test, samples);
    for sample in 0..samples {
        let status = match draw.below(100) {
            0 => Status::Diverged,
            1 => Status::TooLarge,
            2 => Status::Crash,
            _ => Status::Ok,
        };
        // Shares of 5,000 images, better as the search goes on.
        let top = 2000 + (1500 * sample / samples) as u32 + draw.below(1000);
        let n_epochs = if status == Status::Ok { 50 } else { 0 };
        let accuracy = |epoch: u32| f64::from(top - top / (epoch + 2) + draw.below(50)) / 5000.0;
        let scores = (0..n_epochs).map(accuracy).collect();
        run.child(sample, status, scores);
    }
    run
}

/// Figures: 12,800 children within 3 MB, 50,000 within 2 s of a release build on two cores. REPORT_RUNS is
/// a folder that the runs and reports are kept in, to be looked at.
#[test]
#[ignore = "long runs: half a minute, and the time is that of a release build"]
fn long_runs_are_reported_fast_and_small() {
    let here = tempfile::tempdir().unwrap();
    let kept = env::var_os("REPORT_RUNS").map(PathBuf::from);
    let folder = kept.as_deref().unwrap_or(here.path());
    for (preset, samples, most_bytes) in [
        ("v1", 24, 200_000),
        ("v1", 12_800, 3_000_000),
        ("v3", 12_800, 3_000_000), // with the longest lines
        ("v1", 50_000, u64::MAX),
    ] {
        let run = folder.join(format!("{preset}-{samples}"));
        long(preset, samples).write(&run);
        let out = folder.join(format!("{preset}-{samples}.html"));
        let mut times = Vec::new();
        for _ in 0..3 {
            let began = Instant::now();
            let ended = nas(&["report", &text(&run), "--out", &text(&out), "--force"]);
            times.push(began.elapsed().as_secs_f64());
            assert_eq!(ended.code, 0, "{ended:?}");
        }
        times.sort_by(f64::total_cmp);
        let bytes = fs::metadata(&out).unwrap().len();
        let journal = fs::metadata(run.join(FILE_NAME)).unwrap().len();
        println!(
            "{preset}, {samples} samples, journal of {journal} bytes: {bytes} bytes in {times:.2?} s"
        );
        assert!(bytes < most_bytes, "{samples}: {bytes} bytes");
        assert!(
            cfg!(debug_assertions) || times[1] < 2.0,
            "{samples}: {times:?} s"
        );
    }
}
