"""Where the hub's CPU time goes at full speed: `python -m bench --profile`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from bench import cases
from bench.clients import Clients
from bench.options import Options
from bench.results import Rounds
from bench.site import Site, Target
from bench.transports import open_transports

_LINES = 25


def show(site: Site, hub: Target, clients: Clients, options: Options) -> None:
    """Print the costs by function and by line, in per cent of the CPU time of the hub.

    With `--cases transports` those of each transport.
    """
    profiled = replace(hub, environment={**hub.environment, "BENCH_PROFILE": "1"})
    if options.cases == ("transports",):
        with open_transports(site, profiled, clients, options, window=True) as transports:
            for transport in transports:
                _show(transport.name, transport.stage, partial(transport.measure, options.rounds))
        return
    with cases.stage(site, profiled, clients, options.users, options.partitions, window=True) as stage:
        _show("full speed", stage, partial(cases.full_speed, stage, options.events, options.rounds))


def _show(what: str, stage: cases.Stage, measure: Callable[[], Rounds]) -> None:
    stage.server.look()
    result = measure()
    stacks = stage.server.look()["samples"]
    print(f"\n{what}: {result.rate:,.0f}/s while sampled, {result.cpu('server'):.1f} µs CPU a notification")
    _table("with all that they call", stacks, _functions)
    _table("themselves, with the C code they call", stacks, lambda stack: [_function(stack[0])])
    _table("lines", stacks, lambda stack: [stack[0]])


def _functions(stack: list[str]) -> set[str]:
    return {_function(frame) for frame in stack}


def _function(frame: str) -> str:
    file, _, name = frame.split(":", 2)
    return f"{file}:{name}"


def _table(title: str, stacks: list[tuple[int, list[str]]], keys: object) -> None:
    assert callable(keys)
    counts: Counter[str] = Counter()
    for count, stack in stacks:
        found: Iterable[str] = keys(stack)
        for key in found:
            counts[key] += count
    total = sum(count for count, _ in stacks) or 1
    print(f"\n{title}:")
    for key, count in counts.most_common(_LINES):
        print(f"  {count / total:6.1%}  {key}")
