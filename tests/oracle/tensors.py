"""Safetensors files as dicts of numpy arrays: the few lines of the format that the oracle needs."""

import json
import struct

import numpy as np

TYPES = {"F64": np.float64, "F32": np.float32, "U8": np.uint8}


def read(path):
    data = path.read_bytes()
    (header_len,) = struct.unpack_from("<Q", data)
    body = 8 + header_len
    arrays = {}
    for name, info in json.loads(data[8:body]).items():
        if name != "__metadata__":
            begin, end = info["data_offsets"]
            values = np.frombuffer(data[body + begin : body + end], TYPES[info["dtype"]])
            arrays[name] = values.reshape(info["shape"])
    return arrays


def write(path, arrays):
    """Writes everything as F64."""
    header, parts, offset = {}, [], 0
    for name, array in arrays.items():
        part = np.ascontiguousarray(array, np.float64).tobytes()
        span = [offset, offset + len(part)]
        header[name] = {"dtype": "F64", "shape": list(np.shape(array)), "data_offsets": span}
        offset += len(part)
        parts.append(part)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
