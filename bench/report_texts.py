"""The fixed texts of the report."""

from __future__ import annotations

HEAD = """\
# Benchmark: the hub against a naive baseline

From Kafka to the socket, both in the same run on the same services; written by `make bench`. The baseline
([bench/naive.py](../../bench/naive.py)) is a typical first implementation: `async for message in consumer`,
one ORM insert and commit for each event, `await ws.send(json)` on Sanic's own WebSocket.
"""

HOW = """\
## How it is measured

- **Full speed.** The events (without `event_id`) are published to Kafka while the server is stopped
  (SIGSTOP), so publishing costs it nothing; then it continues. Throughput is the number of notifications
  divided by the time from the first frame at a socket to the last, the median of the rounds. Caches are
  warm: every user has received notifications before.
- **Loss.** Each event carries a serial number in an unknown field of `data`. The generator counts the
  copies of each, and on each of the hub's connections `seq` must increase by exactly one. Then the rows in
  the table are counted.
- **Paced.** Events are published at a steady rate, independent of the server. Each contains the monotonic
  time of its creation; latency is the time until its frame is read. If the baseline cannot keep up with the
  rate, its latency is the length of its queue. The seconds marked as warming up are the same load just
  before, shown but not counted: the JVM of a fresh Kafka compiles its code then, on the same cores
  (measured by thread on two cores: C1 and C2 took half a core for about 12 s).
- **CPU** is the user and system time of the process (Postgres: with all backends) in the round, per
  notification, by psutil. "Other programs" is what the rest of the machine used at the same time: the
  noise.
- **The generator** is a separate process with a minimal frame parser on uvloop; its share of a core shows
  that it is not the bottleneck.
- **Idle connections.** The growth of the server's RSS divided by the growth in connections, from 100
  connections to 3 s after the last; garbage collection is not forced. Tasks are counted inside the process:
  the server runs in [bench/harness.py](../../bench/harness.py), which serves the same app, and answers a
  signal with `len(asyncio.all_tasks())`. All other cases run `python run.py` itself.
- **The bus.** CPU time of the publishing process (`process_time`) for the hub's own calls, one target node.
  A publication also needs a look-up and the frames, shown in separate columns.
- **All come back at once.** All clients are disconnected, miss some notifications, and reconnect at the
  same moment, with `?after=`. A client is done when it has received the missed ones and `resumed`. A
  refused client retries after about a second.
- **Readers that stop.** Additional connections of 1% of the users, with a receive buffer of 4 KB, in a
  process that gets SIGSTOP. The same load runs four times: without, with, without, with.
- **Mail.** The hub's email channel and the alternatives render the same mail from its template and send it
  to the same server with STARTTLS and a login, over four connections; a proxy adds latency. The goal
  applies at 20 ms, against the better alternative.
- **Transports.** One hub, one transport after the other, the same events. Events for Kafka, RabbitMQ and
  the Redis stream are published while the hub is stopped, and measured from the first frame to the last.
  Over HTTP a separate process sends prepared requests over persistent connections: 500 notifications in
  each of 4 concurrent requests, or one in each of 64; measured from the first request to the last frame.
  "What feeds it" is Kafka, RabbitMQ, Redis (which also serves the rest of the hub) or that process.
- **Broadcasts.** One event for the followers of a topic, whom COPY has written and who are not connected,
  is processed beside a paced load. Its rate is that of `BROADCAST_RATE`, if that allows no more.
- Postgres syncs every commit to disk. The hub's settings are the production defaults, at log level warning.
"""
