//! Runs side by side: what each has found, what strategies find over their seeds, and whether two of them
//! differ by more than the seeds do.

mod comparable;
mod page;
pub mod student;

pub use comparable::why_not;
pub use page::page;

use serde::Serialize;
use serde_json::{Value, json};

use super::overview::TOP;
use super::record::Record;
use super::series;
use super::table::{Align, aligned};
use crate::run::entry::ChildFacts;
use crate::text;
use student::{Spread, Welch, welch};

/// A difference whose p is below this is larger than the spread of the seeds.
pub const LEVEL: f64 = 0.05;

/// The rule by which differences are judged, in words.
pub const RULE: &str = "A difference is called larger than the seeds' spread where Welch's t-test, two-sided, gives \
                        p below 0.05; each measure and pair of strategies is tested by itself.";

/// What is measured of a run, by the names of formats.md, section 4.
pub const MEASURES: [&str; 3] = ["best", "top15", "mean_last_quarter"];

/// What a run has found and sampled.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The run's name.
    pub run: String,
    /// Its strategy.
    pub strategy: &'static str,
    /// Its seed.
    pub seed: u64,
    /// Samples that have ended.
    pub samples: u64,
    /// Samples asked for.
    pub total: u64,
    /// Whether anybody works on it.
    pub state: &'static str,
    /// The highest reward.
    pub best: Option<f64>,
    /// The mean of the 15 best different architectures.
    pub top15: Option<f64>,
    /// The mean reward of the last quarter.
    pub mean_last_quarter: Option<f64>,
    /// Seconds that the search ran.
    pub seconds: f64,
}

impl Measured {
    fn measure(&self, measure: usize) -> Option<f64> {
        [self.best, self.top15, self.mean_last_quarter][measure]
    }
}

/// A strategy over its seeds.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub strategy: &'static str,
    /// The places of its runs.
    pub runs: Vec<usize>,
    /// Each measure over the runs that have it.
    pub measures: [Option<Spread>; MEASURES.len()],
}

/// Two strategies by one measure.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The measure's place.
    pub measure: usize,
    /// The places of both groups.
    pub groups: [usize; 2],
    /// The first one's mean less the second one's.
    pub difference: f64,
    /// What the test says, where both have two seeds.
    pub welch: Option<Welch>,
}

impl Difference {
    /// Whether it is larger than the seeds' spread; nothing where nothing can be said.
    pub fn is_larger(&self) -> Option<bool> {
        self.welch.map(|welch| welch.p < LEVEL)
    }
}

