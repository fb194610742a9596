//! Exports as other programs read them: `tract-onnx` in the program, onnxruntime and PyTorch where there is a Python
//! that has them. The command is in `cli/export.rs`.

pub mod drawn;
mod readers;
