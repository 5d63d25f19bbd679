"""The report: a line while it runs, a Markdown page, plots, and the raw figures."""

from __future__ import annotations

from functools import singledispatch
from pathlib import Path

import msgspec

from bench import plots
from bench.results import BusCost, FullSpeed, Idle, MailRate, Paced, Results, Stopped, Storm, receivers

GOAL_BUS_US, GOAL_GONE_SECONDS, GOAL_P99_RATIO, GOAL_MEMORY_RATIO = 1.0, 10, 1.2, 1.1
GOAL_MAIL_RATIO = 5
GOAL_RATIO, GOAL_P99_MS, GOAL_BYTES, GOAL_TASKS = 15, 50, 6 * 1024, 0
_NAMES = {"hub": "the hub", "naive": "the baseline"}


@singledispatch
def line(result: object) -> str:
    """One line about one result."""
    raise TypeError(type(result))


@line.register
def _(result: FullSpeed) -> str:
    rates = ", ".join(f"{each.rate:,.0f}" for each in result.rounds)
    return (
        f"{_NAMES[result.target]}, {receivers(result.fan_out)}: {result.rate:,.0f}/s (rounds: {rates}), "
        f"{result.cpu('server'):.0f} µs CPU a notification, {_losses(result.problems)}"
    )


@line.register
def _(result: Paced) -> str:
    found = ", ".join(f"{name} {result.milliseconds.get(name, 0):.1f} ms" for name in ("p50", "p99", "max"))
    return f"{_NAMES[result.target]} at {result.reached:,.0f}/s: {found}, {_losses(result.problems)}"


@line.register
def _(result: Idle) -> str:
    return (
        f"{_NAMES[result.target]}, {result.connections:,} idle connections: "
        f"{result.bytes_each / 1024:.1f} KB and {result.tasks_each:.2f} tasks each"
    )


@line.register
def _(result: BusCost) -> str:
    return (
        f"the bus, {result.batch} a batch: {result.published:.2f} µs CPU a notification to publish, "
        f"{result.looked_up:.2f} to look up, {result.received:.2f} to receive"
    )


@line.register
def _(result: Storm) -> str:
    half, most, last = result.seconds
    return (
        f"{result.clients:,} clients came back: half in {half:.1f} s, 99% in {most:.1f} s, all in "
        f"{last:.1f} s; refused: {_refusals(result)}; Postgres connections {result.postgres_connections} of "
        f"{result.postgres_pool}; {_losses(result.problems)}"
    )


@line.register
def _(result: Stopped) -> str:
    closed = ", ".join(f"{seconds:.1f} s" for seconds in result.closed_after)
    return (
        f"{result.stopped} of {result.connections:,} readers stopped: gone after {closed}, "
        f"p99 of the others × {result.p99_ratio:.2f}, memory × {result.memory:.2f}, "
        f"{_losses(result.problems)}"
    )


@line.register
def _(result: MailRate) -> str:
    return (
        f"mail, the server {result.round_trip:g} ms away: {result.pooled:,.0f}/s, one connection a mail "
        f"{result.shared_context:,.0f}/s, by aiosmtplib.send {result.one_each:,.0f}/s: × {result.ratio:.1f}"
    )


def problems(results: Results) -> list[str]:
    """What the hub lost, doubled or disordered; empty is what it should be."""
    compared: list[FullSpeed | Paced] = [*results.full_speed, *results.paced]
    found = [problem for each in compared if each.target == "hub" for problem in each.problems]
    crowds: list[Storm | Stopped] = [*results.storm, *results.stopped]
    return found + [problem for each in crowds for problem in each.problems]


def ratio(results: Results) -> float | None:
    """How many times the baseline's throughput the hub's is, one receiver an event."""
    rates = {each.target: each.rate for each in results.full_speed if each.fan_out == 1}
    return rates["hub"] / rates["naive"] if {"hub", "naive"} <= rates.keys() else None


