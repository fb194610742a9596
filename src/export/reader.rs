//! The independent reader in the program: the crate `tract-onnx`, which shares no code with what writes ONNX here.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tract_onnx::prelude::{
    DatumType, Framework, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, TValue,
    Tensor as Theirs, TractResult, TypedSimplePlan,
};

use super::tensor::{Call, Tensor, Values};

/// Its name and version, as files and results say it.
pub const NAME: &str = "tract-onnx 0.23";

/// What a file gives for some calls, output by output; of fewer where it was told to stop.
///
/// # Errors
/// The reader's own words.
pub fn answers(path: &Path, calls: &[Call], stop: &AtomicBool) -> Result<Vec<Vec<Tensor>>, String> {
    // A reader that panics has not read the file; the program goes on and says so.
    let work = || thread::scope(|scope| scope.spawn(|| run(path, calls, stop)).join());
    match work() {
        Ok(answers) => answers.map_err(|error| format!("{error:#}")),
        Err(_) => Err("it broke off".to_owned()),
    }
}

/// A model made ready for inputs of some shapes.
type Ready = Arc<TypedSimplePlan>;

fn run(path: &Path, calls: &[Call], stop: &AtomicBool) -> TractResult<Vec<Vec<Tensor>>> {
    let model = tract_onnx::onnx().model_for_path(path)?;
    let mut ready: HashMap<Vec<Vec<usize>>, Ready> = HashMap::new();
    let mut answers: Vec<Vec<Tensor>> = vec![];
    for call in calls {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let states = match (call.goes_on, answers.last()) {
            (true, Some(before)) => &before[1..],
            _ => &[],
        };
        let inputs: Vec<&Tensor> = call.inputs.iter().chain(states).collect();
        let shapes = inputs.iter().map(|input| input.shape.clone()).collect();
        let plan = match ready.get(&shapes) {
            Some(plan) => Arc::clone(plan),
            None => {
                let plan = prepare(&model, &inputs)?;
                ready.insert(shapes, Arc::clone(&plan));
                plan
            }
        };
        let values = inputs.iter().map(|input| theirs(input));
        let values: TractResult<Vec<TValue>> = values.collect();
        let given = plan.run(values?.into_iter().collect())?;
        let ours: TractResult<Vec<Tensor>> = given.iter().map(ours).collect();
        answers.push(ours?);
    }
    Ok(answers)
}

fn prepare(model: &InferenceModel, inputs: &[&Tensor]) -> TractResult<Ready> {
    let mut model = model.clone();
    for (place, input) in inputs.iter().enumerate() {
        let kind = match input.values {
            Values::U8(_) => DatumType::U8,
            Values::I64(_) => DatumType::I64,
            Values::F32(_) => DatumType::F32,
        };
        let fact = InferenceFact::dt_shape(kind, &input.shape);
        model = model.with_input_fact(place, fact)?;
    }
    model.into_optimized()?.into_runnable()
}

fn theirs(tensor: &Tensor) -> TractResult<TValue> {
    let shape = &tensor.shape;
    let theirs = match &tensor.values {
        Values::U8(values) => Theirs::from_shape(shape, values),
        Values::I64(values) => Theirs::from_shape(shape, values),
        Values::F32(values) => Theirs::from_shape(shape, values),
    };
    Ok(theirs?.into())
}

fn ours(value: &TValue) -> TractResult<Tensor> {
    let values = value.to_plain_array_view::<f32>()?;
    Ok(Tensor::floats(
        value.shape(),
        values.iter().copied().collect(),
    ))
}
