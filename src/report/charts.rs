//! The charts of a run's report: which numbers stand in which.

use super::chart::{Axis, Chart, Content, HALF, MOST_POINTS, Mark, Series, WIDE};
use super::choices;
use super::record::Record;
use super::series::{self, QUANTILES};
use super::spent::{self, Epoch};
use crate::run::Status;
use crate::run::entry::ChildFacts;
use crate::space::SpaceKind;

/// A chart and what is said below it.
#[derive(Debug)]
pub struct Plate {
    /// The chart.
    pub chart: Chart,
    /// What it shows, where its title does not say it.
    pub caption: String,
}

fn plate(name: &str, title: &str, [x, y]: [Axis; 2], content: Content, caption: &str) -> Plate {
    Plate {
        chart: Chart {
            name: name.to_owned(),
            title: title.to_owned(),
            x,
            y,
            content,
            size: WIDE,
        },
        caption: caption.to_owned(),
    }
}

/// Samples of the longest of some runs.
fn reach(records: &[Record]) -> u64 {
    let last = records.iter().filter_map(|record| record.rows.last());
    last.map(|row| row.sample() + 1).max().unwrap_or(1)
}

/// Rewards of all runs over their samples.
pub fn reward(records: &[Record]) -> Plate {
    let mut lines = Vec::new();
    if let Some(first) = records.first()
        && first.rows.len() <= MOST_POINTS
    {
        let points = series::earned(&first.rows, false)
            .into_iter()
            .filter_map(|(x, y)| Some([x, y?]));
        lines.push(Series {
            mark: Mark::Dots,
            ..Series::line("a sample", 9, points.collect())
        });
    }
    for (colour, record) in records.iter().enumerate() {
        let name = |what: &str| match records {
            [_] => what.to_owned(),
            _ => format!("{}: {what}", record.name),
        };
        let well = series::earned(&record.rows, true);
        let best = series::from_tenth(&well, series::best_so_far(&well));
        let colours = if records.len() == 1 {
            [0, 1]
        } else {
            [colour; 2]
        };
        lines.push(Series {
            mark: Mark::Step,
            dashed: records.len() > 1,
            ..Series::line(name("best so far"), colours[1], best)
        });
        let mean = series::mean_of_window(&series::earned(&record.rows, false));
        lines.push(Series::line(name("mean of 100"), colours[0], mean));
    }
    plate(
        "reward",
        "Reward over samples",
        [Axis::samples(reach(records)), Axis::of("reward")],
        Content::Lines(lines),
        "The mean is that of the last 100 samples that have a reward, at the beginning of those there are, ten at \
         least; the best is that of the children trained to the end, from the tenth sample on where there are 100.",
    )
}

/// How even the choices of all runs were; those of the first are known.
pub fn entropy(records: &[Record], of_first: &[Option<Vec<choices::Made>>]) -> Option<Plate> {
    let lines = records.iter().enumerate().map(|(colour, record)| {
        // Of one run at a time: a long one has some millions.
        let entropy = match colour {
            0 => choices::entropy(&record.space, of_first),
            _ => choices::entropy(&record.space, &choices::made(&record.space, &record.rows)),
        };
        let point = |(i, entropy): (usize, f64)| [record.rows[i].sample() as f64, entropy];
        let name = match records {
            [_] => "entropy",
            _ => &record.name,
        };
        Series::line(name, colour, entropy.into_iter().map(point).collect())
    });
    let lines: Vec<Series> = lines.filter(|line| !line.points.is_empty()).collect();
    (!lines.is_empty()).then(|| {
        plate(
            "entropy",
            "Entropy of the choices",
            [Axis::samples(reach(records)), Axis::share("entropy")],
            Content::Lines(lines),
            "How even the choices drawn in the last 100 samples were: at every place of decision (layer, kind \
             of choice, how many of that kind the layer had before) the entropy of what was chosen, divided \
             by the logarithm of the number of choices; the mean over the places, each counted as often as \
             it was decided. 1 is uniform, 0 always the same. Of fewer samples it comes out too low (a \
             hundred even draws among five choices give 0.99), and it begins at the twentieth. It is computed \
             from what was drawn, not from the controller's probabilities.",
        )
    })
}

/// The shares of each kind of choice over time.
pub fn distributions(record: &Record, made: &[Option<Vec<choices::Made>>]) -> Vec<Plate> {
    let reach = record.rows.last().map_or(1, |row| row.sample() + 1);
    let of = choices::distributions(&record.space, made).into_iter();
    let plates = of.map(|of| {
        let sample = |i: f64| {
            let row = record.rows.get(i as usize).or(record.rows.last());
            row.map_or(i, |row| row.sample() as f64)
        };
        let places = of
            .parts
            .into_iter()
            .map(|(i, shares)| (sample(i), shares))
            .collect();
        let mut plate = plate(
            &format!("choices-{}", of.kind.replace(' ', "-")),
            &of.kind,
            [Axis::samples(reach), Axis::share("share")],
            Content::Areas(of.choices, places),
            "",
        );
        plate.chart.size = HALF;
        plate
    });
    let mut plates: Vec<Plate> = plates.collect();
    for Plate { chart, .. } in &mut plates {
        // A part's shares are those of all its samples, not of its middle alone.
        if let Content::Areas(_, places) = &mut chart.content
            && let (Some((_, first)), Some((_, last))) = (places.first(), places.last())
        {
            let (first, last) = (first.clone(), last.clone());
            places.insert(0, (0.0, first));
            places.push((reach as f64, last));
        }
    }
    plates
}

