"""The same start in PyTorch and in the engine: losses, weights, momentum, statistics compared.

usage: python benches/pytorch/parity.py --data DIR [--engine FILE] [--batch N] [--out DIR]
           [--device cuda]

No augmentation, no shuffling: both see the same batches. Momentum is not in a weights file; the
engine's is found from its weights after 50 and after 51 steps:
w51 = w50 - lr (g + mu (mu v50 + g)), with the gradient g of PyTorch, in float64, at the engine's
own w50.

With --device cuda the engine runs on a GPU, in bfloat16, and PyTorch in float32 as before, on the
CPU: the losses of the first 20 steps are compared, as shares of PyTorch's.
"""

import pathlib
import sys
import tempfile

import torch
import torch.nn.functional as F

import child as children
import cifar
import engine

STEPS = 50
MOMENTUM, DECAY = 0.9, 1e-4
# Kernels, learning rate, losses compared, bound.
COMPARED = [
    ("direct", 0.01, STEPS, 1e-4),
    ("direct", 0.1, 10, 1e-4),
    ("auto", 0.01, STEPS, 1e-3),
    ("auto", 0.1, 10, 1e-3),
]
# The same on a GPU: bounds of the first loss and of all, as shares.
COMPARED_ON_GPU = [(0.01, 20, 0.005, 0.02)]
# Of the largest value of a tensor, after step 50 at learning rate 0.01.
STATE_BOUND = 1e-2
ARCHITECTURES = ("small", "layer-types")


def batches(flags):
    """The records that --no-shuffle trains on, as views, in order."""
    limit = engine.images_for((STEPS + 1) * flags.batch)
    labels, images = cifar.read(flags.data, limit)
    views = cifar.central(cifar.upsample(images))
    return list(zip(views.split(flags.batch), labels.split(flags.batch)))[: STEPS + 1]


