"""The programs that scripts/onnx-readers asks: small scripts that load a file by a reader and answer, with the
versions of the readers."""

# Reads jobs, a line of JSON each, and appends a line to the answers for each; `load` is each reader's own.
PYTHON = """
import json, sys
import numpy as np

for line in open(sys.argv[1]):
    job, before, shapes = json.loads(line), {}, []
    try:
        run = load(job["path"])
        for number, call in enumerate(job["calls"]):
            inputs = {name: np.fromfile(t["file"], t["type"]).reshape(t["shape"]) for name, t in call.items()}
            inputs.update({name: before[name + "_next"] for name in "hc" if name + "_next" in before})
            before = {name: np.ascontiguousarray(value) for name, value in run(inputs).items()}
            for name, value in before.items():
                assert value.dtype == np.float32, f"{name} is {value.dtype}"
                value.tofile(f"{job['out']}.{number}.{name}")
            shapes.append({name: value.shape for name, value in before.items()})
        answer = {"shapes": shapes}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    with open(sys.argv[2], "a") as file:
        print(json.dumps(answer), file=file)
"""
ONNX = """
from onnx.reference import ReferenceEvaluator
def load(path):
    session = ReferenceEvaluator(path)
    return lambda inputs: dict(zip(session.output_names, session.run(None, inputs)))
"""
ONNXRUNTIME = """
import onnx, onnxruntime
def load(path):
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs)))
"""
HINT, NO_HINT = 'HINT = {"INFERENCE_PRECISION_HINT": "f32"}', "HINT = {}"
OPENVINO = """
import openvino
core = openvino.Core()
def load(path):
    model = core.compile_model(path, "CPU", HINT)
    def run(inputs):
        answer = model(inputs)
        return {output.any_name: answer[output] for output in model.outputs}
    return run
"""
OPENCV = """
import cv2
def load(path):
    net = cv2.dnn.readNetFromONNX(path)
    names = net.getUnconnectedOutLayersNames()
    def run(inputs):
        for name, value in inputs.items():
            net.setInput(value, name)
        return dict(zip(names, net.forward(names)))
    return run
"""
TINYGRAD = """
from tinygrad import Tensor
from tinygrad.nn.onnx import OnnxRunner
def load(path):
    runner = OnnxRunner(path)
    return lambda inputs: {name: value.numpy() for name, value in runner(
        {name: Tensor(value) for name, value in inputs.items()}).items()}
"""
ONNX2TORCH = """
import onnx, onnx2torch, torch
def load(path):
    model = onnx.load(path)
    names = [value.name for value in model.graph.output]
    module = onnx2torch.convert(model).eval()
    def run(inputs):
        with torch.no_grad():
            values = module(*(torch.from_numpy(inputs[value.name]) for value in model.graph.input))
        values = values if isinstance(values, (list, tuple)) else [values]
        return {name: value.numpy() for name, value in zip(names, values)}
    return run
"""
WEB = """
const fs = require("fs"), ort = require("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const array = {
  uint8: (b) => b, float32: (b) => new Float32Array(b.buffer), int64: (b) => new BigInt64Array(b.buffer),
};
const tensor = (t) => new ort.Tensor(t.type, array[t.type](new Uint8Array(fs.readFileSync(t.file))), t.shape);
async function answer(job) {
  const session = await ort.InferenceSession.create(fs.readFileSync(job.path), { executionProviders: ["wasm"] });
  let before = {}, shapes = [];
  for (const [number, call] of job.calls.entries()) {
    const inputs = Object.fromEntries(Object.entries(call).map(([name, t]) => [name, tensor(t)]));
    for (const name of ["h", "c"]) if (before[name + "_next"]) inputs[name] = before[name + "_next"];
    before = await session.run(inputs);
    for (const [name, t] of Object.entries(before)) fs.writeFileSync(`${job.out}.${number}.${name}`, t.data);
    shapes.push(Object.fromEntries(Object.entries(before).map(([name, t]) => [name, t.dims])));
  }
  await session.release();
  return { shapes };
}
(async () => {
  for (const line of fs.readFileSync(process.argv[2], "utf8").trim().split("\\n")) {
    const result = await answer(JSON.parse(line)).catch((error) => ({ error: String(error) }));
    fs.appendFileSync(process.argv[3], JSON.stringify(result) + "\\n");
  }
})();
"""
CANDLE = r"""
use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};
use std::{collections::HashMap, fs, io::Write, panic};

fn answer(job: &Value) -> Result<Value, Box<dyn std::error::Error>> {
    let model = candle_onnx::read_file(job["path"].as_str().unwrap())?;
    let (mut before, mut shapes) = (HashMap::<String, Tensor>::new(), vec![]);
    for (number, call) in job["calls"].as_array().unwrap().iter().enumerate() {
        let mut inputs = HashMap::new();
        for (name, tensor) in call.as_object().unwrap() {
            let bytes = fs::read(tensor["file"].as_str().unwrap())?;
            let kind = match tensor["type"].as_str().unwrap() {
                "uint8" => DType::U8,
                "int64" => DType::I64,
                _ => DType::F32,
            };
            let shape: Vec<usize> = serde_json::from_value(tensor["shape"].clone())?;
            inputs.insert(name.clone(), Tensor::from_raw_buffer(&bytes, kind, &shape, &Device::Cpu)?);
        }
        for name in ["h", "c"] {
            if let Some(state) = before.get(&format!("{name}_next")) {
                inputs.insert(name.to_owned(), state.clone());
            }
        }
        before = candle_onnx::simple_eval(&model, inputs)?;
        let mut found = Map::new();
        for (name, value) in &before {
            let values = value.flatten_all()?.to_vec1::<f32>()?;
            let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            fs::write(format!("{}.{number}.{name}", job["out"].as_str().unwrap()), bytes)?;
            found.insert(name.clone(), json!(value.dims()));
        }
        shapes.push(found);
    }
    Ok(json!({ "shapes": shapes }))
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let mut answers = fs::OpenOptions::new().append(true).create(true).open(&arguments[2]).unwrap();
    for line in fs::read_to_string(&arguments[1]).unwrap().lines() {
        let job = serde_json::from_str(line).unwrap();
        let answer = match panic::catch_unwind(|| answer(&job)) {
            Ok(answer) => answer.unwrap_or_else(|error| json!({ "error": error.to_string() })),
            Err(panic) => json!({ "error": format!("panic: {:?}", panic.downcast_ref::<String>()) }),
        };
        writeln!(answers, "{answer}").unwrap();
    }
}
"""
CARGO = """[package]\nname = "reader"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n[dependencies]\n"""
# tinygrad compiles what it runs, by clang: ziglang's, which wants the bare target by another name.
CLANG = """#!/bin/sh
for flag; do shift; case $flag in --target=*) ;; *) set -- "$@" "$flag" ;; esac; done
exec {python} -m ziglang cc "$@" -target x86_64-freestanding-none -fno-sanitize=undefined -fno-stack-protector \\
    -fno-asynchronous-unwind-tables -g0
"""

