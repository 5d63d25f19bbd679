"""The report: a line while it runs, a Markdown page, plots, and the raw figures."""

from __future__ import annotations

from functools import singledispatch
from pathlib import Path

import msgspec

from bench import plots
from bench.report_texts import HEAD, HOW
from bench.results import (
    HTTP_BULK,
    BroadcastRun,
    BusCost,
    FullSpeed,
    Idle,
    MailRate,
    Paced,
    Results,
    Rounds,
    Stopped,
    Storm,
    TransportResult,
    receivers,
)

GOAL_BUS_US, GOAL_GONE_SECONDS, GOAL_P99_RATIO, GOAL_MEMORY_RATIO = 1.0, 10, 1.2, 1.1
GOAL_MAIL_RATIO = 5
GOAL_BROADCAST_P99_RATIO = 2.0
GOAL_BULK_RATE = 5000
GOAL_RATIO, GOAL_P99_MS, GOAL_BYTES, GOAL_TASKS = 15, 50, 6 * 1024, 0
_NAMES = {"hub": "the hub", "naive": "the baseline"}


@singledispatch
def line(result: object) -> str:
    """One line about one result."""
    raise TypeError(type(result))


@line.register
def _(result: FullSpeed) -> str:
    return f"{_NAMES[result.target]}, {receivers(result.fan_out)}: {_speed(result)}"


@line.register
def _(result: Paced) -> str:
    found = ", ".join(f"{name} {result.milliseconds.get(name, 0):.1f} ms" for name in ("p50", "p99", "max"))
    return f"{_NAMES[result.target]} at {result.reached:,.0f}/s: {found}, {_losses(result.problems)}"


@line.register
def _(result: Idle) -> str:
    return (
        f"{_NAMES[result.target]}, {result.connections:,} idle connections: "
        f"{result.bytes_each / 1024:.1f} KB and {result.tasks_each:.2f} tasks each, "
        f"{_measured(result.cpu_share, '{:.1%} of a core')}, "
        f"{_measured(result.redis_bytes and result.redis_bytes / 1000, '{:,.1f} KB/s')} to and from Redis"
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
def _(result: BroadcastRun) -> str:
    p99 = f"{result.p99_meanwhile:.1f} ms (worst {result.p99_worst:.1f}, calm {result.p99_calm:.1f})"
    return (
        f"a broadcast to {result.people:,} people: {result.people / max(result.seconds, 0.001):,.0f}/s, "
        f"beside {result.rate:,.0f} events/s with a p99 of {p99}, memory × {result.memory:.2f}, "
        f"{_losses(result.problems)}"
    )


@line.register
def _(result: MailRate) -> str:
    return (
        f"mail, the server {result.round_trip:g} ms away: {result.pooled:,.0f}/s, one connection a mail "
        f"{result.shared_context:,.0f}/s, by aiosmtplib.send {result.one_each:,.0f}/s: × {result.ratio:.1f}"
    )


@line.register
def _(result: TransportResult) -> str:
    return f"{result.transport}: {_speed(result)}"


def _speed(result: Rounds) -> str:
    rates = ", ".join(f"{each.rate:,.0f}" for each in result.rounds)
    return (
        f"{result.rate:,.0f}/s (rounds: {rates}), {result.cpu('server'):.0f} µs CPU a notification, "
        f"{_losses(result.problems)}"
    )


def problems(results: Results) -> list[str]:
    """What the hub lost, doubled or disordered; empty is what it should be."""
    compared: list[FullSpeed | Paced] = [*results.full_speed, *results.paced]
    found = [problem for each in compared if each.target == "hub" for problem in each.problems]
    alone: list[Storm | Stopped | TransportResult | BroadcastRun] = [
        *results.storm,
        *results.stopped,
        *results.transports,
        *results.broadcasts,
    ]
    return found + [problem for each in alone for problem in each.problems]


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
        HEAD,
        f"All figures are of commit {results.machine.code} ({results.machine.date}). Later commits are not "
        f"measured here.\n",
        _verdict(results),
        *_throughput(results),
        *_latency(results),
        *_connections(results),
        *_bus(results),
        *_storm(results),
        *_stopped(results),
        *_mail(results),
        *_transports(results),
        *_broadcasts(results),
    ]
    return "\n".join([*parts, _conditions(results), HOW])


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
    for told in results.broadcasts:
        times, met = told.p99_ratio, told.p99_ratio <= GOAL_BROADCAST_P99_RATIO
        rows.append((f"p99 beside a broadcast to {told.people:,}", "≤ 2 ×", f"{times:.2f} ×", met))
        met = told.memory <= GOAL_MEMORY_RATIO
        rows.append(("memory with it", "≤ 1.1 ×", f"{told.memory:.2f} ×", met))
    for mail in (each for each in results.mail if each.round_trip):
        what = f"mails over kept connections, {mail.round_trip:g} ms away"
        rows.append((what, f"≥ {GOAL_MAIL_RATIO} ×", f"{mail.ratio:.1f} ×", mail.ratio >= GOAL_MAIL_RATIO))
    for transport in (each for each in results.transports if each.transport == HTTP_BULK):
        met = transport.rate >= GOAL_BULK_RATE
        rows.append((transport.transport, f"≥ {GOAL_BULK_RATE:,}/s", f"{transport.rate:,.0f}/s", met))
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
    return _speed_row(f"{_NAMES[result.target]}, {receivers(result.fan_out)}", result)


