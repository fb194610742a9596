//! Questions to the oracle and its answers, as files.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use nas_engine::graph::Params;
use nas_engine::graph::params::Weights;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

use super::draw::{Case, STEPS};
use super::run::CONTROL;

/// Side of an image.
const SIDE: usize = 32;

fn folder(root: &Path, case: &Case) -> PathBuf {
    root.join(case.name.replace(' ', "-"))
}

/// Writes a case below `root`.
pub fn write_question(root: &Path, case: &Case) {
    let folder = folder(root, case);
    fs::create_dir(&folder).unwrap();
    let question = json!({
        "architecture": serde_json::from_str::<Value>(&case.architecture.to_json()).unwrap(),
        "classes": case.classes,
        "augment": case.augment.to_string(),
        "rates": {
            "learning_rate": f64::from(case.learning_rate),
            "momentum": f64::from(CONTROL.momentum),
            "weight_decay": f64::from(CONTROL.weight_decay),
        },
    });
    fs::write(folder.join("case.json"), question.to_string()).unwrap();
    if let Some(graph) = case.graph() {
        write_arrays(&folder, &inputs(case, &Params::new(&graph)));
    }
}

/// Writes what goes with a question.
pub fn write_arrays(folder: &Path, arrays: &BTreeMap<String, Array>) {
    let views: Vec<(String, TensorView)> = (arrays.iter())
        .map(|(name, (dtype, shape, bytes))| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
            (name.clone(), view)
        })
        .collect();
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(folder.join("input.safetensors"), bytes).unwrap();
}

/// Type, shape and bytes.
pub type Array = (Dtype, Vec<usize>, Vec<u8>);

/// Of numbers that are exact in f32.
pub fn floats(shape: &[usize], values: &[f32]) -> Array {
    let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    (Dtype::F32, shape.to_vec(), bytes)
}

/// Labels, bytes and draws of the records, and the initial weights. The views are the oracle's own.
fn inputs(case: &Case, params: &Params) -> BTreeMap<String, Array> {
    let records = case.records();
    let of_record = |what: &dyn Fn(u32) -> Vec<u8>| -> Vec<u8> {
        records.iter().flat_map(|&record| what(record)).collect()
    };
    let labels = of_record(&|record| vec![case.dataset.record(record as usize).0]);
    let bytes = of_record(&|record| case.dataset.record(record as usize).1.to_vec());
    let draws = of_record(&|record| {
        let draw = case.draw(record);
        vec![draw.dy, draw.dx, u8::from(draw.flip)]
    });
    let (n, n_train) = (records.len(), case.dataset.n_train());
    let u8s = |shape: &[usize], values: &[u8]| (Dtype::U8, shape.to_vec(), values.to_vec());
    let mut arrays = BTreeMap::from([
        (
            "labels".to_string(),
            u8s(&[STEPS, case.batch], &labels[..n_train]),
        ),
        (
            "labels.evaluate".to_string(),
            u8s(&[case.batch], &labels[n_train..]),
        ),
        ("bytes".to_string(), u8s(&[n, 3, SIDE, SIDE], &bytes)),
        ("draws".to_string(), u8s(&[n, 3], &draws)),
    ]);
    let Weights { trained, running } = super::run::initial(case, params);
    for (list, values) in [(&params.trained, trained), (&params.running, running)] {
        for param in list {
            arrays.insert(
                param.name.clone(),
                floats(&param.shape, &values[param.range()]),
            );
        }
    }
    arrays
}

/// What the oracle found.
pub struct Answer {
    /// As `inspect --json` prints it; `None` for an invalid architecture.
    pub inspect: Option<Value>,
    arrays: BTreeMap<String, Vec<f64>>,
}

/// Reads what the oracle wrote for a case.
pub fn read_answer(root: &Path, case: &Case) -> Answer {
    let folder = folder(root, case);
    let text = fs::read_to_string(folder.join("inspect.json")).unwrap();
    let inspect: Value = serde_json::from_str(&text).unwrap();
    if inspect.get("invalid").is_some() {
        return Answer {
            inspect: None,
            arrays: BTreeMap::new(),
        };
    }
    Answer {
        inspect: Some(inspect),
        arrays: read_arrays(&folder),
    }
}

/// Reads what the oracle found.
pub fn read_arrays(folder: &Path) -> BTreeMap<String, Vec<f64>> {
    let bytes = fs::read(folder.join("output.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let array = |(name, tensor): (String, TensorView)| {
        assert_eq!(tensor.dtype(), Dtype::F64, "{name}");
        let (words, _) = tensor.data().as_chunks::<8>();
        (
            name,
            words.iter().map(|&word| f64::from_le_bytes(word)).collect(),
        )
    };
    file.tensors().into_iter().map(array).collect()
}

impl Answer {
    /// A quantity by its name.
    pub fn get(&self, name: &str) -> &[f64] {
        let values = self.arrays.get(name);
        values.unwrap_or_else(|| panic!("the oracle gives no {name}"))
    }

    /// Panics where `ours` differs from the oracle's `name` by more than `bound` of the largest
    /// value of the tensor.
    pub fn compare(&self, name: &str, ours: &[f64], bound: f64, case: &Case) {
        compare(name, ours, self.get(name), (bound, 1e-3), case);
    }
}

/// Panics where `ours` differs from `theirs` by more than `bound` of the largest value of the tensor,
/// which counts as `floor` where it is smaller.
pub fn compare(
    name: &str,
    ours: &[f64],
    theirs: &[f64],
    (bound, floor): (f64, f64),
    case: &dyn Display,
) {
    assert_eq!(ours.len(), theirs.len(), "values of {name}, {case}");
    let scale = theirs.iter().fold(floor, |max: f64, x| max.max(x.abs()));
    let error = |i: usize| (ours[i] - theirs[i]).abs() / scale;
    let worst = (0..ours.len()).max_by(|&i, &j| error(i).total_cmp(&error(j)));
    let Some(worst) = worst else { return };
    // Not `>`, which a NaN would pass.
    let near = error(worst) <= bound;
    assert!(
        near,
        "{name}[{worst}] is {} and should be {}: off by {:.1e} of the largest value {scale:.3e}, \
         bound {bound:.0e}\n{case}",
        ours[worst],
        theirs[worst],
        error(worst)
    );
}
