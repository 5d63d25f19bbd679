"""The fixed texts of the report."""

from __future__ import annotations

HEAD = """\
# Benchmark: the hub against a naive baseline

Kafka to socket, both in the same run on the same services; written by `make bench`. The baseline
([bench/naive.py](../../bench/naive.py)) is what people write first: `async for message in consumer`, one ORM
insert and commit an event, `await ws.send(json)` on Sanic's own WebSocket.
"""

HOW = """\
## How it is measured

- **Full speed.** The events (without `event_id`) are put into Kafka while the server is stopped (SIGSTOP),
  so making them costs it nothing; then it is let go. Throughput is notifications over the time from the first
  frame at a socket to the last, the median of the rounds. All is warm: every user has had some before.
- **Loss.** Each event carries a serial number in an unknown field of `data`. The generator counts the copies
  of each, and on each of the hub's connections `seq` has to go up by exactly one. After that the rows in the
  table are counted.
- **Paced.** Events are published at a steady rate, whatever becomes of them. Each carries the monotonic clock
  at its making; latency is from there to the moment its frame is read. The baseline may not hold the rate:
  its latency is then the length of its queue. The seconds marked as warming up are the same load just before,
  shown but not counted: a fresh Kafka's JVM compiles its code meanwhile, on the same cores (seen by thread on
  two cores: C1 and C2 took half a core for some 12 s).
- **CPU** is user and system time of the process (Postgres: with all backends) over the round, by psutil, a
  notification. "Other programs" is what the rest of the machine used meanwhile: the noise.
- **The generator** is a process of its own, with a minimal frame parser on uvloop; its share of a core shows
  that it is not what limits.
- **Idle connections.** Growth of the server's RSS over the growth in connections, from 100 connected to 3 s
  after the last; no collection is forced. Tasks are counted inside the process: the server runs in
  [bench/harness.py](../../bench/harness.py), which makes and serves the same app, and answers a signal with
  `len(asyncio.all_tasks())`. All other cases run `python run.py` itself.
- **The bus.** CPU time of the publishing process (`process_time`) by the hub's own calls, one target node. A
  publication needs a look-up and the frames as well, which stand beside it.
- **All come back at once.** Everybody is dropped, misses some, and connects again at one moment, with
  `?after=`; done is who got what was missed and `resumed`. Who is refused tries again after about a second.
- **Readers that stop.** Further connections of 1% of the users, with a receive buffer of 4 KB, in a process
  that gets SIGSTOP. The same load runs four times: without, with, without, with.
- **Mail.** The hub's email channel and the others make the same mail from its template, hand it to the same
  server with STARTTLS and a login, over four connections at once; a proxy adds latency. The
  goal is for 20 ms, against the better of the others.
- **Transports.** One hub, one transport after the other, the same events. What Kafka, RabbitMQ and the
  Redis stream bring is put there while the hub is stopped, and counted from the first frame to the last. Over
  HTTP a process of its own sends requests that were made beforehand, over kept connections: 500 notifications
  in each of 4 at once, or one in each of 64; counted from the first request to the last frame. "What feeds
  it" is Kafka, RabbitMQ, Redis (which serves the rest of the hub as well) or that process.
- Postgres syncs every commit to disk. The hub's settings are the production defaults, at log level warning.
"""
