#!/usr/bin/env python3
"""A folder of PNGs made of a data folder, and its import by Pillow and NumPy, to compare with
`nas-engine data import folder`.

usage: folder.py make DATA_DIR PNG_DIR [N]      N (10,000) PNGs of 32x32, a folder for each class
       folder.py import PNG_DIR OUT [PROCESSES]  the same records by Pillow and NumPy, as people do it

Prints seconds and peak memory (of the largest process). Needs pillow==12.3.0 and numpy.
"""
import multiprocessing, pathlib, resource, sys, time
import numpy as np
from PIL import Image


def make(data, out, n=10_000):
    records = np.fromfile(pathlib.Path(data) / "data_batch_1.bin", np.uint8).reshape(-1, 3073)[: int(n)]
    names = (pathlib.Path(data) / "batches.meta.txt").read_text().split()
    for name in names:
        (pathlib.Path(out) / name).mkdir(parents=True, exist_ok=True)
    for i, record in enumerate(records):
        image = Image.fromarray(record[1:].reshape(3, 32, 32).transpose(1, 2, 0))
        image.save(pathlib.Path(out) / names[record[0]] / f"{i:05}.png")


def record(item):
    path, label = item
    with open(path, "rb") as file:
        image = np.asarray(Image.open(file).convert("RGB"))
    return np.concatenate([[np.uint8(label)], image.transpose(2, 0, 1).ravel()])


def import_(folder, out, processes=1):
    classes = sorted(path for path in pathlib.Path(folder).iterdir() if path.is_dir())
    items = [(path, label) for label, c in enumerate(classes) for path in sorted(c.iterdir())]
    if int(processes) == 1:
        records = [record(item) for item in items]
    else:
        with multiprocessing.Pool(int(processes)) as pool:
            records = pool.map(record, items, chunksize=100)
    records = np.stack(records)[np.random.default_rng(0).permutation(len(items))]
    n_test = len(items) // 10
    pathlib.Path(out).mkdir()
    records[n_test:].tofile(pathlib.Path(out) / "data_batch_1.bin")
    records[:n_test].tofile(pathlib.Path(out) / "test_batch.bin")


began = time.perf_counter()
{"make": make, "import": import_}[sys.argv[1]](*sys.argv[2:])
peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(f"{time.perf_counter() - began:.2f} s, {peak / 1024:.0f} MiB")
