"""Whether a network says of imported pictures what it says of them in PyTorch.

The pictures of a folder for each class are read by torchvision's ImageFolder, brought to 32x32 by its
transforms as `nas-engine data import folder` does, and given to the network of a weights file. The other side
is what the example `logits` wrote of the imported folder, whose records are matched by their pixels.

usage: folder.py PICTURES WEIGHTS LOGITS
"""

import json
import sys

import numpy as np
import torch
from cifar import central, upsample, whiten
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision import transforms
from torchvision.datasets import ImageFolder

import child


def fit(picture):
    """Padded where neither side is above 32, else the shorter side to 32 and the centre."""
    if max(picture.size) <= 32:
        width, height = picture.size
        left, top = (32 - width) // 2, (32 - height) // 2
        return transforms.Pad((left, top, 32 - width - left, 32 - height - top))(picture)
    picture = transforms.Resize(32)(picture)
    width, height = picture.size
    left, top = (width - 32) // 2, (height - 32) // 2
    return picture.crop((left, top, left + 32, top + 32))


def network(path):
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    built = child.Child(json.loads(metadata["architecture"]), len(json.loads(metadata["classes"])))
    built.load_state_dict(load_file(path), strict=False)
    return built.eval(), metadata["augment"]


def main(pictures, weights, logits):
    theirs = ImageFolder(pictures, transform=fit)
    images = torch.tensor(np.stack([np.asarray(image) for image, _ in theirs])).permute(0, 3, 1, 2)
    net, augment = network(weights)
    view = whiten(images) if augment == "pad-crop" else central(upsample(images))
    with torch.inference_mode():
        said = torch.cat([net(batch) for batch in view.split(64)])
    ours = load_file(logits)
    assert len(ours["images"]) == len(images), "as many pictures"

    at = {image.numpy().tobytes(): i for i, image in enumerate(ours["images"])}
    equal, largest, levels = 0, 0.0, []
    for image, logit in zip(images, said):
        i = at.get(image.contiguous().numpy().tobytes())
        if i is None:
            # The nearest one is the same picture, decoded or resized a little otherwise.
            off = (ours["images"].int() - image.int()).abs().amax(dim=(1, 2, 3))
            levels.append(int(off.min()))
            continue
        equal += 1
        largest = max(largest, float((ours["logits"][i] - logit).abs().max()))
    print(f"pictures: {len(images)}, the same 32x32 pixels: {equal}")
    print(f"largest difference of a logit of these: {largest:.2e} (largest logit {said.abs().max():.2f})")
    if levels:
        print(f"others: {len(levels)}, off by at most {max(levels)} levels")
    sys.exit(largest > 1e-3 or equal == 0)


main(*sys.argv[1:])
