"""What others notice of an attack: `python -m bench.attacks [attack …]` (docs/explanation/security.md).

The same paced load to 200 users, calm and under each attack in turn: how long events take to their sockets.
The status is 1 when something was lost, a p99 was twice the calm one, or memory 1.5 times the calm figure.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from uuid import UUID

from bench import cases
from bench.attacker import ATTACKS
from bench.cases import WARM_UP_EACH, Stage, pace, percentiles
from bench.clients import run_clients
from bench.progress import say
from bench.site import HUB, open_site

USERS, RATE, SECONDS = 200, 200.0, 15.0
ROUNDS = 2
BUILD_UP = 12.0  # seconds the attack has before it is measured
SETTLE = 5.0  # seconds
ATTACKER = UUID(int=0xA77AC7)
PARTITIONS = 4
AT_MOST = 2.0  # times the calm p99
MEMORY_AT_MOST = 1.5  # times what the hub had before
_ROOT = Path(__file__).parent.parent


@contextmanager
def _attacked(stage: Stage, attack: str) -> Iterator[None]:
    server = stage.server
    path = server.target.socket.format(user=ATTACKER)
    arguments = [sys.executable, "-m", "bench.attacker", attack, str(server.port), str(ATTACKER), path]
    environment = {**os.environ, "ATTACK_SECRET": stage.site.secret}
    with subprocess.Popen(
        arguments, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as attacker:
        try:
            time.sleep(BUILD_UP)
            yield
        finally:
            attacker.send_signal(signal.SIGTERM)
            said = attacker.communicate()[0]
    did = json.loads(said)
    assert ATTACKS[attack].answers & did.keys(), f"this was no attack: {did}"
    say(f"  the attacker: {', '.join(f'{count:,} × {what}' for what, count in did.items())}")
    time.sleep(SETTLE)  # ten thousand connections that end at once are no calm


@contextmanager
def _peak_memory(stage: Stage) -> Iterator[list[int]]:
    """The largest resident set of the hub meanwhile, in bytes, is in the list at the end."""
    status = Path(f"/proc/{stage.server.process.pid}")
    (status / "clear_refs").write_text("5")  # forgets the peak so far
    peak: list[int] = []
    yield peak
    [line] = [line for line in (status / "status").read_text().splitlines() if line.startswith("VmHWM")]
    peak.append(int(line.split()[1]) * 1024)


def _measure(stage: Stage, attack: str, serial: int) -> tuple[bool, int]:
    """One attack, calm and under attack in turn: whether others noticed little, and the next free serial."""
    p99: dict[bool, list[float]] = {False: [], True: []}
    busy: dict[bool, list[float]] = {False: [], True: []}
    memory = most = stage.server.process.memory_info().rss
    problems, events = [], int(RATE * SECONDS)
    for attacked in (False, True) * ROUNDS:
        load, serial = stage.load(serial, events), serial + events
        if attacked:
            with _peak_memory(stage) as peak, _attacked(stage, attack):
                run = pace(stage, load, RATE, attack)
            most = max(most, *peak)
        else:
            run = pace(stage, load, RATE, "calm")
        p99[attacked].append(percentiles(run.received)["p99"])
        busy[attacked].append(run.usage.share("server"))
        problems += run.received.problems
    calm, under = median(p99[False]), median(p99[True])
    say(
        f"{attack}: p99 {calm:.1f} ms calm, {under:.1f} ms attacked ({under / calm:.2f} times); "
        f"each: {_each(p99[False])} and {_each(p99[True])}; "
        f"the hub kept {median(busy[False]):.2f} and {median(busy[True]):.2f} cores busy; "
        f"memory {memory / 2**20:.0f} MB, at most {most / 2**20:.0f} MB ({most / memory:.2f} times); "
        f"{', '.join(problems) or 'nothing lost'}"
    )
    return under < AT_MOST * calm and most < MEMORY_AT_MOST * memory and not problems, serial


def _each(values: list[float]) -> str:
    return "/".join(f"{value:.0f}" for value in values)


def main(attacks: list[str]) -> int:
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="hub-attacks-") as folder, ExitStack() as running:
        Path(folder).chmod(0o755)  # Postgres, which won't run as root, has to reach it
        site = running.enter_context(open_site(Path(folder)))
        clients = running.enter_context(run_clients())
        stage = running.enter_context(cases.stage(site, HUB, clients, USERS, PARTITIONS))
        serial = USERS * WARM_UP_EACH
        warm = stage.load(serial, int(RATE * SECONDS))
        pace(stage, warm, RATE, "warming up")
        serial += warm.events
        for attack in attacks:
            good, serial = _measure(stage, attack, serial)
            if not good:
                failed.append(attack)
    if failed:
        say(
            f"Over {AT_MOST:g} times the calm p99, {MEMORY_AT_MOST:g} times the memory, or some lost: "
            f"{', '.join(failed)}"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [*ATTACKS]))
