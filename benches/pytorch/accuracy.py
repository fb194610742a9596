"""Accuracies of examples/small.json on CIFAR-10 after the same training here and in PyTorch.

usage: python benches/pytorch/accuracy.py --data DIR [--engine FILE] [--out DIR] [--seeds N ...]
           [--device cuda]

The first 10,000 training records (9,000 to train on, 1,000 to validate, the same on both sides) and
the first 2,000 test records; 5 epochs; batch 128; random crops and flips; seeds 1, 2 and 3 a side.
On a GPU the engine also trains on the CPU: the means over the same seeds must be within a point.
"""

import statistics
import sys

import torch
import torch.nn.functional as F

import child as children
import cifar
import engine

LIMIT, EPOCHS, BATCH, RATE = 10_000, 5, 128, 0.1
# Accuracies of the engine on a GPU and on the CPU, in per cent.
DEVICES_APART = 1.0
PATH = engine.ROOT / "examples/small.json"


def accuracy(child, images, labels):
    child.eval()
    with torch.no_grad():
        logits = torch.cat([child(part) for part in images.split(BATCH)])
    child.train()
    return (logits.argmax(dim=1) == labels).float().mean().item()


def in_pytorch(flags, seed):
    """Validation and test accuracy after the last epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    labels, images = cifar.read(flags.data, LIMIT)
    wide = cifar.upsample(images.to(flags.device))
    labels = labels.to(flags.device)
    held_out = torch.zeros(len(labels), dtype=torch.bool, device=flags.device)
    held_out[cifar.validation_records(len(labels))] = True
    train_images, train_labels = wide[~held_out], labels[~held_out]
    child = children.Child(children.read_architecture(PATH))
    child.to(flags.device, memory_format=torch.channels_last)
    optimizer = children.optimizer(child, RATE)
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = children.learning_rate_of(epoch, EPOCHS, RATE)
        order = torch.randperm(len(train_labels), generator=generator).to(flags.device)
        for batch in order[: len(order) // BATCH * BATCH].split(BATCH):
            views = cifar.crop_and_flip(train_images[batch], generator)
            optimizer.zero_grad()
            F.cross_entropy(child(views), train_labels[batch]).backward()
            optimizer.step()
    validation = accuracy(child, cifar.central(wide[held_out]), labels[held_out])
    test_labels, test_images = cifar.read(flags.data, LIMIT // 5, "test_batch.bin")
    test_views = cifar.central(cifar.upsample(test_images.to(flags.device)))
    return validation, accuracy(child, test_views, test_labels.to(flags.device))


def in_engine(flags, seed, device=None):
    options = {"limit": LIMIT, "epochs": EPOCHS, "batch": BATCH, "learning_rate": RATE}
    options["device"] = device or flags.device
    result = engine.train(flags, PATH, seed=seed, test=True, **options)
    return result["validation_accuracy"], result["test_accuracy"]


def main():
    parser = engine.parser(__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    flags = parser.parse_args()
    sides = {"engine": in_engine, "PyTorch": in_pytorch}
    if flags.device != "cpu":
        sides["engine on the CPU"] = lambda flags, seed: in_engine(flags, seed, "cpu")
    found = {name: [run(flags, seed) for seed in flags.seeds] for name, run in sides.items()}
    engine.print_setting(torch)
    rows, failed = [], False
    for which, what in enumerate(("validation", "test")):
        of = {name: [100 * pair[which] for pair in pairs] for name, pairs in found.items()}
        ours, theirs = of["engine"], of["PyTorch"]
        deviation = ((statistics.variance(ours) + statistics.variance(theirs)) / 2) ** 0.5
        bounds = {"PyTorch": max(1.5, 2 * deviation), "engine on the CPU": DEVICES_APART}
        for name, values in of.items():
            seeds = " ".join(f"{value:.1f}" for value in values)
            row = [what, name, seeds, f"{statistics.mean(values):.2f}", "", ""]
            if name in bounds:
                apart = abs(statistics.mean(ours) - statistics.mean(values))
                failed |= apart > bounds[name]
                row[4:] = f"{apart:.2f}", f"{bounds[name]:.2f}"
            rows.append(row)
    header = ("accuracy, %", "side", "seeds", "mean", "from the engine's", "bound")
    engine.print_table(header, rows)
    raw = [(name, seed, *pair) for name in sides for seed, pair in zip(flags.seeds, found[name])]
    engine.write_csv(flags.out, "accuracy", ("side", "seed", "validation", "test"), raw)
    sys.exit("the means are too far apart" if failed else 0)


if __name__ == "__main__":
    main()
