"""A plain LSTM as a language model, the same start in PyTorch and in the engine: losses, perplexity.

usage: python benches/pytorch/lstm_parity.py [--engine FILE] [--hidden N] [--vocabulary N] [--epochs N]
           [--pytorch-only] [--out DIR]

The bundled text, two layers, 20 rows, windows of 35 words, the medium recipe without dropout at learning
rate 0.1: both start from the same weights and see the same words in the same order. Compared are the
losses of the first 100 steps, a word's, and the validation perplexity after the last epoch. PyTorch
in float64 tells how much of a difference is rounding.
"""

import gzip
import json
import math
import pathlib
import sys
import tempfile

import torch

import engine
import language

ARCHITECTURE = {"space": "cell", "kind": "lstm"}
LAYERS, RATE = 2, 0.1
COMPARED, LOSS_BOUND, PERPLEXITY_BOUND = 100, 1e-3, 0.01


def bundled(most):
    folder = engine.ROOT / "data/kjv-gospels"
    read = lambda name: gzip.decompress((folder / f"{name}.txt.gz").read_bytes()).decode()
    lines = lambda name: [line.split() for line in read(name).splitlines()]
    return language.Text({name: lines(name) for name in ("train", "valid", "test")}, most)


def in_pytorch(model, text, epochs, whole=True):
    """The loss of every step, and the validation perplexity after every epoch."""
    trainer, losses, perplexities = language.Trainer(model, RATE), [], []
    for _ in range(epochs):
        state = model.zero_state(language.ROWS)
        for inputs, targets in language.windows(text.ids("train"), whole):
            loss, state = trainer.step(inputs, targets, state)
            losses.append(loss.item())
        perplexities.append(language.perplexity(model, text.ids("valid")))
        print(f"PyTorch: perplexity {perplexities[-1]:.2f}", file=sys.stderr)
    return losses, perplexities


def in_engine(flags, start, text, folder):
    """The same of the engine."""
    architecture = folder / "lstm.json"
    architecture.write_text(json.dumps(ARCHITECTURE))
    result = engine.train(
        flags,
        architecture,
        init=start,
        hidden=flags.hidden,
        vocabulary=len(text.words),
        dropout=0,
        batch=language.ROWS,
        epochs=flags.epochs,
        learning_rate=RATE,
        log_steps=True,
    )
    return result["step_losses"], [e["validation_perplexity"] for e in result["epochs"]]


def main():
    parser = engine.parser(__doc__.splitlines()[0], data=None)
    parser.add_argument("--hidden", type=int, default=200)
    parser.add_argument("--vocabulary", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pytorch-only", action="store_true", help="its losses alone, as a check")
    flags = parser.parse_args()
    text = bundled(flags.vocabulary)
    torch.manual_seed(0)
    sizes = (language.LSTM, LAYERS, flags.hidden, len(text.words))
    model = language.LanguageModel(*sizes)
    with tempfile.TemporaryDirectory() as folder:
        folder = flags.data = pathlib.Path(folder)
        text.write(folder)
        start = folder / "start.safetensors"
        language.save(model, ARCHITECTURE, text, start)
        ours, our_perplexities = [], []
        whole = True
        if not flags.pytorch_only:
            ours, our_perplexities = in_engine(flags, start, text, folder)
            n_whole = len(list(language.windows(text.ids("train"), whole=True)))
            whole = len(ours) == flags.epochs * n_whole
        exact = language.LanguageModel(*sizes).double()
        exact.load_state_dict(model.state_dict())
        theirs, perplexities = in_pytorch(model, text, flags.epochs, whole)
        exact_losses, exact_perplexities = in_pytorch(exact, text, flags.epochs, whole)
    engine.print_setting(torch)
    apart = lambda a: max(abs(x - y) for x, y in zip(a[:COMPARED], theirs[:COMPARED]))
    share = lambda a: abs(a[-1] / perplexities[-1] - 1)
    row = lambda side, losses, p: (side, losses[0], losses[COMPARED - 1], apart(losses), p[-1], share(p))
    rows = [row("PyTorch", theirs, perplexities), row("PyTorch, float64", exact_losses, exact_perplexities)]
    if ours:
        assert len(ours) == len(theirs), "another number of steps than in PyTorch"
        rows.append(row("engine", ours, our_perplexities))
    header = ("side", "first loss", f"loss {COMPARED}", "worst apart", "perplexity", "share apart")
    engine.print_table(header, [[c if isinstance(c, str) else f"{c:.6g}" for c in r] for r in rows])
    header = ("step", "pytorch", "pytorch64", "engine")
    both = zip(theirs, exact_losses, ours or [math.nan] * len(theirs))
    engine.write_csv(flags.out, "lstm_parity", header, [(i, *r) for i, r in enumerate(both, 1)])
    if ours:
        bad = not apart(ours) <= LOSS_BOUND or not share(our_perplexities) <= PERPLEXITY_BOUND
        sys.exit(f"beyond a bound: losses {LOSS_BOUND}, perplexity {PERPLEXITY_BOUND}" if bad else 0)


if __name__ == "__main__":
    main()