CRATES = ["candle-core 0.11.1", "candle-onnx 0.11.1", "serde_json 1.0.154"]
TORCH, TINY = ["onnx2torch==1.5.15", "torch==2.15.0"], ["tinygrad==0.14.0", "ziglang==0.17.1", "numpy==2.4.6"]
# Name, what the table says, the versions, the program.
READERS = [
    ("onnx", "onnx 1.23.2, reference evaluator", ["onnx==1.23.2"], ONNX + PYTHON),
    ("onnxruntime", "onnxruntime 1.32.0", ["onnxruntime==1.32.0", "onnx==1.23.2"], ONNXRUNTIME + PYTHON),
    ("tract", "tract-onnx", [], None),
    ("web", "onnxruntime-web 1.30.0, wasm in Node", ["onnxruntime-web@1.30.0"], WEB),
    ("openvino", "OpenVINO 2026.4.1, told to use f32", ["openvino==2026.4.1"], HINT + OPENVINO + PYTHON),
    ("openvino-default", "OpenVINO 2026.4.1, by default", ["openvino==2026.4.1"], NO_HINT + OPENVINO + PYTHON),
    ("opencv5", "OpenCV 5.0.0", ["opencv-python-headless==5.0.0.93"], OPENCV + PYTHON),
    ("opencv4", "OpenCV 4.14.0", ["opencv-python-headless==4.14.0.94"], OPENCV + PYTHON),
    ("candle", "candle-onnx 0.11.1", CRATES, CANDLE),
    ("tinygrad", "tinygrad 0.14.0", TINY, TINYGRAD + PYTHON),
    ("onnx2torch", "onnx2torch 1.5.15 (torch 2.15.0)", TORCH, ONNX2TORCH + PYTHON),
]
