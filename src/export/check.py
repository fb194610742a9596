"""Runs exported models on given inputs: calls.json of each folder that is named, to answers.json there."""
import importlib.util
import json
import os
import sys
import threading


def end_with_the_program():
    """Ends with whoever asks, whose end of the pipe is closed then, however that ended."""
    os.read(0, 1)  # sys.stdin has a lock, which the interpreter cannot take when it ends
    os._exit(1)


threading.Thread(target=end_with_the_program, daemon=True).start()
sys.dont_write_bytecode = True
try:
    import numpy as np
except ImportError as error:
    print(f"{sys.executable}: {error}", file=sys.stderr)
    sys.exit(7)


def of_torch(path):
    """The module of a folder, as a function of arrays."""
    import safetensors
    import torch

    spec = importlib.util.spec_from_file_location("model", os.path.join(path, "model.py"))
    exported = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(exported)
    module = exported.load()

    def run(inputs):
        with torch.no_grad():
            outputs = module(*(torch.from_numpy(value.copy()) for value in inputs))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return [value.numpy() for value in outputs]

    return f"torch {torch.__version__}", run


def of_onnx(path):
    """An ONNX file, as a function of arrays."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return f"onnxruntime {onnxruntime.__version__}", lambda inputs: session.run(None, dict(zip(names, inputs)))


def answer(folder):
    with open(os.path.join(folder, "calls.json")) as file:
        job = json.load(file)
    reader, run = (of_torch if os.path.isdir(job["path"]) else of_onnx)(job["path"])

    def load(tensor):
        values = np.fromfile(os.path.join(folder, tensor["file"]), dtype=tensor["kind"])
        return values.reshape(tensor["shape"])

    answers, before = [], []
    for number, call in enumerate(job["calls"]):
        inputs = [load(tensor) for tensor in call["inputs"]]
        before = run(inputs + (before[1:] if call["goes_on"] else []))
        outputs = []
        for place, value in enumerate(before):
            assert value.dtype == np.float32, value.dtype
            name = f"{number}.{place}.out"
            np.ascontiguousarray(value).tofile(os.path.join(folder, name))
            outputs.append({"file": name, "shape": list(value.shape)})
        answers.append(outputs)
    with open(os.path.join(folder, "answers.json"), "w") as file:
        json.dump({"reader": reader, "calls": answers}, file)


for folder in sys.argv[1:]:
    try:
        answer(folder)
    except ImportError as error:
        print(f"{sys.executable}: {error}", file=sys.stderr)
        sys.exit(7)
