"""Words a second of training the published cell in PyTorch and in the engine, one thread each.

usage: python benches/pytorch/cell_speed.py [--engine FILE] [--hidden N] [--vocabulary N] [--dropout X]
           [--rounds N] [--steps N] [--only SIDE ...] [--out DIR]

Two layers, 20 rows, windows of 35 words of a made-up text; forward, backward, clipping and update.
PyTorch unrolls the cell; eager, with the cell compiled (one small graph, called at every step), and
with the whole window compiled. Each round times every side once, one after the other, pinned to one
core, after an untimed part: PyTorch one step, the engine one epoch. Ratios are within a round.
"""

import os
import pathlib
import statistics
import sys
import tempfile
import time

import torch

import engine
import language

ARCHITECTURE = engine.ROOT / "examples/cell-published.json"
LAYERS, RATE = 2, 1.0
SIDES = ("engine", "eager", "compiled cell", "compiled window")
BOUND = 1.5  # of the fastest side of PyTorch


class InPyTorch:
    """A model and its windows, by one way of running it."""

    def __init__(self, side, flags, text, n_steps):
        torch.manual_seed(0)
        sizes = (language.PUBLISHED, LAYERS, flags.hidden, len(text.words), flags.dropout)
        model = language.LanguageModel(*sizes)
        run = None
        if side == "compiled cell":
            for layer in model.layers.values():
                layer.cell = torch.compile(layer.cell, dynamic=False)
        if side == "compiled window":
            run = torch.compile(model, dynamic=False)
        self.trainer = language.Trainer(model, RATE, run)
        self.windows = list(language.windows(text.ids("train"), whole=True))[:n_steps]
        begun = time.perf_counter()
        self.words_per_second(n_steps=2)
        print(f"{side}: ready in {time.perf_counter() - begun:.0f} s", file=sys.stderr)

    def words_per_second(self, n_steps=None):
        state = self.trainer.model.zero_state(language.ROWS)
        _, state = self.trainer.step(*self.windows[0], state)
        begun = time.perf_counter()
        for window in self.windows[:n_steps]:
            _, state = self.trainer.step(*window, state)
        seconds = time.perf_counter() - begun
        return len(self.windows[:n_steps]) * language.STEPS * language.ROWS / seconds


def engine_words_per_second(flags):
    result = engine.train(
        flags,
        ARCHITECTURE,
        hidden=flags.hidden,
        vocabulary=flags.vocabulary,
        dropout=flags.dropout,
        batch=language.ROWS,
        epochs=2,
        learning_rate=RATE,
        threads=1,
    )
    return result["epochs"][-1]["words_per_second"]


def main():
    parser = engine.parser(__doc__.splitlines()[0], data=None)
    parser.add_argument("--hidden", type=int, default=200)
    parser.add_argument("--vocabulary", type=int, default=10_000)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", nargs="+", default=SIDES, choices=SIDES)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    n_words = flags.steps * language.STEPS * language.ROWS + language.ROWS
    # An <eos> follows every 20 words.
    text = language.made_up(n_words * 20 // 21 + 1, flags.vocabulary)
    theirs = [side for side in flags.only if side != "engine"]
    # Compiling may use every core; timing uses one.
    sides = {side: InPyTorch(side, flags, text, flags.steps) for side in theirs}
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        flags.data = pathlib.Path(folder)
        text.write(flags.data)
        for _ in range(flags.rounds):
            speeds = {name: side.words_per_second() for name, side in sides.items()}
            if "engine" in flags.only:
                speeds["engine"] = engine_words_per_second(flags)
            rounds.append(speeds)
    engine.print_setting(torch)
    print(f"Hidden {flags.hidden}, {len(text.words)} words, {flags.rounds} rounds.\n")
    fastest = [max(speeds[side] for side in theirs) for speeds in rounds] if theirs else []
    rows, ratios = [], []
    for side in flags.only:
        of = [speeds[side] for speeds in rounds]
        row = [side, engine.spread(of, 0)]
        if fastest and "engine" in flags.only:
            shares = [speeds["engine"] / speeds[side] for speeds in rounds]
            row.append(engine.spread(shares, 2))
            ratios = [speeds["engine"] / best for speeds, best in zip(rounds, fastest)]
        rows.append(row)
    header = ("side", "words/s", "engine / side")[: len(rows[0])]
    engine.print_table(header, rows)
    raw = [(n, side, speed) for n, speeds in enumerate(rounds, 1) for side, speed in speeds.items()]
    engine.write_csv(flags.out, "cell_speed", ("round", "side", "words_per_second"), raw)
    if ratios:
        print(f"engine / fastest of PyTorch: {engine.spread(ratios, 2)}, bound {BOUND}")
        sys.exit("slower than the bound" if not statistics.median(ratios) >= BOUND else 0)


if __name__ == "__main__":
    main()
