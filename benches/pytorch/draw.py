"""Draws the architectures in arch/: `python benches/pytorch/draw.py`. Needs no PyTorch.

Children of the v1 and v2 spaces with about five inputs a layer: an earlier layer is an input with
probability min(1, 5 / number of earlier layers), so that widths are like a trained controller's and
not like a coin's. Of 301 drawn, the one with the median number of multiply-adds is kept.
"""

import json
import pathlib
import random

FOLDER = pathlib.Path(__file__).parent / "arch"
DRAWN = 301
MEAN_INPUTS = 5


def draw(rng, n_layers, strides):
    layers = []
    for number in range(1, n_layers + 1):
        share = MEAN_INPUTS / max(number - 1, 1)
        layer = {
            "filter": [rng.choice([1, 3, 5, 7]), rng.choice([1, 3, 5, 7])],
            "filters": rng.choice([24, 36, 48, 64]),
        }
        if strides:
            layer["stride"] = [rng.choice([1, 2, 3]), rng.choice([1, 2, 3])]
        layer["inputs"] = [j for j in range(1, number) if rng.random() < share] or [0]
        layers.append(layer)
    return layers


def multiply_adds(layers):
    sizes, total = [(3, 32, 32)], 0
    for layer in layers:
        sources = [sizes[j] for j in layer["inputs"]]
        height, width = (max(size[i] for size in sources) for i in (1, 2))
        (stride_h, stride_w), (kh, kw) = layer.get("stride", (1, 1)), layer["filter"]
        sizes.append((layer["filters"], -(-height // stride_h), -(-width // stride_w)))
        channels = sum(c for c, _, _ in sources)
        total += kh * kw * channels * sizes[-1][0] * sizes[-1][1] * sizes[-1][2]
    return total


def main():
    FOLDER.mkdir(exist_ok=True)
    for seed, (name, n_layers, strides) in enumerate(
        [("v1-6", 6, False), ("v1-15", 15, False), ("v2-15", 15, True)]
    ):
        rng = random.Random(seed)
        drawn = sorted((draw(rng, n_layers, strides) for _ in range(DRAWN)), key=multiply_adds)
        median = drawn[DRAWN // 2]
        lines = ",\n  ".join(json.dumps(layer, separators=(",", ":")) for layer in median)
        text = f'{{"space":"conv","layers":[\n  {lines}\n]}}\n'
        (FOLDER / f"{name}.json").write_text(text)
        print(f"{name}: {multiply_adds(median) / 1e6:.0f} million multiply-adds an image")


if __name__ == "__main__":
    main()
