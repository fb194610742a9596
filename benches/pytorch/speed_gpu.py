"""Images a second of training on a GPU, in PyTorch and in the engine: forward, backward and update.

usage: python benches/pytorch/speed.py --device cuda --data DIR [--engine FILE] [--rounds N]
           [--out DIR] [--only CHILD ...] [--max-autotune]

PyTorch: channels_last, bfloat16 autocast, fused SGD, cuDNN's search for the fastest algorithm;
eager, then compiled with CUDA graphs, with --max-autotune also in that mode, whose compilation takes
minutes a child. Compilation and warming up are not in the times.
Each round times the engine and then every way of PyTorch. PyTorch steps over batches that lie ready
on the GPU; the engine's time includes making the views of its images. What was measured by the time
the script is told to end (SIGTERM) is written all the same.
"""

import json
import signal
import statistics
import sys
import time

import torch
import torch.nn.functional as F

import child as children
import cifar
import engine

ARCHITECTURES = [
    engine.ROOT / "benches/pytorch/arch/v1-15.json",
    engine.ROOT / "examples/small.json",
    engine.ROOT / "benches/pytorch/arch/v1-6.json",
    engine.ROOT / "benches/pytorch/arch/v2-15.json",
]
BATCH, N_STEPS, WARM_UP = 128, 35, 5
# How PyTorch runs a child, by the name of torch.compile's mode; the slowest to compile last and only
# if asked for.
WAYS = ["eager", "reduce-overhead", "max-autotune"]
RATE = 0.01


class InPyTorch:
    """A child, its optimiser and some batches on the device."""

    def __init__(self, architecture, device, batches, way):
        self.device = torch.device(device)
        child = children.Child(architecture)
        child.to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            child.parameters(), RATE, momentum=0.9, weight_decay=1e-4, nesterov=True, fused=True
        )
        self.forward = child if way == "eager" else torch.compile(child, mode=way)
        to_device = lambda images: images.to(self.device, memory_format=torch.channels_last)
        self.batches = [(to_device(images), labels.to(self.device)) for images, labels in batches]
        begun = time.perf_counter()
        for images, labels in self.batches[:WARM_UP]:
            self.step(images, labels)
        self.wait()
        self.seconds_before = time.perf_counter() - begun

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def step(self, images, labels):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            loss = F.cross_entropy(self.forward(images), labels)
        loss.backward()
        self.optimizer.step()

    def images_per_second(self):
        self.wait()
        begun = time.perf_counter()
        for images, labels in self.batches:
            self.step(images, labels)
        self.wait()
        return len(self.batches) * BATCH / (time.perf_counter() - begun)


def engine_images_per_second(flags, path):
    options = {"limit": engine.images_for(BATCH * N_STEPS), "batch": BATCH, "epochs": 4}
    options |= {"learning_rate": RATE, "augment": "none", "no_shuffle": True}
    epochs = engine.train(flags, path, **options)["epochs"]
    return statistics.median(epoch["images_per_second"] for epoch in epochs[1:])


def measure(flags, path, batches, found):
    """Adds to `found` a dict of lists, way -> images a second; first of PyTorch's eager steps."""
    architecture = children.read_architecture(path)
    speeds = found.setdefault(path.stem, {})
    for way in WAYS[: 3 if flags.max_autotune else 2]:
        try:
            torch.manual_seed(0)
            side = InPyTorch(architecture, flags.device, batches, way)
            for _ in range(flags.rounds):
                ours = engine_images_per_second(flags, path)
                speeds.setdefault("engine", []).append(ours)
                speeds.setdefault(way, []).append(side.images_per_second())
        except Exception as error:  # a way that this machine lacks, such as a compiler for Triton
            text = str(error).strip() or type(error).__name__
            print(f"{path.stem}, {way}: failed: {text.splitlines()[0]}", flush=True)
            continue
        speed = statistics.median(speeds[way])
        before = f"{side.seconds_before:.0f} s before the first timing"
        print(f"{path.stem}, {way}: {speed:.0f} images/s, {before}", flush=True)


def spread(values, digits=0):
    """Median, smallest and largest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def report(flags, found):
    rows, raw, summary = [], [], {}
    for name, speeds in found.items():
        theirs = [way for way in WAYS if way in speeds]
        if not theirs:
            continue
        medians = {way: statistics.median(values) for way, values in speeds.items()}
        best = max(theirs, key=medians.get)
        ratio = medians["engine"] / medians[best]
        summary[name] = medians | {"best_of_pytorch": best, "ratio": ratio}
        cells = [spread(speeds[way]) if way in speeds else "-" for way in ("engine", *WAYS)]
        rows.append((name, str(BATCH), *cells, f"{ratio:.2f}"))
        for way, values in speeds.items():
            raw += [(name, BATCH, number, way, value) for number, value in enumerate(values, 1)]
    if not rows:
        print("nothing was measured")
        return False
    print()
    engine.print_setting(torch)
    print(f"Images a second: median (smallest to largest); {flags.rounds} rounds a way.\n")
    header = ("child", "batch", "engine", *WAYS, "engine / best of PyTorch")
    engine.print_table(header, rows)
    header = ("child", "batch", "round", "side", "images_per_second")
    engine.write_csv(flags.out, "speed", header, raw)
    if flags.out:
        (flags.out / "speed.json").write_text(json.dumps(summary) + "\n")
    return True


def main(flags):
    """Measures; an error in words, or 0."""
    if flags.device.startswith("cuda") and not torch.cuda.is_available():
        return "PyTorch finds no GPU"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("out of time"))
    torch.backends.cudnn.benchmark = True
    labels, images = cifar.read(flags.data, BATCH * N_STEPS)
    views = cifar.central(cifar.upsample(images))
    batches = list(zip(views.split(BATCH), labels.split(BATCH)))
    batches = [pair for pair in batches if len(pair[1]) == BATCH]
    found = {}
    try:
        for path in ARCHITECTURES:
            if not flags.only or path.stem in flags.only:
                measure(flags, path, batches, found)
    finally:
        measured = report(flags, found)
    return 0 if measured else "nothing was measured"
