"""Answers the cases that tests/it/oracle.rs asks: `run.py FOLDER`.

Each folder in FOLDER holds case.json and, for an architecture that can be built, input.safetensors;
it gets inspect.json and output.safetensors. Or it holds cells.json, recurrent cells of one size, and
input.safetensors with an entry for each; it gets output.safetensors.
"""

import json
import multiprocessing
import os
import pathlib
import sys
from functools import partial

import jax
import numpy as np

import cell
import child
import tensors

jax.config.update("jax_enable_x64", True)


def views(case, arrays):
    """Every record's view in training, and then in evaluation."""
    images = arrays["bytes"].astype(np.float64)
    draws = [(int(dy), int(dx), bool(flip)) for dy, dx, flip in arrays["draws"]]
    both = [child.view(i, case["augment"], d) for i, d in zip(images, draws)]
    both += [child.view(i, case["augment"], None) for i in images]
    return np.stack(both)


def network(case, arrays, images, last_images):
    """Trains on the batches of a case, then evaluates; quantities by the names that the test knows."""
    wide = {name: np.asarray(a, np.float64) for name, a in arrays.items()}
    named = {n: a for n, a in wide.items() if n.startswith(("layers.", "classifier."))}
    running = {name: a for name, a in named.items() if ".running_" in name}
    weights = {name: a for name, a in named.items() if name not in running}
    momentum = {name: np.zeros_like(a) for name, a in weights.items()}
    labels = {name: a.astype(np.int32) for name, a in arrays.items() if "labels" in name}
    # One function for training and evaluation: compiling is most of the work.
    compiled = jax.jit(jax.value_and_grad(partial(child.loss, case["architecture"]), has_aux=True))
    found, losses, margins = {}, [], []
    for batch, targets in zip(images, labels["labels"]):
        answer, gradients = jax.device_get(compiled(weights, running, batch, targets, True))
        loss, (logits, running, margin) = answer
        weights, momentum = child.nesterov(case["rates"], weights, momentum, gradients)
        losses.append(loss)
        margins.append(margin)
        if len(losses) == 1:
            found["logits.train"] = logits
            found |= {f"gradient.{name}": a for name, a in gradients.items()}
            found |= {f"first.{name}": a for name, a in running.items()}
    found |= {"losses": np.array(losses), "margins": np.array(margins)}
    found |= {f"last.{name}": a for name, a in (weights | running).items()}
    found |= {f"momentum.{name}": a for name, a in momentum.items()}
    targets = labels["labels.evaluate"]
    answer, _ = jax.device_get(compiled(weights, running, last_images, targets, False))
    found["loss.evaluate"], (logits, _, _) = answer
    found["logits.evaluate"] = logits
    found["correct.evaluate"] = (logits.argmax(axis=1) == targets).sum()
    return found


def answer(folder):
    if (folder / "cells.json").exists():
        case = json.loads((folder / "cells.json").read_text())
        found = cell.train(case, tensors.read(folder / "input.safetensors"))
        tensors.write(folder / "output.safetensors", found)
    else:
        answer_network(folder)


def answer_network(folder):
    case = json.loads((folder / "case.json").read_text())
    try:
        inspected = child.inspect(case["architecture"], case["classes"])
    except child.Invalid as reason:
        (folder / "inspect.json").write_text(json.dumps({"invalid": str(reason)}))
        return
    (folder / "inspect.json").write_text(json.dumps(inspected))
    arrays = tensors.read(folder / "input.safetensors")
    seen, (n_steps, batch) = views(case, arrays), arrays["labels"].shape
    images = seen[: n_steps * batch].reshape(n_steps, batch, *seen.shape[1:])
    found = network(case, arrays, images, seen[-batch:])
    tensors.write(folder / "output.safetensors", found | {"views": seen})


def main():
    questions = pathlib.Path(sys.argv[1])
    folders = [path.parent for name in ("case", "cells") for path in questions.glob(f"*/{name}.json")]
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count(), 8)) as pool:
        for _ in pool.imap_unordered(answer, sorted(folders)):
            pass


if __name__ == "__main__":
    main()