/// Runs, compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Samples of each run that are compared: as many as the shortest has.
    pub samples: usize,
    /// The runs.
    pub runs: Vec<Measured>,
    /// The strategies, in the order of their first runs.
    pub groups: Vec<Group>,
    /// Every pair of strategies by every measure.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Of the first samples of all, as many as the shortest has.
    pub fn new(records: &[Record]) -> Comparison {
        let samples = records
            .iter()
            .map(|record| record.rows.len())
            .min()
            .unwrap_or(0);
        let runs: Vec<Measured> = records
            .iter()
            .map(|record| measured(record, samples))
            .collect();
        let groups = groups(&runs);
        let mut differences = Vec::new();
        for measure in 0..MEASURES.len() {
            for (i, a) in groups.iter().enumerate() {
                for (j, b) in groups.iter().enumerate().skip(i + 1) {
                    let (Some(of_a), Some(of_b)) = (&a.measures[measure], &b.measures[measure])
                    else {
                        continue;
                    };
                    differences.push(Difference {
                        measure,
                        groups: [i, j],
                        difference: of_a.mean - of_b.mean,
                        welch: welch(of_a, of_b),
                    });
                }
            }
        }
        Comparison {
            samples,
            runs,
            groups,
            differences,
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let spread = |spread: &Option<Spread>| {
            spread.map(|spread| json!({"mean": spread.mean, "deviation": spread.deviation}))
        };
        let group = |group: &Group| {
            let [best, top15, last] = &group.measures;
            json!({
                "strategy": group.strategy,
                "runs": group.runs.len(),
                "best": spread(best),
                "top15": spread(top15),
                "mean_last_quarter": spread(last),
            })
        };
        let difference = |of: &Difference| {
            let names = of.groups.map(|group| self.groups[group].strategy);
            json!({
                "measure": MEASURES[of.measure],
                "strategies": names,
                "difference": of.difference,
                "t": of.welch.map(|welch| welch.t).filter(|t| t.is_finite()),
                "degrees": of.welch.and_then(|welch| welch.degrees),
                "p": of.welch.map(|welch| welch.p),
                "larger": of.is_larger(),
            })
        };
        json!({
            "samples": self.samples,
            "runs": self.runs,
            "strategies": self.groups.iter().map(group).collect::<Vec<_>>(),
            "differences": self.differences.iter().map(difference).collect::<Vec<_>>(),
            "rule": RULE,
        })
    }

    /// Rows of the table of runs, and those of strategies.
    pub fn rows(&self) -> [Vec<Vec<String>>; 2] {
        let run = |run: &Measured| {
            let words = [
                run.run.clone(),
                run.strategy.to_owned(),
                run.seed.to_string(),
                text::count(run.samples),
            ];
            let numbers = (0..MEASURES.len()).map(|measure| text::share(run.measure(measure)));
            words
                .into_iter()
                .chain(numbers)
                .chain([text::duration(run.seconds)])
                .collect()
        };
        let group = |group: &Group| {
            let words = [group.strategy.to_owned(), group.runs.len().to_string()];
            words
                .into_iter()
                .chain(group.measures.iter().map(shown))
                .collect()
        };
        [
            self.runs.iter().map(run).collect(),
            self.groups.iter().map(group).collect(),
        ]
    }

    /// Each difference in a sentence; or why there is none.
    pub fn sentences(&self) -> Vec<String> {
        if let [only] = &self.groups[..] {
            return vec![format!(
                "All runs are of the strategy {}, so no strategies can be compared; give runs of another one too.",
                only.strategy
            )];
        }
        let alone: Vec<&str> = self
            .groups
            .iter()
            .filter(|group| group.runs.len() < 2)
            .map(|group| group.strategy)
            .collect();
        let mut sentences = Vec::new();
        if !alone.is_empty() {
            sentences.push(format!(
                "Nothing can be said of whether chance explains the differences of {}: one seed has no spread. Give \
                 runs of other seeds, two of each strategy at least.",
                alone.join(" and ")
            ));
        }
        let tested = self
            .differences
            .iter()
            .filter_map(|of| Some((of, of.welch?)));
        sentences.extend(tested.map(|(of, welch)| self.sentence(of, &welch)));
        sentences
    }

    fn sentence(&self, of: &Difference, welch: &Welch) -> String {
        let [a, b] = of.groups.map(|group| &self.groups[group]);
        let test = welch.degrees.map_or(String::new(), |degrees| {
            let (t, p) = (welch.t, probability(welch.p));
            format!("Welch's t = {t:.2} with {degrees:.1} degrees of freedom, p = {p}")
        });
        let verdict = match (welch.p < LEVEL, welch.degrees) {
            (true, None) => {
                "is larger than the seeds' spread: every seed of each gives the same".to_owned()
            }
            (false, None) => "is none: every seed of both gives the same".to_owned(),
            (true, Some(_)) => format!("is larger than the seeds' spread ({test})"),
            // It may still be larger than either deviation: few seeds say little of their spread.
            (false, Some(_)) => {
                format!("may be chance: the seeds' spread can explain it ({test})")
            }
        };
        format!(
            "{}: {} {}, {} {}; the difference of {:.4} {verdict}.",
            name(of.measure),
            a.strategy,
            shown(&a.measures[of.measure]),
            b.strategy,
            shown(&b.measures[of.measure]),
            of.difference.abs()
        )
    }

    /// The comparison in words and tables.
    pub fn words(&self) -> String {
        let [runs, groups] = self.rows();
        let sides = |heads: &[(&'static str, bool)]| -> Vec<(&'static str, Align)> {
            let side = |&(head, is_number): &(&'static str, bool)| match is_number {
                true => (head, Align::Right),
                false => (head, Align::Left),
            };
            heads.iter().map(side).collect()
        };
        let shorter = match self.is_cut() {
            true => format!(
                "the first {} samples of each run are compared\n\n",
                text::count(self.samples as u64)
            ),
            false => String::new(),
        };
        let rule = match self.differences.iter().any(|of| of.welch.is_some()) {
            true => format!("\n{RULE}\n"),
            false => String::new(),
        };
        format!(
            "{shorter}{}\n{}\n{}{rule}",
            aligned(&sides(&RUN_HEADS), &runs),
            aligned(&sides(&GROUP_HEADS), &groups),
            self.sentences()
                .iter()
                .map(|sentence| format!("{sentence}\n"))
                .collect::<String>()
        )
    }

    /// Whether a run has more samples than are compared.
    pub fn is_cut(&self) -> bool {
        self.runs
            .iter()
            .any(|run| run.samples as usize > self.samples)
    }
}

/// Heads of the table of runs, and whether their columns are of numbers.
pub const RUN_HEADS: [(&str, bool); 8] = [
    ("run", false),
    ("strategy", false),
    ("seed", true),
    ("samples", true),
    ("best reward", true),
    ("mean of top 15", true),
    ("last quarter", true),
    ("time", true),
];

/// Those of the table of strategies.
pub const GROUP_HEADS: [(&str, bool); 5] = [
    ("strategy", false),
    ("seeds", true),
    ("best reward", true),
    ("mean of top 15", true),
    ("last quarter", true),
];

fn name(measure: usize) -> &'static str {
    ["best", "mean of the 15 best", "mean of the last quarter"][measure]
}

