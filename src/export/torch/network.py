"""A network that nas-engine found. `load()` gives it with its weights, ready to classify.

Its input is bytes, `uint8 [N, 3, 32, 32]` (red, green, blue planes of 0 to 255), or what it sees of them, `float32`
of the same shape; its output is logits, `float32 [N, classes]`.
"""
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

@CONSTANTS@


def view(images):
    """What the network sees of bytes."""
    x = images.float()
    x = x - x.mean(dim=(1, 2, 3), keepdim=True)
    deviation = x.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    x = x / deviation.clamp(min=255 / 3072**0.5)
    if VIEW == "pad-crop":
        return x
    x = F.interpolate(x, size=(40, 40), mode="bilinear", align_corners=False)
    return x[:, :, 4:36, 4:36]


def concat(parts):
    """Joined in depth, zero-padded at the bottom and right to the largest."""
    h = max(part.shape[2] for part in parts)
    w = max(part.shape[3] for part in parts)
    return torch.cat([F.pad(part, (0, w - part.shape[3], 0, h - part.shape[2])) for part in parts], dim=1)


class Conv(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, channels, filters, filter, stride, **_):
        super().__init__()
        padding = [side // 2 for side in filter]
        self.conv = nn.Conv2d(channels, filters, filter, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(filters, eps=EPSILON)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class BatchNorm(nn.Module):
    """Batch normalisation alone."""

    def __init__(self, channels, **_):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=EPSILON)

    def forward(self, x):
        return self.bn(x)


class Pool(nn.Module):
    """The largest value of a window, or the mean."""

    def __init__(self, type, pool, stride, **_):
        super().__init__()
        self.run = F.max_pool2d if type == "max_pool" else F.avg_pool2d
        self.pool, self.stride = pool, stride

    def forward(self, x):
        return self.run(x, self.pool, self.stride)


def gaussian(n):
    """A 9-tap blur of deviation 2 along n values; at the edges the taps inside count alone."""
    place = torch.arange(n, dtype=torch.float64)
    distance = (place[:, None] - place[None, :]).abs()
    weights = torch.exp(-distance.square() / 8) * (distance <= 4)
    return (weights / weights.sum(dim=1, keepdim=True)).float()


class Lcn(nn.Module):
    """Local contrast normalisation, each channel alone."""

    def __init__(self, size, **_):
        super().__init__()
        self.register_buffer("down", gaussian(size[0]), persistent=False)
        self.register_buffer("along", gaussian(size[1]), persistent=False)

    def blur(self, x):
        return self.down @ x @ self.along.T

    def forward(self, x):
        v = x - self.blur(x)
        s = self.blur(v.square()).sqrt()
        mean = s.mean(dim=(2, 3), keepdim=True)
        return v / torch.maximum(s, mean.clamp(min=1e-4))


KINDS = {"conv": Conv, "batch_norm": BatchNorm, "max_pool": Pool, "avg_pool": Pool, "lcn": Lcn}


class Network(nn.Module):
    """The layers, by number from 1, and the classifier."""

    def __init__(self):
        super().__init__()
        layers = {str(number): KINDS[layer["type"]](**layer) for number, layer in enumerate(LAYERS, 1)}
        self.layers = nn.ModuleDict(layers)
        self.classifier = nn.Linear(FEATURES, len(CLASSES))

    def forward(self, images):
        outputs = [view(images) if images.dtype == torch.uint8 else images]
        for number, layer in enumerate(LAYERS, 1):
            read = concat([outputs[i] for i in layer["inputs"]])
            outputs.append(self.layers[str(number)](read))
        features = concat([outputs[i] for i in OUTPUTS]).mean(dim=(2, 3))
        return self.classifier(features)


def load():
    """The network with its weights, in evaluation mode."""
    network = Network()
    network.load_state_dict(load_file(Path(__file__).with_name("weights.safetensors")))
    return network.eval()