def write(results: Results, folder: Path) -> None:
    """Write README.md, results.json and the plots into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = msgspec.json.format(msgspec.json.encode(results), indent=1)
    (folder / "results.json").write_bytes(raw + b"\n")
    drawn = plots.draw(results, folder)
    pictures = "\n".join(f"![{title}]({path.name})\n" for path, title in drawn)
    (folder / "README.md").write_text(f"{markdown(results)}\n{pictures}", "utf-8")


def markdown(results: Results) -> str:
    """The report without its pictures."""
    parts = [
        _HEAD,
        _verdict(results),
        *_throughput(results),
        *_latency(results),
        *_connections(results),
        *_bus(results),
        *_storm(results),
        *_stopped(results),
        *_mail(results),
    ]
    return "\n".join([*parts, _conditions(results), _HOW])


def _verdict(results: Results) -> str:
    """Each goal with what was reached; only of the cases that ran."""
    rows = []
    if times := ratio(results):
        met = times >= GOAL_RATIO
        rows.append(("throughput against the baseline", f"≥ {GOAL_RATIO} ×", f"{times:.1f} ×", met))
    for paced in (each for each in results.paced if each.target == "hub"):
        p99 = paced.milliseconds.get("p99", float("inf"))
        what = f"p99 latency at {paced.rate:,.0f}/s"
        rows.append((what, f"< {GOAL_P99_MS} ms", f"{p99:.1f} ms", p99 < GOAL_P99_MS))
    for idle in (each for each in results.idle if each.target == "hub"):
        size, tasks = idle.bytes_each, idle.tasks_each
        rows.append(("memory a connection", "≤ 6 KB", f"{size / 1024:.1f} KB", size <= GOAL_BYTES))
        rows.append(("tasks a connection", "0", f"{tasks:.2f}", tasks <= GOAL_TASKS))
    for bus in results.bus:
        what = f"publishing over the bus, {bus.batch} a batch"
        rows.append((what, "≤ 1 µs", f"{bus.published:.2f} µs", bus.published <= GOAL_BUS_US))
    for storm in results.storm:
        taken = f"{storm.postgres_connections} of {storm.postgres_pool}"
        what = f"{storm.clients:,} come back: Postgres connections"
        met = storm.postgres_connections < storm.postgres_pool
        rows.append((what, "never all", taken, met))
    for stopped in results.stopped:
        gone = max(stopped.closed_after)
        rows.append(("stopped readers are gone", "≤ 10 s", f"{gone:.1f} s", gone <= GOAL_GONE_SECONDS))
        times, met = stopped.p99_ratio, stopped.p99_ratio <= GOAL_P99_RATIO
        rows.append(("p99 of the others", "≤ 1.2 ×", f"{times:.2f} ×", met))
        met = stopped.memory <= GOAL_MEMORY_RATIO
        rows.append(("memory with them", "≤ 1.1 ×", f"{stopped.memory:.2f} ×", met))
    for mail in (each for each in results.mail if each.round_trip):
        what = f"mails over kept connections, {mail.round_trip:g} ms away"
        rows.append((what, f"≥ {GOAL_MAIL_RATIO} ×", f"{mail.ratio:.1f} ×", mail.ratio >= GOAL_MAIL_RATIO))
    lost = problems(results)
    rows.append(("lost, doubled or out of order", "0", "; ".join(lost) or "0", not lost))
    table = [f"| {what} | {goal} | {found} | {_mark(met)} |" for what, goal, found, met in rows]
    return "\n".join(["| | goal | this run | |", "|---|---|---|---|", *table, ""])


def _throughput(results: Results) -> list[str]:
    if not results.full_speed:
        return []
    return [
        "## Full speed\n",
        "| | notifications/s (rounds) | CPU of the server | of Postgres | of Kafka | generator, of a core "
        "| other programs, of a core | lost, doubled, out of order |",
        "|---|---|---|---|---|---|---|---|",
        *(_throughput_row(each) for each in results.full_speed),
        "",
    ]


def _throughput_row(result: FullSpeed) -> str:
    rates = ", ".join(f"{each.rate:,.0f}" for each in result.rounds)
    cells = (
        f"{_NAMES[result.target]}, {receivers(result.fan_out)}",
        f"**{result.rate:,.0f}** ({rates})",
        *(f"{result.cpu(name):.0f} µs" for name in ("server", "postgres", "broker")),
        f"{result.share('generator'):.0%}",
        f"{result.share('others'):.0%}",
        _losses(result.problems),
    )
    return f"| {' | '.join(cells)} |"


def _latency(results: Results) -> list[str]:
    if not results.paced:
        return []
    return [
        "## Paced\n",
        "| | events/s | p50 | p90 | p99 | p99.9 | max | CPU of the server | lost, doubled, out of order |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row for each in results.paced for row in _latency_rows(each)),
        "",
    ]


def _latency_rows(result: Paced) -> list[str]:
    """What counts, and what came before it."""
    name, rate = _NAMES[result.target], f"{result.reached:,.0f}"
    rest = f"{result.cpu('server'):.0f} µs | {_losses(result.problems)}"
    return [
        f"| {name} | {rate} | {_steps(result.milliseconds)} | {rest} |",
        f"| {name}, warming up | {rate} | {_steps(result.warming)} | | |",
    ]


def _steps(milliseconds: dict[str, float]) -> str:
    steps = ("p50", "p90", "p99", "p99.9", "max")
    return " | ".join(f"{milliseconds.get(name, float('nan')):.1f} ms" for name in steps)


def _connections(results: Results) -> list[str]:
    if not results.idle:
        return []
    rows = [
        f"| {_NAMES[each.target]} | {each.connections:,} | {each.bytes_each / 1024:.1f} KB "
        f"| {each.tasks_each:.2f} | {each.connections / each.seconds_to_connect:,.0f}/s |"
        for each in results.idle
    ]
    head = ["| | connections | memory each | tasks each | accepted |", "|---|---|---|---|---|"]
    return ["## Idle connections\n", *head, *rows, ""]


def _bus(results: Results) -> list[str]:
    if not results.bus:
        return []
    head = (
        "| | each awaited | in a pipeline | **packed, as the hub does** | look-up | frame | receiving |",
        "|---|---|---|---|---|---|---|",
    )
    rows = [
        f"| CPU a notification, {each.batch} a batch | {each.each_awaited:.0f} µs | {each.pipelined:.1f} µs "
        f"| **{each.published:.2f} µs** | {each.looked_up:.2f} µs | {each.rendered:.2f} µs "
        f"| {each.received:.2f} µs |"
        for each in results.bus
    ]
    return ["## The bus\n", *head, *rows, ""]


def _storm(results: Results) -> list[str]:
    if not results.storm:
        return []
    head = (
        "| | missed, each | half are back | 99% | all | CPU of the server | refused on the way "
        "| Postgres connections | lost, doubled, out of order |",
        "|---|---|---|---|---|---|---|---|---|",
    )
    rows = [
        f"| {each.clients:,} clients | {each.missed} | {' | '.join(f'{s:.1f} s' for s in each.seconds)} "
        f"| {each.usage.cpu['server'] / each.clients * 1e6:.0f} µs a client | {_refusals(each)} "
        f"| {each.postgres_connections} of {each.postgres_pool} | {_losses(each.problems)} |"
        for each in results.storm
    ]
    return ["## All come back at once\n", *head, *rows, ""]


def _refusals(storm: Storm) -> str:
    return ", ".join(f"{count:,} × {why}" for why, count in sorted(storm.refusals.items())) or "none"


def _stopped(results: Results) -> list[str]:
    if not results.stopped:
        return []
    head = (
        "| | events/s | gone after | p99 of the others without | with | memory with, over without "
        "| lost, doubled, out of order |",
        "|---|---|---|---|---|---|---|",
    )
    rows = [
        f"| {each.stopped} of {each.connections:,} | {each.rate:,.0f} "
        f"| {', '.join(f'{s:.1f} s' for s in each.closed_after)} "
        f"| {', '.join(f'{ms:.1f} ms' for ms in each.p99_without)} "
        f"| {', '.join(f'{ms:.1f} ms' for ms in each.p99_with)} | {each.memory:.2f} "
        f"| {_losses(each.problems)} |"
        for each in results.stopped
    ]
    return ["## Readers that stop\n", *head, *rows, ""]


def _mail(results: Results) -> list[str]:
    if not results.mail:
        return []
    head = (
        "| server | mails/s over kept connections | one connection a mail, one TLS context for all "
        "| one `aiosmtplib.send` a mail |",
        "|---|---|---|---|",
    )
    rows = [
        f"| {each.round_trip:g} ms away | **{each.pooled:,.0f}** "
        f"| {_times(each.pooled, each.shared_context)} | {_times(each.pooled, each.one_each)} |"
        for each in results.mail
    ]
    return ["## Mail\n", *head, *rows, ""]


def _times(ours: float, theirs: float) -> str:
    return f"{theirs:,.0f} (kept: {ours / theirs:.1f} ×)"


def _conditions(results: Results) -> str:
    machine = results.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    lines = (
        f"- {machine.date}, code: {machine.code}",
        f"- `{machine.command}`",
        f"- {machine.cpu}, {machine.cores} cores, {machine.memory_gb} GB, {machine.system}",
        "- All of it runs there: server, Postgres, Redis, Kafka and the load generator. Load average before "
        f"the run: {machine.load_before}",
        f"- {'; '.join(machine.services)}",
        f"- {versions}",
    )
    return "\n".join(["## Machine and run\n", *lines, ""])


def _losses(found: list[str]) -> str:
    return "; ".join(found) or "none"


def _mark(met: bool) -> str:
    return "✓" if met else "✗ **missed**"


_HEAD = """\
# Benchmark: the hub against a naive baseline

Kafka to socket, both in the same run on the same services; written by `make bench`. The baseline
([bench/naive.py](../../bench/naive.py)) is what people write first: `async for message in consumer`, one ORM
insert and commit an event, `await ws.send(json)` on Sanic's own WebSocket.
"""

_HOW = """\
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
  server with STARTTLS and a login, over four connections at once; a proxy makes the way to it longer. The
  goal is for 20 ms, against the better of the others.
- Postgres syncs every commit to disk. The hub's settings are the production defaults, at log level warning.
"""
