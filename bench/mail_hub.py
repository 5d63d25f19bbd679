"""Mail of a whole hub: how many mails a second of a backlog, and how long one-time codes take."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jwt
from confluent_kafka import Producer

from bench import cpu
from bench.clients import ROOT
from bench.events import make_topic
from bench.progress import say
from bench.site import Server, Site, Target, run_server

_PATIENCE_SECONDS = 60.0
_WARM_UP_MAILS, _WARM_UP_CODES = 100, 50
_PATH = "/api/v2/notification-service/notifications/bulk"
_numbers = itertools.count(1)


class MailedByHub(NamedTuple):
    """What one hub did: mails a second of a backlog, milliseconds of CPU that one took, by process, and the
    times of codes in milliseconds, sorted.
    """

    per_second: float
    cpu: dict[str, float]
    codes: list[float]
    problems: list[str]

    def percentile(self, share: float) -> float:
        """Of the times of codes."""
        return self.codes[min(len(self.codes) - 1, int(share * len(self.codes)))] if self.codes else 0.0


class Sink:
    """The mail server, and when each address got its mail."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._lines = process.stdout
        self.port = int(self._lines.readline())
        self.arrived: dict[str, int] = {}
        self.doubled = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._lines:
            address, moment = line.split()
            self.doubled += address in self.arrived
            self.arrived.setdefault(address, int(moment))

    def wait(self, addresses: list[str]) -> None:
        """Wait until all have their mail, or too long."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline and not all(each in self.arrived for each in addresses):
            time.sleep(0.05)


def measure(site: Site, target: Target, mails: int, rate: float, seconds: float) -> MailedByHub:
    """Let the hub mail a backlog of `mails`, then publish codes at `rate` a second for `seconds`."""
    number = next(_numbers)
    codes = f"bench.codes.{target.name}.{number}"
    notifications = f"bench.mails.{target.name}.{number}"
    if not site.embedded_broker:  # that one makes them at the first use
        make_topic(site.kafka, codes, 1)
        make_topic(site.kafka, notifications, 1)
    with _sink() as sink:
        environment = {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(sink.port),
            "SMTP_SECURITY": "none",
            "MAIL_FROM": "Hub <no-reply@hub.example>",
            "REGISTRATION_EVENTS_TOPIC": codes,
            "OTP_COOLDOWN": "0",
        }
        own = dataclasses.replace(target, environment={**target.environment, **environment})
        with run_server(site, own, notifications) as server:
            _backlog(site, server, sink, "warm", _WARM_UP_MAILS)
            say(f"{target.name}: {mails:,} mails …")
            meter = cpu.Meter({"hub": cpu.of(server.process), "postgres": cpu.of_postgres(site.home)})
            per_second = _backlog(site, server, sink, "mail", mails)
            used = {name: 1e3 * seconds / mails for name, seconds in meter.read().cpu.items()}
            producer: Any = Producer({"bootstrap.servers": site.kafka, "linger.ms": 0})
            _codes(producer, codes, sink, _WARM_UP_CODES, rate)
            say(f"{target.name}: {int(rate * seconds):,} codes …")
            latencies = _codes(producer, codes, sink, int(rate * seconds), rate)
    lost = mails + int(rate * seconds) - len(latencies) - _count(sink, "mail")
    problems = [f"{lost} mails are missing"] * (lost > 0) + [f"{sink.doubled} doubled"] * (sink.doubled > 0)
    return MailedByHub(per_second, used, sorted(latencies), problems)


@contextmanager
def _sink() -> Iterator[Sink]:
    command = [sys.executable, "-m", "bench.mail_sink"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        yield Sink(process)
        process.stdin.close()


def _count(sink: Sink, name: str) -> int:
    return sum(address.startswith(f"{name}-") for address in sink.arrived)


def _backlog(site: Site, server: Server, sink: Sink, name: str, mails: int) -> float:
    """Mails a second, from the first to the last."""
    addresses = [f"{name}-{number}@bench.example" for number in range(mails)]
    text = {"type": "email", "title": "Your order", "message": "It is on its way.\n\nThank you."}
    body = json.dumps({"notifications": [{**text, "to": address} for address in addresses]}).encode()
    now = int(time.time())
    claims = {"sub": "bench", "jti": "bench", "iat": now, "exp": now + 600, "scope": "notifications:send"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}{_PATH}",
        body,
        {
            "Authorization": f"Bearer {jwt.encode(claims, site.secret, 'HS256')}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:
        taken = json.load(answer)
    if taken["accepted"] != mails:
        raise RuntimeError(f"{server.target.name} took {taken['accepted']} of {mails} mails")
    sink.wait(addresses)
    moments = [sink.arrived[each] for each in addresses if each in sink.arrived]
    return len(moments) * 1e9 / max(1, max(moments, default=1) - min(moments, default=0))


def _codes(producer: Any, topic: str, sink: Sink, count: int, rate: float) -> list[float]:
    """How long each code took from Kafka to the mail server, in milliseconds."""
    sent: dict[str, int] = {}
    begin = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begin + number / rate - time.monotonic()))
        address = f"code-{time.monotonic_ns()}@bench.example"
        event = {"email": address, "otp_code": "482913", "action": "register"}
        sent[address] = time.monotonic_ns()
        producer.produce(topic, json.dumps(event).encode())
        producer.poll(0)
    producer.flush(30)
    sink.wait([*sent])
    return [(sink.arrived[each] - moment) / 1e6 for each, moment in sent.items() if each in sink.arrived]
