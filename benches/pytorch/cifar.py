"""CIFAR-10's binary layout, the split and the views of formats.md section 1, in PyTorch."""

import pathlib

import torch
import torch.nn.functional as F

RECORD = 3073


def read(folder, limit, pattern="data_batch_*.bin"):
    """Labels [n] and bytes [n, 3, 32, 32] of the first `limit` records of some files."""
    paths = sorted(pathlib.Path(folder).glob(pattern), key=lambda path: (len(path.name), path.name))
    data = b"".join(path.read_bytes() for path in paths)[: limit * RECORD]
    records = torch.frombuffer(bytearray(data), dtype=torch.uint8).reshape(-1, RECORD)
    return records[:, 0].long(), records[:, 1:].reshape(-1, 3, 32, 32)


def whiten(images):
    """By each image's own mean and deviation."""
    x = images.float() / 255
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    deviation = x.std(dim=(1, 2, 3), correction=0, keepdim=True)
    return (x - mean) / deviation.clamp(min=3072**-0.5)


def upsample(images):
    """Whitened, 40x40."""
    how = {"mode": "bilinear", "align_corners": False, "antialias": False}
    return F.interpolate(whiten(images), (40, 40), **how)


def central(wide):
    """The view that evaluation takes."""
    return wide[:, :, 4:36, 4:36].contiguous()


def crop_and_flip(wide, generator):
    """A random 32x32 crop of each 40x40 image, flipped or not."""
    n = len(wide)
    dy, dx = (torch.randint(9, (n, 1), generator=generator) for _ in range(2))
    flip = torch.randint(2, (n, 1), generator=generator).bool()
    side = torch.arange(32)
    rows = dy + side
    columns = dx + torch.where(flip, 31 - side, side)
    image = torch.arange(n)[:, None, None]
    cropped = wide.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2)


def validation_records(n, split_seed=0):
    """The floor(n / 10) records held out: Fisher and Yates from the end, by Philox4x32-10."""
    words = _philox_words(split_seed, purpose=4, index=0)
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        other = _below(words, last + 1)
        order[last], order[other] = order[other], order[last]
    return torch.tensor(sorted(order[: n // 10]))


def _below(words, n):
    """Uniform in 0..n, without bias (Lemire)."""
    reject = (2**32 - n) % n
    while True:
        product = next(words) * n
        if product % 2**32 >= reject:
            return product >> 32


def _philox_words(seed, purpose, index):
    block = 0
    while True:
        counter = [block, purpose, index % 2**32, index >> 32]
        key = [seed % 2**32, seed >> 32]
        for _ in range(10):
            p0, p1 = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
            counter = [
                (p1 >> 32) ^ counter[1] ^ key[0],
                p1 % 2**32,
                (p0 >> 32) ^ counter[3] ^ key[1],
                p0 % 2**32,
            ]
            key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
        yield from counter
        block += 1
