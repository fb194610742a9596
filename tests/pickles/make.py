"""Makes the pickles that the tests of `data import cifar10` and `cifar100` read.

    python2.7 -m pip install --target py27 numpy==1.16.6
    PYTHONPATH=py27 python2.7 tests/pickles/make.py two     # CIFAR's layout as Python 2 wrote it
    python3 tests/pickles/make.py three                     # the same dictionaries by Python 3, and bad ones

The archives of the first are of torchvision's layout, with 4 made-up images a batch; the tests compute the
same pixels and labels by the formulas below.
"""
from __future__ import print_function
import io, os, sys, tarfile
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
N = 4


def pixels(batch):
    i, j = np.mgrid[:N, :3072]
    return ((31 * batch + 7 * i + j // 5) % 256).astype(np.uint8)


def labels(batch, classes):
    return [(batch + 3 * i) % classes for i in range(N)]


def names(batch):
    return ["picture_s_%06d.png" % (N * batch + i) for i in range(N)]


def ten(batch):
    label = "testing batch 1 of 1" if batch == 0 else "training batch %d of 5" % batch
    return {"batch_label": label, "labels": labels(batch, 10), "data": pixels(batch), "filenames": names(batch)}


def hundred(batch):
    return {"filenames": names(batch), "batch_label": "testing batch 1 of 1", "fine_labels": labels(batch, 100),
            "coarse_labels": labels(batch, 20), "data": pixels(batch)}


def archive(name, members):
    # No times and no owner, so that the same script makes the same bytes.
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in members:
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    import gzip
    with open(os.path.join(HERE, name), "wb") as f:
        with gzip.GzipFile("", "wb", 9, f, 0) as packed:
            packed.write(out.getvalue())


def two():
    import cPickle
    dumps = lambda value: cPickle.dumps(value, 2)
    meta = {"num_cases_per_batch": N, "label_names": ["class %d" % i for i in range(10)], "num_vis": 3072}
    batches = [("test_batch", ten(0))] + [("data_batch_%d" % b, ten(b)) for b in range(1, 6)]
    # In the order of the published archive: names after the first batches.
    batches = [batches[4], batches[0], batches[3], ("batches.meta", meta), batches[2], batches[5], batches[1]]
    archive("cifar-10-python.tar.gz", [("cifar-10-batches-py/" + name, dumps(b)) for name, b in batches])
    meta = {"fine_label_names": ["fine %d" % i for i in range(100)],
            "coarse_label_names": ["coarse %d" % i for i in range(20)]}
    parts = [("meta", meta), ("test", hundred(0)), ("train", hundred(1))]
    archive("cifar-100-python.tar.gz", [("cifar-100-python/" + name, dumps(b)) for name, b in parts])


class Evil(object):
    def __reduce__(self):
        return (os.system, ("true",))


def three():
    import collections, pickle
    members = []
    for protocol in range(6):
        members.append(("good/protocol-%d" % protocol, pickle.dumps(ten(1), protocol)))
        # As `pickle.load(f, encoding="bytes")` reads the published files.
        in_bytes = {key.encode(): value for key, value in ten(1).items()}
        members.append(("good/bytes-%d" % protocol, pickle.dumps(in_bytes, protocol)))
    members.append(("good/array-labels", pickle.dumps(dict(ten(1), labels=np.array(labels(1, 10))), 4)))
    members.append(("good/big-endian-labels",
                    pickle.dumps(dict(ten(1), labels=np.array(labels(1, 10), ">i2")), 2)))
    members.append(("good/four-dimensions", pickle.dumps(dict(ten(1), data=pixels(1).reshape(N, 3, 32, 32)), 5)))
    bad = {
        "evil": Evil(), "evil-label": dict(ten(1), labels=[Evil()]),
        "ordered": collections.OrderedDict(ten(1)), "set": dict(ten(1), labels={1, 2}),
        "complex": dict(ten(1), labels=[1j] * N), "list": list(ten(1).items()),
        "floats": dict(ten(1), data=pixels(1).astype(np.float32)),
        "objects": dict(ten(1), data=np.array([None, "x"], object)),
        "fields": dict(ten(1), data=np.zeros(2, [("a", "u1"), ("b", "u1")])),
        "columns": dict(ten(1), data=np.asfortranarray(pixels(1))),
        "rows": dict(ten(1), data=pixels(1)[:, :3071].copy()), "few-labels": dict(ten(1), labels=[1, 2]),
        "text-labels": dict(ten(1), labels=["cat"] * N), "large-label": dict(ten(1), labels=[300] * N),
        "negative-label": dict(ten(1), labels=[-1] * N), "scalars": dict(ten(1), labels=list(np.arange(N))),
        "no-data": {"labels": labels(1, 10)}, "flat": dict(ten(1), data=pixels(1).ravel()),
        "masked": dict(ten(1), data=np.ma.masked_equal(pixels(1), 3)),
    }
    members += [("bad/" + name, pickle.dumps(value, 2)) for name, value in sorted(bad.items())]
    archive("repickled.tar.gz", members)


{"two": two, "three": three}[sys.argv[1]]()
