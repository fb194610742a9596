"""A convolutional child as a torch.nn.Module, by formats.md section 1; its weights as safetensors.

Its parameters have the names that the engine gives them, so one file starts both. Files alone need
the package safetensors, which machines with PyTorch may lack.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
from torch import nn


def read_architecture(path):
    return json.loads(pathlib.Path(path).read_text())


def pad_to(x, height, width):
    if x.shape[2:] == (height, width):
        return x
    return F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]))


def concatenate(tensors):
    """Joins in depth; each is zero-padded at the bottom and right to the largest of them."""
    if len(tensors) == 1:
        return tensors[0]
    height = max(t.shape[2] for t in tensors)
    width = max(t.shape[3] for t in tensors)
    return torch.cat([pad_to(t, height, width) for t in tensors], dim=1)


def local_contrast(x):
    """v = x - G*x over max(s, mean of s, 1e-4), where s = sqrt(G*v^2).

    G is renormalised at the edges.
    """
    taps = torch.exp(-(torch.arange(-4, 5, dtype=x.dtype) ** 2) / 8)
    kernel = torch.outer(taps, taps)[None, None]
    inside = F.conv2d(torch.ones(1, 1, *x.shape[2:], dtype=x.dtype), kernel, padding=4)

    def blur(a):
        alone = a.reshape(-1, 1, *a.shape[2:])
        return (F.conv2d(alone, kernel, padding=4) / inside).reshape(a.shape)

    v = x - blur(x)
    power = blur(v * v)
    s = torch.where(power > 0, power, 1.0).sqrt() * (power > 0)
    floor = s.mean(dim=(2, 3), keepdim=True).clamp(min=1e-4)
    return v / torch.maximum(s, floor)


class Layer(nn.Module):
    """One layer of an architecture on the concatenation of its inputs."""

    def __init__(self, layer, channels):
        super().__init__()
        self.kind = layer.get("type", "conv")
        self.channels = channels
        if self.kind == "conv":
            self.channels = layer["filters"]
            filter_ = layer["filter"]
            padding = [side // 2 for side in filter_]
            stride = layer.get("stride", [1, 1])
            self.conv = nn.Conv2d(channels, self.channels, filter_, stride, padding, bias=False)
            fan_in = channels * filter_[0] * filter_[1]
            nn.init.normal_(self.conv.weight, std=math.sqrt(2 / fan_in))
        if self.kind in ("conv", "batch_norm"):
            self.bn = nn.BatchNorm2d(self.channels)
        self.pool, self.stride = layer.get("pool"), layer.get("stride")

    def forward(self, x):
        if self.kind == "conv":
            return F.relu(self.bn(self.conv(x)))
        if self.kind == "batch_norm":
            return self.bn(x)
        if self.kind == "lcn":
            return local_contrast(x)
        pool = F.max_pool2d if self.kind == "max_pool" else F.avg_pool2d
        return pool(x, self.pool, self.stride)


class Child(nn.Module):
    """The network of an architecture."""

    def __init__(self, architecture, n_classes=10):
        super().__init__()
        self.architecture = architecture
        self.inputs = [layer["inputs"] or [0] for layer in architecture["layers"]]
        channels, self.layers = [3], nn.ModuleDict()
        for number, layer in enumerate(architecture["layers"], start=1):
            built = Layer(layer, sum(channels[j] for j in self.inputs[number - 1]))
            self.layers[str(number)] = built
            channels.append(built.channels)
        read = {j for inputs in self.inputs for j in inputs}
        self.unread = [j for j in range(1, len(channels)) if j not in read]
        features = sum(channels[j] for j in self.unread)
        self.classifier = nn.Linear(features, n_classes)
        nn.init.uniform_(self.classifier.weight, -1 / math.sqrt(features), 1 / math.sqrt(features))
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images):
        outputs = [images]
        for layer, inputs in zip(self.layers.values(), self.inputs):
            outputs.append(layer(concatenate([outputs[j] for j in inputs])))
        features = concatenate([outputs[j] for j in self.unread]).mean(dim=(2, 3))
        return self.classifier(features)

    def named(self):
        """Parameters and running statistics by the names of a weights file."""
        state = self.state_dict().items()
        return {name: t for name, t in state if not name.endswith("num_batches_tracked")}


def optimizer(child, learning_rate):
    """Nesterov momentum 0.9, weight decay 1e-4 of every parameter."""
    return torch.optim.SGD(
        child.parameters(), learning_rate, momentum=0.9, weight_decay=1e-4, nesterov=True
    )


def learning_rate_of(epoch, epochs, initial):
    """Of an epoch counted from 0: a tenth from one half on, a hundredth from three quarters on."""
    if 4 * epoch >= 3 * epochs:
        return initial / 100
    return initial / 10 if 2 * epoch >= epochs else initial


def save(child, path):
    """Writes weights with the metadata that `nas-engine train --init` and `eval` ask for."""
    from safetensors.torch import save_file

    metadata = {
        "architecture": json.dumps(child.architecture, separators=(",", ":")),
        "seed": "0",
        "split_seed": "0",
        "augment": "none",
        "classes": json.dumps([str(i) for i in range(child.classifier.out_features)]),
        "data_sha256": "",
        "epochs": "0",
        "validation_accuracy": "0",
    }
    tensors = {name: tensor.contiguous() for name, tensor in child.named().items()}
    save_file(tensors, str(path), metadata)


def read_weights(path):
    """Tensors by name."""
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def load(child, path):
    tensors = read_weights(path)
    missing = set(child.named()) ^ set(tensors)
    assert not missing, f"{path} does not fit the architecture: {sorted(missing)}"
    child.load_state_dict(tensors, strict=False)
