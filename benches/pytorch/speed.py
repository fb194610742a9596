"""Images a second of training in PyTorch and in the engine: forward, backward and update.

usage: python benches/pytorch/speed.py --data DIR [--engine FILE] [--rounds N] [--out DIR]
           [--only CHILD ...] [--threads N ...]

Each round times every setting once, one after the other: the engine, then PyTorch in either memory
layout, with one thread (pinned to a core) and with two. Ratios are within a round, so that a slow
moment of the machine falls on both sides. PyTorch steps over batches that lie ready in memory; the
engine's time includes making the views of its images. Both do an untimed part before every timing:
PyTorch one step, the engine one epoch. A GPU is for speed_gpu.py.
"""

import os
import sys
import time

import torch
import torch.nn.functional as F

import child as children
import cifar
import engine
import speed_gpu

EXAMPLES, DRAWN = engine.ROOT / "examples", engine.ROOT / "benches/pytorch/arch"
# File, images of a batch, steps of a timing.
CHILDREN = [
    (EXAMPLES / "small.json", 128, 8),
    (DRAWN / "v1-6.json", 32, 4),
    (DRAWN / "v1-15.json", 32, 1),
    (DRAWN / "v2-15.json", 32, 8),
]
LAYOUTS = {"channels_last": torch.channels_last, "default": torch.contiguous_format}
RATE = 0.01


class InPyTorch:
    """A child, its optimiser and some batches in one memory layout."""

    def __init__(self, architecture, layout, batches):
        self.child = children.Child(architecture).to(memory_format=layout)
        self.optimizer = children.optimizer(self.child, RATE)
        self.batches = [(i.contiguous(memory_format=layout), labels) for i, labels in batches]

    def step(self, images, labels):
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(self.child(images), labels).backward()
        self.optimizer.step()

    def images_per_second(self):
        self.step(*self.batches[0])
        begun = time.perf_counter()
        for images, labels in self.batches:
            self.step(images, labels)
        seconds = time.perf_counter() - begun
        return sum(len(labels) for _, labels in self.batches) / seconds


def engine_images_per_second(flags, path, batch, n_steps, threads):
    result = engine.train(
        flags,
        path,
        limit=engine.images_for(batch * n_steps),
        batch=batch,
        epochs=2,
        learning_rate=RATE,
        threads=threads,
        augment="none",
        no_shuffle=True,
    )
    return result["epochs"][-1]["images_per_second"]


def measure(flags, path, batch, n_steps):
    """A dict (side, threads) -> images a second for each round."""
    labels, images = cifar.read(flags.data, batch * n_steps)
    views = cifar.central(cifar.upsample(images))
    batches = list(zip(views.split(batch), labels.split(batch)))
    architecture = children.read_architecture(path)
    sides = {name: InPyTorch(architecture, layout, batches) for name, layout in LAYOUTS.items()}
    cores = os.sched_getaffinity(0)
    rounds = []
    for _ in range(flags.rounds):
        speeds = {}
        for threads in flags.threads:
            torch.set_num_threads(threads)
            os.sched_setaffinity(0, {min(cores)} if threads == 1 else cores)
            found = engine_images_per_second(flags, path, batch, n_steps, threads)
            speeds["engine", threads] = found
            for name, side in sides.items():
                speeds[name, threads] = side.images_per_second()
        rounds.append(speeds)
        os.sched_setaffinity(0, cores)
    return rounds


def main():
    parser = engine.parser(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", help="names of children, such as v1-15")
    parser.add_argument("--max-autotune", action="store_true", help="on a GPU: this mode too")
    flags = parser.parse_args()
    if flags.device != "cpu":
        sys.exit(speed_gpu.main(flags))
    torch.manual_seed(0)
    rows, scaling, raw = [], [], []
    for path, batch, n_steps in CHILDREN:
        if flags.only and path.stem not in flags.only:
            continue
        rounds = measure(flags, path, batch, n_steps)
        for number, speeds in enumerate(rounds, start=1):
            raw += [(path.stem, batch, number, *key, speed) for key, speed in speeds.items()]
        for threads in flags.threads:
            of = lambda side: [speeds[side, threads] for speeds in rounds]
            ratio = lambda other: engine.spread([a / b for a, b in zip(of("engine"), other)], 2)
            better = [max(pair) for pair in zip(*map(of, LAYOUTS))]
            speeds = [engine.spread(of(side), 0) for side in ("engine", *LAYOUTS)]
            ratios = [ratio(other) for other in (better, *map(of, LAYOUTS))]
            rows.append((path.stem, str(batch), str(threads), *speeds, *ratios))
        if {1, 2} <= set(flags.threads):
            gain = lambda side: engine.spread([s[side, 2] / s[side, 1] for s in rounds], 2)
            scaling.append((path.stem, *map(gain, ("engine", *LAYOUTS))))
    engine.print_setting(torch)
    print(f"Median (smallest to largest) of {flags.rounds} rounds.\n")
    header = ("child", "batch", "threads", "engine, images/s", *(f"{l}, images/s" for l in LAYOUTS))
    header += ("engine / better layout", *(f"engine / {layout}" for layout in LAYOUTS))
    engine.print_table(header, rows)
    if scaling:
        print("Two threads over one:\n")
        engine.print_table(("child", "engine", *LAYOUTS), scaling)
    header = ("child", "batch", "round", "side", "threads", "images_per_second")
    engine.write_csv(flags.out, "speed", header, raw)


if __name__ == "__main__":
    main()
