"""Times `data import idx` and `data import cifar10` beside NumPy, and Pillow, doing the same.

    python3 -m venv .venv-import && .venv-import/bin/pip install numpy pillow
    cargo build --release
    .venv-import/bin/python benches/import/compare.py [--engine FILE] [--work DIR] [--repeats N]

Makes up 60,000 + 10,000 images of 28x28 that compress as MNIST's do, and CIFAR-10's Python version with
made-up pixels (5 + 1 batches of 10,000, pickled as Python 2 did). The other side reads, pads and repeats (all images at once by NumPy, or
one by one by Pillow, as data sets of torchvision do), puts the images in a shuffled order and writes records of
3,073 bytes; it neither syncs nor computes the SHA-256 that the engine does. Wall and processor seconds are of whole processes, the least of the repeats, and so is the peak of
anonymous memory, looked at every 3 ms; both sides alternate.
"""
import argparse
import gzip
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time

import numpy as np

PARTS = (("train", 60_000), ("t10k", 10_000))


def idx(array):
    sizes = b"".join(struct.pack(">I", size) for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def strokes(n, rng):
    """Blurred strokes on black: four fifths zeros, as digits are."""
    y, x = np.mgrid[:28, :28].astype(np.float32)
    images = np.zeros((n, 28, 28), np.uint8)
    for image in images:
        (ay, ax), (by, bx) = rng.uniform(6, 22, (2, 2))
        t = np.clip(((y - ay) * (by - ay) + (x - ax) * (bx - ax)) / ((by - ay) ** 2 + (bx - ax) ** 2 + 1), 0, 1)
        distance = np.hypot(y - ay - t * (by - ay), x - ax - t * (bx - ax))
        image[:] = np.where(distance < 3, 255 * np.exp(-distance**2 / 3) + rng.integers(0, 8, (28, 28)), 0).clip(0, 255)
    return images


def batch(pixels, labels):
    """The pickle of a batch as Python 2's cPickle wrote it with protocol 2."""
    n = len(labels)
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return (
        b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(" + numbers + b"eU\x04dataq\x04cnumpy.core.multiarray\n_reconstruct\n"
        b"q\x05cnumpy\nndarray\nq\x06K\x00\x85q\x07U\x01b\x87Rq\x08(K\x01M" + struct.pack("<H", n)
        + b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", n * 3072) + pixels.tobytes() + b"tbu."
    )


def make(work):
    rng = np.random.default_rng(1)
    if (work / "made").exists():
        return
    for folder in ("plain", "gz", "cifar-10-batches-py"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    for part, n in PARTS:
        files = {"images-idx3": strokes(n, rng), "labels-idx1": rng.integers(0, 10, n).astype(np.uint8)}
        for name, array in files.items():
            (work / "plain" / f"{part}-{name}-ubyte").write_bytes(idx(array))
            with gzip.open(work / "gz" / f"{part}-{name}-ubyte.gz", "wb", 9) as file:
                file.write(idx(array))
    import pickle
    folder = work / "cifar-10-batches-py"
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        pixels = rng.integers(0, 256, (10_000, 3072)).astype(np.uint8)
        (folder / name).write_bytes(batch(pixels, rng.integers(0, 10, 10_000)))
    names = {"label_names": [f"class {i}" for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, 2))
    subprocess.run(["tar", "czf", "cifar-10-python.tar.gz", "cifar-10-batches-py"], cwd=work, check=True)
    (work / "made").touch()


def by_numpy(images):
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(-1, 1, 1024)
    return np.repeat(padded, 3, axis=1).reshape(-1, 3072)


def by_pillow(images):
    from PIL import Image, ImageOps
    coloured = (ImageOps.expand(Image.fromarray(image), 2).convert("RGB") for image in images)
    return np.stack([np.asarray(image).transpose(2, 0, 1).ravel() for image in coloured])


def idx_by(padded):
    return lambda folder, out: import_idx(folder, out, padded)


def import_idx(folder, out, padded):
    """What a script does without the engine."""
    out.mkdir()
    for part, name in (("train", "data_batch_1.bin"), ("t10k", "test_batch.bin")):
        arrays = []
        for kind in ("images-idx3", "labels-idx1"):
            path = folder / f"{part}-{kind}-ubyte"
            if path.exists():
                data = path.read_bytes()
            else:
                with gzip.open(f"{path}.gz") as file:
                    data = file.read()
            shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
            arrays.append(np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape))
        images, labels = arrays
        records = np.concatenate([labels[:, None], padded(images)], axis=1)
        records[np.random.default_rng(0).permutation(len(records))].tofile(out / name)


def import_cifar(source, out):
    import pickle
    import tarfile
    out.mkdir()
    if source.is_dir():
        opened = lambda name: open(source / name, "rb")
    else:
        tar = tarfile.open(source)
        opened = lambda name: tar.extractfile(f"cifar-10-batches-py/{name}")
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        with opened(name) as file:
            entry = pickle.load(file, encoding="latin1")
        labels = np.array(entry["labels"], np.uint8)[:, None]
        np.concatenate([labels, entry["data"]], axis=1).tofile(out / f"{name}.bin")


def timed(command, out):
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, anonymous(process.pid))
        time.sleep(0.003)
    wall = time.perf_counter() - begun
    assert status == 0, command
    size = sum(path.stat().st_size for path in out.glob("*.bin"))
    return wall, used.ru_utime + used.ru_stime, peak / 1024, size


def anonymous(pid):
    """KiB of memory that is no file's. (ru_maxrss counts mapped files, and begins with the parent's.)"""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("RssAnon")), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", default="target/release/nas-engine")
    parser.add_argument("--work", type=pathlib.Path, default="target/import-bench")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--other", nargs=3, help="internal: how, source, folder to write")
    arguments = parser.parse_args()
    others = {"idx numpy": idx_by(by_numpy), "idx pillow": idx_by(by_pillow), "cifar10 numpy": import_cifar}
    if arguments.other:
        how, source, out = arguments.other
        others[how](pathlib.Path(source), pathlib.Path(out))
        return
    work = arguments.work
    make(work)
    print("| import of | engine, wall s | CPU s | MiB | other | its wall s | CPU s | MiB | ratio, wall | CPU |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for how, source in (("idx numpy", "plain"), ("idx pillow", "plain"), ("idx numpy", "gz"), ("idx pillow", "gz"),
                        ("cifar10 numpy", "cifar-10-batches-py"), ("cifar10 numpy", "cifar-10-python.tar.gz")):
        out = work / "out"
        kind, other = how.split()
        engine = [arguments.engine, "data", "import", kind, work / source, "--out", out, "--quiet"]
        numpy = [sys.executable, __file__, "--other", how, work / source, out]
        runs = [[timed(command, out) for command in (engine, numpy)] for _ in range(arguments.repeats)]
        assert all(run[0][3] == run[1][3] for run in runs), "both write as many bytes"
        least = [[min(run[side][what] for run in runs) for what in range(3)] for side in range(2)]
        (ew, ec, em), (nw, nc, nm) = least
        print(f"| {kind}, {source} | {ew:.2f} | {ec:.2f} | {em:.0f} | {other} | {nw:.2f} | {nc:.2f} | {nm:.0f} "
              f"| {nw / ew:.1f} | {nc / ec:.1f} |", flush=True)
    shutil.rmtree(work / "out", ignore_errors=True)


main()
