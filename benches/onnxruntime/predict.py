"""Pictures a second by `predict` and by onnxruntime on the exported file, one thread each, on one core.

usage: python benches/onnxruntime/predict.py --data DIR [--engine FILE] [--arch FILE ...] [--pictures N] [--rounds N]
           [--core N]

PNG files, the first test images of a data folder (1,000), are classified. Engine: the whole command, from its start to its
JSON. onnxruntime: within one process, after imports, loading and an untimed batch: Pillow reads each file,
batches of 100 go through the graph, softmax. `network alone` is without files: the engine's `eval` of the same images
less that of one tenth of them, onnxruntime's run on bytes in memory. Rounds alternate; each ratio compares both sides
of one round.
Needs numpy, onnxruntime and Pillow.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnxruntime
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH, RECORD = 100, 3073


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def classes(network, images):
    """The most probable class of each image, as bytes [n, 3, 32, 32]."""
    found = []
    for first in range(0, len(images), BATCH):
        logits = network.run(None, {"images": images[first:first + BATCH]})[0]
        exps = np.exp(logits - logits.max(axis=1, keepdims=True))
        found.extend((exps / exps.sum(axis=1, keepdims=True)).argmax(axis=1))
    return found


def read(files):
    pictures = [np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1) for file in files]
    return np.ascontiguousarray(np.stack(pictures))


def timed(work):
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def compare(flags, folder, arch):
    weights, exported = folder / "weights.safetensors", folder / "network.onnx"
    pictures, limit, n = folder / "pictures", folder / "limit", flags.pictures
    engine = [flags.engine, "--quiet"]
    train = ["train", "--arch", arch, "--data", flags.data, "--limit", "200", "--epochs", "1", "--save", weights]
    subprocess.run([*engine, *train], check=True, stdout=subprocess.DEVNULL)
    export = ["export", "--weights", weights, "--format", "onnx", "--out", exported, "--no-check"]
    subprocess.run([*engine, *export], check=True, stdout=subprocess.DEVNULL)
    files, network = sorted(pictures.iterdir()), session(exported)
    names = json.loads(network.get_modelmeta().custom_metadata_map["classes"])

    def predict():
        command = [*engine, "predict", "--weights", weights, "--threads", "1", "--json", pictures]
        said = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        return [names.index(prediction["class"]) for prediction in said["predictions"]]

    def evaluate(data):
        command = [*engine, "eval", "--weights", weights, "--data", data, "--split", "test", "--threads", "1"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    images = read(files)
    classes(network, images[:BATCH])
    rounds = []
    for _ in range(flags.rounds):
        ours, ours_found = timed(predict)
        theirs, theirs_found = timed(lambda: classes(network, read(files)))
        # The start of the command cancels out; reading does not, but is small.
        alone = timed(lambda: evaluate(limit / "all"))[0] - timed(lambda: evaluate(limit / "tenth"))[0]
        theirs_alone = timed(lambda: classes(network, images))[0]
        same = sum(a == b for a, b in zip(ours_found, theirs_found, strict=True))
        # Where two classes are as probable, rounding decides.
        assert same >= n - 1, f"{n - same} of {n} classes differ"
        rounds.append((n / ours, n / theirs, (n - n // 10) / alone, n / theirs_alone))
    name = pathlib.Path(arch).stem
    columns = list(zip(*rounds))
    for what, ours, theirs in [("files", *columns[:2]), ("network alone", *columns[2:])]:
        ratios = [a / b for a, b in zip(ours, theirs)]
        print(f"| {name} | {what} | {statistics.median(ours):,.0f} | {statistics.median(theirs):,.0f} "
              f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--engine", default=ROOT / "target/release/nas-engine")
    parser.add_argument("--arch", nargs="+", default=[ROOT / "examples/small.json", ROOT / "examples/v1.json"])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--core", type=int, default=0)
    flags = parser.parse_args()
    os.sched_setaffinity(0, {flags.core})
    records = np.fromfile(flags.data / "test_batch.bin", np.uint8).reshape(-1, RECORD)[:flags.pictures]
    print(f"onnxruntime {onnxruntime.__version__}, {flags.pictures} pictures, {flags.rounds} rounds\n")
    print("| network | what | engine, pictures/s | onnxruntime | ratio (median) | range |\n|---|---|---|---|---|---|")
    for arch in flags.arch:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "pictures").mkdir()
            for i, record in enumerate(records):
                image = Image.fromarray(record[1:].reshape(3, 32, 32).transpose(1, 2, 0))
                image.save(folder / "pictures" / f"{i:04}.png")
            for part, n in [("all", flags.pictures), ("tenth", flags.pictures // 10)]:
                data = folder / "limit" / part
                data.mkdir(parents=True)
                training = (flags.data / "data_batch_1.bin").read_bytes()[:RECORD * 20]
                (data / "data_batch_1.bin").write_bytes(training)
                records[:n].tofile(data / "test_batch.bin")
            compare(flags, folder, arch)


if __name__ == "__main__":
    main()