def _speed_row(name: str, result: Rounds) -> str:
    rates = ", ".join(f"{each.rate:,.0f}" for each in result.rounds)
    cells = (
        name,
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
        f"| {each.tasks_each:.2f} | {each.connections / each.seconds_to_connect:,.0f}/s "
        f"| {_measured(each.cpu_share, '{:.1%} of a core')} "
        f"| {_measured(each.redis_bytes and each.redis_bytes / 1000, '{:,.1f} KB/s')} |"
        for each in results.idle
    ]
    head = [
        "| | connections | memory each | tasks each | accepted | idle: CPU | idle: Redis |",
        "|---|---|---|---|---|---|---|",
    ]
    return ["## Idle connections\n", *head, *rows, ""]


def _measured(value: float | None, form: str) -> str:
    return "not measured" if value is None else form.format(value)


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
        "| | missed, each | half are back | 99% | all | CPU of the server | refused "
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


def _transports(results: Results) -> list[str]:
    if not results.transports:
        return []
    head = (
        "| | notifications/s (rounds) | CPU of the server | of Postgres | of what feeds it "
        "| generator, of a core | other programs, of a core | lost, doubled, out of order |",
        "|---|---|---|---|---|---|---|---|",
    )
    return ["## Transports\n", *head, *(_speed_row(each.transport, each) for each in results.transports), ""]


def _broadcasts(results: Results) -> list[str]:
    if not results.broadcasts:
        return []
    return [
        "## Broadcasts\n",
        *(f"- {line(each)[0].upper()}{line(each)[1:]}" for each in results.broadcasts),
        "",
    ]


def _times(ours: float, theirs: float) -> str:
    return f"{theirs:,.0f} (kept: {ours / theirs:.1f} ×)"


def _conditions(results: Results) -> str:
    machine = results.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    lines = (
        f"- {machine.date}, commit {machine.code}",
        f"- `{machine.command}`",
        f"- {machine.cpu}, {machine.cores} cores, {machine.memory_gb} GB, {machine.system}",
        "- Everything runs on this machine: server, Postgres, Redis, Kafka and the load generator. Load "
        "average before "
        f"the run: {machine.load_before}",
        f"- {'; '.join(machine.services)}",
        f"- {versions}",
    )
    return "\n".join(["## Machine and run\n", *lines, ""])


def _losses(found: list[str]) -> str:
    return "; ".join(found) or "none"


def _mark(met: bool) -> str:
    return "✓" if met else "✗ **missed**"
