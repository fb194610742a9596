//! Writes what a trained network says of every record of a data folder, training records first:
//! `cargo run --release --example logits WEIGHTS DATA OUT`, where OUT is a safetensors file with `logits`
//! [n, classes] and `images` [n, 3, 32, 32] (bytes). To compare with other programs.

use std::path::Path;
use std::sync::Arc;

use nas_engine::data::Dataset;
use nas_engine::device::{self, Control, Convolution, Input, List};
use nas_engine::graph::step::Step;
use nas_engine::graph::{Graph, Options, Params, Plan};
use nas_engine::train::metadata::Facts;
use nas_engine::train::weights_file::WeightsFile;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, data, out] = &arguments[..] else {
        return Err("usage: logits WEIGHTS DATA OUT".into());
    };
    let file = WeightsFile::read(Path::new(weights))?;
    let metadata = file.metadata()?;
    let Facts::Images { augment, .. } = metadata.facts else {
        return Err("these are the weights of a cell".into());
    };
    let dataset = Arc::new(Dataset::open(Path::new(data), None)?);
    let n_classes = dataset.classes().len();
    let graph = Graph::new(&metadata.architecture.into_conv()?, n_classes)?;
    let params = Params::new(&graph);
    let cpu = device::open("cpu", None, Convolution::Auto)?;
    let batch = 64;
    let options = Options {
        evaluate_only: true,
        ..Options::new(batch)
    };
    let plan = Plan::new(&graph, &params, &*cpu, options);
    let said = plan.evaluate.iter().find_map(|step| match step {
        Step::SoftmaxXent { logits, .. } => Some(*logits),
        _ => None,
    });
    let said = said.ok_or("a network ends with a softmax")?;
    let n = dataset.n_train() + dataset.n_test();
    let input = Input::of_images(&dataset, augment, 0);
    let mut session = cpu.load(&plan, Some(input))?;
    let weights = file.weights(&params)?;
    let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    session.write(plan.weights, &wide(&weights.trained));
    session.write(plan.running, &wide(&weights.running));
    session.run(List::Prepare, 1);
    let records: Vec<u32> = (0..n as u32).collect();
    let mut logits = Vec::new();
    session.begin(&records, Control::EVALUATE);
    for records in records.chunks(batch) {
        session.run(List::Evaluate, 1);
        let values = session.read(said)?;
        let values = &values[..records.len() * n_classes];
        logits.extend(values.iter().flat_map(|&x| (x as f32).to_le_bytes()));
    }
    let images: Vec<u8> = (0..n).flat_map(|index| *dataset.record(index).1).collect();
    let tensors = [
        (
            "logits",
            TensorView::new(Dtype::F32, vec![n, n_classes], &logits)?,
        ),
        (
            "images",
            TensorView::new(Dtype::U8, vec![n, 3, 32, 32], &images)?,
        ),
    ];
    serialize_to_file(tensors, None, Path::new(out))?;
    Ok(())
}