def in_pytorch(architecture, start, rate, data, dtype=torch.float32):
    """Losses before each of 50 updates, weights and statistics after them, momentum."""
    child = children.Child(architecture).to(dtype)
    children.load(child, start)
    optimizer = children.optimizer(child, rate)
    losses = []
    for images, labels in data[:STEPS]:
        optimizer.zero_grad()
        loss = F.cross_entropy(child(images.to(dtype)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    named = child.named_parameters()
    momentum = {name: optimizer.state[p]["momentum_buffer"] for name, p in named}
    return losses, child.named(), momentum


def in_engine(flags, path, start, rate, convolution, n_steps, folder):
    """Losses before each update, weights and statistics after the last."""
    saved = folder / f"after-{n_steps}.safetensors"
    result = engine.train(
        flags,
        path,
        init=start,
        save=saved,
        limit=engine.images_for(n_steps * flags.batch),
        batch=flags.batch,
        epochs=1,
        learning_rate=rate,
        convolution=convolution,
        augment="none",
        no_shuffle=True,
        log_steps=True,
    )
    assert len(result["step_losses"]) == n_steps, "an epoch of another length than asked for"
    return result["step_losses"], children.read_weights(saved)


def momentum_of_engine(architecture, after_50, after_51, batch, rate):
    """v50, from two saved states and the gradient between them."""
    child = children.Child(architecture).double()
    child.load_state_dict(after_50, strict=False)
    images, labels = batch
    F.cross_entropy(child(images.double()), labels).backward()
    momentum = {}
    for name, parameter in child.named_parameters():
        before, after = after_50[name].double(), after_51[name].double()
        gradient = parameter.grad + DECAY * before
        moved = (before - after) / rate  # g + mu v51
        momentum[name] = (moved - (1 + MOMENTUM) * gradient) / MOMENTUM**2
    return momentum


def compare_on_gpu(flags, data, folder):
    """Prints the losses of a GPU beside PyTorch's; whether one is beyond its bound."""
    rows, raw = [], []
    for name in ARCHITECTURES:
        path = engine.ROOT / f"examples/{name}.json"
        architecture = children.read_architecture(path)
        start = folder / f"{name}.safetensors"
        children.save(children.Child(architecture), start)
        for rate, n_compared, *bounds in COMPARED_ON_GPU:
            theirs, *_ = in_pytorch(architecture, start, rate, data)
            ours, _ = in_engine(flags, path, start, rate, "auto", STEPS, folder)
            shares = [abs(a / b - 1) for a, b in zip(ours, theirs)]
            counted = (shares[0], bounds[0], max(shares[:n_compared]), bounds[1])
            rows.append((name, str(rate), str(n_compared), *counted))
            raw += [(name, rate, step, *pair) for step, pair in enumerate(zip(theirs, ours), 1)]
    engine.print_setting(torch)
    header = ("architecture", "learning rate", "losses", "first apart", "bound", "worst", "bound")
    engine.print_table(header, rows)
    header = ("architecture", "learning_rate", "step", "pytorch", "engine")
    engine.write_csv(flags.out, "parity", header, raw)
    return any(not row[3] <= row[4] or not row[5] <= row[6] for row in rows)


def largest_difference(first, second, n):
    return max(abs(a - b) for a, b in zip(first[:n], second[:n]))


def worst(theirs, ours):
    """The largest difference, as a share of the largest value of its tensor, and where it is."""
    shares = {
        name: ((ours[name] - a).abs().max() / a.abs().max().clamp(min=1e-3)).item()
        for name, a in theirs.items()
    }
    return max((share, name) for name, share in shares.items())


def main():
    parser = engine.parser(__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    flags = parser.parse_args()
    torch.manual_seed(0)
    data = batches(flags)
    losses, states, raw, failed = [], [], [], False
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if flags.device != "cpu":
            failed = compare_on_gpu(flags, data, folder)
            sys.exit("a difference is beyond its bound" if failed else 0)
        for name in ARCHITECTURES:
            path = engine.ROOT / f"examples/{name}.json"
            architecture = children.read_architecture(path)
            start = folder / f"{name}.safetensors"
            children.save(children.Child(architecture), start)
            in_torch, exact = {}, {}
            for convolution, rate, n_compared, bound in COMPARED:
                if rate not in in_torch:
                    in_torch[rate] = in_pytorch(architecture, start, rate, data)
                    exact[rate], *_ = in_pytorch(architecture, start, rate, data, torch.float64)
                theirs, state, momentum = in_torch[rate]
                rounding = largest_difference(theirs, exact[rate], n_compared)
                ours, after_50 = in_engine(flags, path, start, rate, convolution, STEPS, folder)
                first = largest_difference(theirs, ours, 1)
                largest = largest_difference(theirs, ours, n_compared)
                failed |= not largest <= bound
                counted = (str(n_compared), first, largest, bound, rounding)
                losses.append((name, convolution, str(rate), *counted))
                rows = enumerate(zip(theirs, exact[rate], ours), start=1)
                raw += [(name, convolution, rate, step, *pair) for step, pair in rows]
                if rate != 0.01:
                    continue
                _, after_51 = in_engine(flags, path, start, rate, convolution, STEPS + 1, folder)
                found = momentum_of_engine(architecture, after_50, after_51, data[STEPS], rate)
                running = {n: a for n, a in state.items() if ".running_" in n}
                weights = {n: a for n, a in state.items() if n not in running}
                for what, expected, got in [
                    ("weights", weights, after_50),
                    ("running statistics", running, after_50),
                    ("momentum", momentum, found),
                ]:
                    share, where = worst(expected, got)
                    failed |= not share <= STATE_BOUND
                    states.append((name, convolution, what, share, where, STATE_BOUND))
    engine.print_setting(torch)
    header = ("architecture", "kernels", "learning rate", "losses", "first apart", "worst", "bound")
    header += ("PyTorch float32 and float64",)
    engine.print_table(header, losses)
    header = ("architecture", "kernels", "after step 50", "worst share", "tensor", "bound")
    engine.print_table(header, states)
    header = ("architecture", "kernels", "learning_rate", "step", "pytorch", "pytorch64", "engine")
    engine.write_csv(flags.out, "parity", header, raw)
    sys.exit("a difference is beyond its bound" if failed else 0)


if __name__ == "__main__":
    main()
