#!/usr/bin/env bash
# tract-onnx cannot optimise a graph whose strided 1x1 convolution reads a Reshape of a Flatten.
#
# One expects: a model that onnx.checker passes and tract reads and types is optimised too, or optimised less; an
# optimisation that does not apply is left out.
# What happens: `into_typed` succeeds, `into_optimized` ends with an error that names a Downsample and a Reshape: a strided
# 1x1 convolution is turned into a Downsample, which is then pulled above the Reshape, whose axes do not take it.
# onnxruntime runs the same file.
# Where it matters: statistics of a whole image are often written as Flatten, elementwise operators, Reshape back; the
# same network with a 3x3 or an unstrided convolution behind it is fine, so a test of one architecture shows nothing.
# Source: found by trying.
# nas-engine's exports reshape the statistics to [N, 1, 1, 1] and leave the image as it is (`src/export/onnx/network.rs`);
# `export::readers` has such a network.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'onnx==1.23.2' 'onnxruntime==1.32.0' numpy
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

folder = sys.argv[1]
for name, strides in [("plain", [1, 1]), ("strided", [1, 2])]:
    weight = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "weight")
    shape = numpy_helper.from_array(np.array([-1, 3, 32, 32], np.int64), "shape")
    two = numpy_helper.from_array(np.array([2.0], np.float32), "two")
    nodes = [
        helper.make_node("Cast", ["x"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["cast"], ["flat"], axis=1),
        helper.make_node("Mul", ["flat", "two"], ["doubled"]),
        helper.make_node("Reshape", ["doubled", "shape"], ["image"]),
        helper.make_node("Conv", ["image", "weight"], ["y"], kernel_shape=[1, 1], strides=strides),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 32, 32 // strides[1]])],
        [weight, shape, two],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, f"{folder}/{name}.onnx")
    session = onnxruntime.InferenceSession(f"{folder}/{name}.onnx", providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.ones((2, 3, 32, 32), np.uint8)})
    print(f"onnxruntime {onnxruntime.__version__}, {name}: {list(y.shape)}, all {y.min()}")
    assert (y == 6).all()
PY
mkdir -p "$folder/read/src"
cat >"$folder/read/Cargo.toml" <<'TOML'
[package]
name = "read"
version = "0.0.0"
edition = "2024"

[dependencies]
tract-onnx = { version = "=0.23.9", default-features = false }

[workspace]
TOML
cat >"$folder/read/src/main.rs" <<'RUST'
use tract_onnx::prelude::*;

fn typed(file: &str) -> TractResult<TypedModel> {
    let fact = InferenceFact::dt_shape(u8::datum_type(), tvec!(2, 3, 32, 32));
    tract_onnx::onnx().model_for_path(file)?.with_input_fact(0, fact)?.into_typed()
}

fn main() {
    for (name, expected) in [("plain", true), ("strided", false)] {
        let file = format!("{}/{name}.onnx", std::env::args().nth(1).unwrap());
        let typed = typed(&file).expect("it is read and typed");
        let optimised = typed.into_optimized();
        match &optimised {
            Ok(_) => println!("tract-onnx 0.23.9, {name}: optimised"),
            Err(error) => println!("tract-onnx 0.23.9, {name}: {error:#}"),
        }
        assert_eq!(optimised.is_ok(), expected, "{name} is otherwise now");
    }
}
RUST
cargo run --quiet --manifest-path "$folder/read/Cargo.toml" -- "$folder"