/// Curves of training: the best child's, and quantiles of all; none where nothing has two epochs.
pub fn training(record: &Record) -> Option<Plate> {
    if record.config.space.kind() == SpaceKind::Bench {
        return None;
    }
    let quantiles = series::quantiles(&record.rows);
    if quantiles.len() < 2 {
        return None;
    }
    let at = |epoch: usize| (epoch + 1) as f64;
    let band = |low: usize, high: usize| {
        let band = |(epoch, of): (usize, &[f64; QUANTILES.len()])| [at(epoch), of[low], of[high]];
        quantiles.iter().enumerate().map(band).collect::<Vec<_>>()
    };
    let median = quantiles
        .iter()
        .enumerate()
        .map(|(epoch, of)| [at(epoch), of[2]]);
    let of_all = Series {
        band: band(0, 4),
        ..Series::line("", 0, vec![])
    };
    let of_half = Series {
        band: band(1, 3),
        ..Series::line("median of all children", 0, median.collect())
    };
    let mut lines = vec![of_all, of_half];
    for (i, best) in record.summary.best.iter().take(3).enumerate() {
        let Some(row) = record.row(best.sample) else {
            continue;
        };
        let points = row
            .scores
            .iter()
            .enumerate()
            .map(|(epoch, score)| [at(epoch), *score]);
        lines.push(Series::line(
            format!("sample {}", best.sample),
            i + 1,
            points.collect(),
        ));
    }
    let score = format!("validation {}", record.score_name());
    let epochs = Axis {
        ends: Some([1.0, quantiles.len() as f64]),
        whole: true,
        ..Axis::of("epochs")
    };
    Some(plate(
        "training",
        "Training of the best three and of all children",
        [epochs, Axis::of(score)],
        Content::Lines(lines),
        "The dark band holds the middle half of the children that were trained for so many epochs, the light \
         one eight of ten.",
    ))
}

/// Children that ended an hour, and the seconds spent in training.
pub fn time(record: &Record) -> Vec<Plate> {
    let seconds = record.seconds();
    let (unit, of_unit) = series::unit_of_time(seconds);
    let parts = (record.rows.len() / 5).clamp(1, 60);
    let pace = series::an_hour(&record.rows, seconds, parts);
    let pace = pace
        .into_iter()
        .map(|[x, y]| [x / of_unit, y])
        .collect::<Vec<_>>();
    let mut plates = Vec::new();
    if !pace.is_empty() {
        let hours = Axis {
            ends: Some([0.0, seconds / of_unit]),
            ..Axis::of(format!("{unit} that the search has run"))
        };
        let most = pace.iter().map(|[_, y]| *y).fold(0.0, f64::max);
        let children = Axis {
            ends: (most > 0.0).then_some([0.0, most * 1.05]),
            ..Axis::of("children an hour")
        };
        let mut pace = plate(
            "pace",
            "Children an hour",
            [hours, children],
            Content::Lines(vec![Series::line("", 0, pace)]),
            "",
        );
        pace.chart.size = HALF;
        plates.push(pace);
    }
    let spent = record
        .rows
        .iter()
        .map(|row| (row.sample() as f64, row.seconds));
    let total = spent::training_seconds(&record.rows);
    if total > 0.0 && record.config.space.kind() != SpaceKind::Bench {
        let (unit, of_unit) = series::unit_of_time(total);
        let sums = series::cumulative(spent.map(|(x, seconds)| (x, seconds / of_unit)));
        plates.push(sum("seconds", "Time spent in training", record, unit, sums));
    }
    plates
}

fn sum(name: &str, title: &str, record: &Record, unit: &str, sums: Vec<[f64; 2]>) -> Plate {
    let reach = record.rows.last().map_or(1, |row| row.sample() + 1);
    let content = Content::Lines(vec![Series::line("", 0, sums)]);
    let mut sum = plate(
        name,
        title,
        [Axis::samples(reach), Axis::of(unit)],
        content,
        "",
    );
    sum.chart.size = HALF;
    sum
}

/// Multiply-adds of an image, and operations in all.
pub fn work(record: &Record, epoch: Option<Epoch>) -> Vec<Plate> {
    let rows = &record.rows;
    let costs = rows.iter().map(|row| {
        let cost = row.multiply_adds.map(|n| n as f64);
        (
            row.sample() as f64,
            cost.filter(|_| row.child.status() == Status::Ok),
        )
    });
    let costs: Vec<(f64, Option<f64>)> = costs.collect();
    let means = series::mean_of_window(&costs);
    let mut plates = Vec::new();
    if !means.is_empty() {
        plates.push(sum(
            "multiply-adds",
            "Multiply-adds an image, mean of 100",
            record,
            "multiply-adds",
            means,
        ));
    }
    if let Some(epoch) = epoch {
        let of = rows
            .iter()
            .map(|row| (row.sample() as f64, spent::flops(row, epoch).unwrap_or(0.0)));
        let sums = series::cumulative(of);
        if sums.last().is_some_and(|[_, total]| *total > 0.0) {
            plates.push(sum(
                "operations",
                "Operations spent in training (estimate)",
                record,
                "FLOP",
                sums,
            ));
        }
    }
    plates
}
