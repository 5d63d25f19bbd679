"""`python -m bench`: measure, and write the report."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench import (
    broadcast,
    bus,
    cases,
    machine,
    mail,
    profile,
    reconnect_storm,
    report,
    stalled_readers,
    transports,
)
from bench.clients import Clients, run_clients
from bench.options import Options, parse
from bench.progress import say
from bench.results import (
    BroadcastRun,
    BusCost,
    FullSpeed,
    Idle,
    MailRate,
    Paced,
    Results,
    Stopped,
    Storm,
    TransportResult,
)
from bench.site import HUB, NAIVE, Site, Target, open_site

_EMBEDDED_BYTES = 4 * 4_000_000  # what the embedded broker surely keeps of a Kafka topic of four partitions
_EVENT_BYTES = 320


def main() -> int:
    """Run what the command line asks for; 1 when something got lost or doubled."""
    options = parse()
    load_before = os.getloadavg()[0]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        say("Starting Postgres, Redis and Kafka …")
        with open_site(Path(folder)) as site, run_clients() as clients:
            for note in site.notes:
                say(f"  {note}")
            if site.embedded_broker:
                options = options.within(_EMBEDDED_BYTES, _EVENT_BYTES)
            hub = replace(HUB, environment=options.hub_environment)
            if options.profile:
                profile.show(site, hub, clients, options)
                return 0
            results = _measure(site, hub, clients, options, load_before)
    say(f"{time.monotonic() - began:.0f} s in all.")
    print(report.markdown(results))
    if options.out is not None:
        report.write(results, options.out)
        say(f"Written to {options.out}")
    return 1 if report.problems(results) else 0


def _measure(site: Site, hub: Target, clients: Clients, options: Options, load_before: float) -> Results:
    """All cases, alternating between the hub and the baseline."""
    return Results(
        machine.describe(site.notes, load_before),
        _full_speed(site, hub, clients, options) if "full" in options.cases else [],
        _paced(site, hub, clients, options) if "paced" in options.cases else [],
        _idle(site, hub, clients, options) if "idle" in options.cases else [],
        _bus(site, options) if "bus" in options.cases else [],
        _storm(site, hub, clients, options) if "storm" in options.cases else [],
        _stopped(site, hub, clients, options) if "stopped" in options.cases else [],
        _mail(options) if "mail" in options.cases else [],
        _transports(site, hub, clients, options) if "transports" in options.cases else [],
        _broadcast(site, hub, clients, options) if "broadcast" in options.cases else [],
    )


def _full_speed(site: Site, hub: Target, clients: Clients, options: Options) -> list[FullSpeed]:
    done = []
    for target, events, fan_out in (
        (hub, options.events, 1),
        (NAIVE, options.naive_events, 1),
        (hub, options.fan_events, options.fan_out),
    ):
        with cases.stage(site, target, clients, options.users, options.partitions) as stage:
            done.append(cases.full_speed(stage, events, options.rounds, fan_out))
        say(report.line(done[-1]))
    return done


def _paced(site: Site, hub: Target, clients: Clients, options: Options) -> list[Paced]:
    done = []
    for target in (hub, NAIVE):
        with cases.stage(site, target, clients, options.users, options.partitions) as stage:
            done.append(cases.paced(stage, options.rate, options.warm_seconds, options.seconds))
        say(report.line(done[-1]))
    return done


def _idle(site: Site, hub: Target, clients: Clients, options: Options) -> list[Idle]:
    done = []
    for target in (hub, NAIVE):
        done.append(cases.idle(site, target, clients, options.connections, options.partitions))
        say(report.line(done[-1]))
    return done


def _bus(site: Site, options: Options) -> list[BusCost]:
    cost = bus.measure(site, options.bus_rounds)
    say(report.line(cost))
    return [cost]


def _storm(site: Site, hub: Target, clients: Clients, options: Options) -> list[Storm]:
    with cases.stage(site, hub, clients, options.storm, options.partitions) as stage:
        done = reconnect_storm.storm(stage, options.missed)
    say(report.line(done))
    return [done]


def _stopped(site: Site, hub: Target, clients: Clients, options: Options) -> list[Stopped]:
    with (
        cases.stage(site, hub, clients, options.readers, options.partitions) as stage,
        run_clients() as stoppers,
    ):
        done = stalled_readers.stopped(stage, stoppers, options.rate, options.seconds)
    say(report.line(done))
    return [done]


def _broadcast(site: Site, hub: Target, clients: Clients, options: Options) -> list[BroadcastRun]:
    with cases.stage(site, hub, clients, options.users, options.partitions) as stage:
        done = broadcast.broadcast(stage, options.people, options.rate, options.seconds)
    say(report.line(done))
    return [done]


def _mail(options: Options) -> list[MailRate]:
    done = mail.measure(options.mails)
    for each in done:
        say(report.line(each))
    return done


def _transports(site: Site, hub: Target, clients: Clients, options: Options) -> list[TransportResult]:
    done = []
    for each in transports.measure(site, hub, clients, options):
        say(report.line(each))
        done.append(each)
    return done


if __name__ == "__main__":
    sys.exit(main())
