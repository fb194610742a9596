"""Prints what TensorBoard's data server has of a folder of event files, as its page asks for it.

usage: read.py FOLDER

JSON on standard output: of each run, of each scalar, its points as [step, seconds since 1970, value].
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import grpc
import tensorboard_data_server
from tensorboard.context import RequestContext
from tensorboard.data import grpc_provider
from tensorboard.data.proto import data_provider_pb2_grpc

MOST_SECONDS = 60


def port(file, server):
    """The port that the server listens on, once it has written it into a file."""
    began = time.monotonic()
    while time.monotonic() - began < MOST_SECONDS:
        text = file.read_text() if file.exists() else ""
        if text.endswith("\n"):
            return int(text)
        if server.poll() is not None:
            raise SystemExit(f"the data server ended with {server.returncode}")
        time.sleep(0.01)
    raise SystemExit(f"the data server did not listen within {MOST_SECONDS} s")


def main():
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "port"
        command = [tensorboard_data_server.server_binary(), "--logdir", sys.argv[1], "--port", "0"]
        command += ["--port-file", file, "--die-after-stdin", "--reload", "once", "--checksum"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as server:
            address = f"localhost:{port(file, server)}"
            with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
                grpc.channel_ready_future(channel).result(MOST_SECONDS)
                stub = data_provider_pb2_grpc.TensorBoardDataProviderStub(channel)
                runs = settled(grpc_provider.GrpcDataProvider(address, stub))
            server.stdin.close()
    print(json.dumps(runs))


def scalars(provider):
    of = {"experiment_id": "", "plugin_name": "scalars"}
    runs = provider.read_scalars(RequestContext(), downsample=1_000_000, **of)
    return {
        run: {tag: [[point.step, point.wall_time, point.value] for point in points] for tag, points in tags.items()}
        for run, tags in runs.items()
    }


def settled(provider):
    """What the server has once it reads no more."""
    began = time.monotonic()
    before, now = None, scalars(provider)
    while now != before or not now:
        if time.monotonic() - began > MOST_SECONDS:
            raise SystemExit(f"the data server read nothing within {MOST_SECONDS} s")
        time.sleep(0.2)
        before, now = now, scalars(provider)
    return now


if __name__ == "__main__":
    main()
