//! The cases: random architectures with data and rates, and a few written out.

use std::fmt;

use nas_engine::data::{Augment, Dataset, Draw, VIEW_LEN, view};
use nas_engine::graph::Graph;
use nas_engine::rng::{Purpose, Rng};
use nas_engine::space::ConvArchitecture;

/// Steps of training.
pub const STEPS: usize = 3;
/// The epoch whose crops and flips are taken.
pub const EPOCH: u32 = 2;

/// What is asked.
pub struct Case {
    /// For messages and folders.
    pub name: String,
    /// Everything drawn in it: weights, images, crops.
    pub seed: u64,
    /// The child.
    pub architecture: ConvArchitecture,
    /// Number of classes.
    pub classes: usize,
    /// Images of a batch.
    pub batch: usize,
    /// Views of an image.
    pub augment: Augment,
    /// Of the whole training.
    pub learning_rate: f32,
    /// Made-up images: [`STEPS`] batches to train on, then one to evaluate.
    pub dataset: Dataset,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "case {}: seed {}, batch {}, {} classes, {}, learning rate {}, architecture {}",
            self.name,
            self.seed,
            self.batch,
            self.classes,
            self.augment,
            self.learning_rate,
            self.architecture.to_json()
        )
    }
}

impl Case {
    fn new(name: String, seed: u64, json: &str) -> Case {
        let mut rng = Rng::new(seed, Purpose::Test, 1);
        let classes = 2 + rng.below(9) as usize;
        let batch = 2 + rng.below(3) as usize;
        Case {
            name,
            seed,
            architecture: ConvArchitecture::from_json(json).unwrap(),
            classes,
            batch,
            augment: *pick(
                &mut rng,
                &[Augment::UpsampleCrop, Augment::PadCrop, Augment::None],
            ),
            learning_rate: *pick(&mut rng, &[0.2, 0.1, 0.05, 0.01]),
            dataset: Dataset::synthetic(STEPS * batch, batch, classes, seed),
        }
    }

    /// The child with its shapes; `None` for an invalid architecture.
    pub fn graph(&self) -> Option<Graph> {
        Graph::new(&self.architecture, self.classes).ok()
    }

    /// Numbers of all records: those to train on in the order of the epoch, then the others.
    pub fn records(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.dataset.n_train() as u32).collect();
        Rng::new(self.seed, Purpose::Test, 2).shuffle(&mut order);
        let first = self.dataset.n_train() as u32;
        order.extend(first..first + self.dataset.n_test() as u32);
        order
    }

    /// Crop and flip of a record.
    pub fn draw(&self, record: u32) -> Draw {
        Draw::new(self.seed, EPOCH, record)
    }

    /// Every record's training view, in the order of [`Case::records`], and then its evaluation
    /// view.
    pub fn views(&self) -> Vec<f32> {
        let records = self.records();
        let mut views = vec![0.0; 2 * records.len() * VIEW_LEN];
        for (i, out) in views.chunks_exact_mut(VIEW_LEN).enumerate() {
            let record = records[i % records.len()];
            let draw = (i < records.len()).then(|| self.draw(record));
            view(
                self.dataset.record(record as usize).1,
                self.augment,
                draw,
                out,
            );
        }
        views
    }
}

/// One of several values.
fn pick<'a, T>(rng: &mut Rng, values: &'a [T]) -> &'a T {
    &values[rng.below(values.len() as u32) as usize]
}

/// A case that is a function of its number.
pub fn case(number: u64) -> Case {
    let mut rng = Rng::new(number, Purpose::Test, 0);
    let n_layers = 1 + rng.below(6) as usize;
    let layers: Vec<String> = (1..=n_layers).map(|i| layer(&mut rng, i)).collect();
    let rate = match rng.below(4) {
        0 => r#","learning_rate":0.05"#,
        _ => "",
    };
    let json = format!(
        r#"{{"space":"conv","layers":[{}]{rate}}}"#,
        layers.join(",")
    );
    Case::new(format!("drawn-{number:02}"), number, &json)
}

/// A layer as JSON. The first layers mostly stride, so that the plain loops of the reference are
/// done soon.
fn layer(rng: &mut Rng, number: usize) -> String {
    let inputs: Vec<usize> = (0..number)
        .filter(|&j| rng.below(100) < if j + 1 == number { 70 } else { 35 })
        .collect();
    let mut pair = |values: &[usize]| [*pick(rng, values), *pick(rng, values)];
    let sides = pair(&[1, 3, 3, 5, 7, 9]);
    let strides = match number {
        1 => pair(&[1, 2, 2, 3]),
        _ => pair(&[1, 1, 1, 2, 3]),
    };
    let (pool, pool_stride) = (pair(&[1, 2, 2, 3, 4]), pair(&[1, 2, 2, 3]));
    let filters = *pick(rng, &[1, 3, 5, 7, 8, 9, 12, 17]);
    let what = match rng.below(10) {
        0 => r#""type":"lcn""#.to_string(),
        1 => r#""type":"batch_norm""#.to_string(),
        2 => format!(r#""type":"max_pool","pool":{pool:?},"stride":{pool_stride:?}"#),
        3 => format!(r#""type":"avg_pool","pool":{pool:?},"stride":{pool_stride:?}"#),
        _ => format!(r#""filter":{sides:?},"filters":{filters},"stride":{strides:?}"#),
    };
    format!(r#"{{{what},"inputs":{inputs:?}}}"#)
}

/// What random architectures meet too seldom.
pub fn written() -> Vec<Case> {
    let texts = [
        (
            "each type",
            r#"{"space":"conv","layers":[
                {"filter":[3,3],"filters":8,"stride":[2,2],"inputs":[0]},
                {"type":"lcn","inputs":[1]},
                {"type":"max_pool","pool":[2,2],"stride":[2,2],"inputs":[2]},
                {"type":"avg_pool","pool":[3,3],"stride":[2,2],"inputs":[1,2]},
                {"type":"batch_norm","inputs":[3,4]}]}"#,
        ),
        (
            "filters of every transform",
            r#"{"space":"conv","layers":[
                {"filter":[3,3],"filters":12,"stride":[2,2],"inputs":[0]},
                {"filter":[3,3],"filters":9,"inputs":[1]},
                {"filter":[5,5],"filters":8,"inputs":[2]},
                {"filter":[7,7],"filters":17,"inputs":[1,3]},
                {"filter":[1,7],"filters":8,"inputs":[4]},
                {"filter":[3,1],"filters":12,"inputs":[4,5]}]}"#,
        ),
        (
            "no parameters but the classifier's",
            r#"{"space":"conv","layers":[
                {"type":"lcn","inputs":[]},
                {"type":"max_pool","pool":[3,3],"stride":[3,3],"inputs":[0,1]}]}"#,
        ),
        (
            "strides of 8 to a single pixel",
            r#"{"space":"conv","layers":[
                {"filter":[15,15],"filters":4,"stride":[8,8],"inputs":[0]},
                {"filter":[1,1],"filters":6,"stride":[8,8],"inputs":[1]},
                {"filter":[3,3],"filters":5,"inputs":[1,2]}]}"#,
        ),
        (
            "a window larger than its input",
            r#"{"space":"conv","layers":[
                {"filter":[3,3],"filters":4,"stride":[8,4],"inputs":[0]},
                {"type":"max_pool","pool":[4,9],"stride":[1,1],"inputs":[1]}]}"#,
        ),
    ];
    let case = |(i, (name, json)): (usize, &(&str, &str))| {
        Case::new(format!("written-{name}"), 1000 + i as u64, json)
    };
    texts.iter().enumerate().map(case).collect()
}