/// A mean with its deviation over seeds.
fn shown(spread: &Option<Spread>) -> String {
    match spread {
        None => "-".to_owned(),
        Some(Spread {
            mean,
            deviation: None,
            ..
        }) => format!("{mean:.4}"),
        Some(Spread {
            mean,
            deviation: Some(deviation),
            ..
        }) => format!("{mean:.4} ± {deviation:.4}"),
    }
}

fn probability(p: f64) -> String {
    match p {
        _ if p < 1e-4 => format!("{p:.1e}"),
        _ => format!("{p:.4}"),
    }
}

/// A run by its first samples.
fn measured(record: &Record, samples: usize) -> Measured {
    let children: Vec<_> = record
        .rows
        .iter()
        .take(samples)
        .map(|row| row.child)
        .collect();
    let rewards: Vec<Option<f64>> = children.iter().map(|child| child.reward()).collect();
    let quarter = (samples / 4).max(1).min(samples);
    let best = super::best(&children);
    let search = &record.config.search;
    Measured {
        run: record.name.clone(),
        strategy: search.strategy.name(),
        seed: search.seed,
        samples: record.rows.len() as u64,
        total: search.samples,
        state: record.state.word(),
        best: best.first().map(|best| best.reward),
        top15: series::mean_of_best(best.iter().map(|best| best.reward), TOP),
        mean_last_quarter: super::mean(&rewards[samples - quarter..]),
        seconds: record.history.seconds(),
    }
}

fn groups(runs: &[Measured]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        match groups
            .iter_mut()
            .find(|group| group.strategy == run.strategy)
        {
            Some(group) => group.runs.push(i),
            None => groups.push(Group {
                strategy: run.strategy,
                runs: vec![i],
                measures: [None; MEASURES.len()],
            }),
        }
    }
    for group in &mut groups {
        for (measure, spread) in group.measures.iter_mut().enumerate() {
            let values = group
                .runs
                .iter()
                .filter_map(|&run| runs[run].measure(measure));
            *spread = Spread::of(&values.collect::<Vec<f64>>());
        }
    }
    groups
}
