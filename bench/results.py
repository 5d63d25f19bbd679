"""The figures of a run, as they go into results.json."""

from __future__ import annotations

from statistics import median

import msgspec

from bench.cpu import Usage

HTTP_BULK = "HTTP, 500 a request"


def receivers(fan_out: int) -> str:
    """How many are notified of an event, in words."""
    return "1 receiver an event" if fan_out == 1 else f"{fan_out} receivers an event"


class Round(msgspec.Struct, frozen=True):
    """One backlog, from release to the last frame."""

    notifications: int
    seconds: float
    """From the first frame at a socket to the last."""
    from_release: float
    """From the moment the server was let go to the last frame."""
    usage: Usage
    problems: list[str]

    @property
    def rate(self) -> float:
        return self.notifications / self.seconds

    def cpu(self, name: str) -> float:
        """CPU microseconds of this process a notification."""
        return self.usage.cpu.get(name, 0.0) / self.notifications * 1e6


class Rounds(msgspec.Struct, frozen=True):
    """Some backlogs, one after the other."""

    events: int
    """Of one round."""
    rounds: list[Round]
    rows: int
    rows_due: int

    @property
    def rate(self) -> float:
        """Notifications a second, committed and received; the median of the rounds."""
        return median(each.rate for each in self.rounds)

    def cpu(self, name: str) -> float:
        return median(each.cpu(name) for each in self.rounds)

    def share(self, name: str) -> float:
        return median(each.usage.share(name) for each in self.rounds)

    @property
    def problems(self) -> list[str]:
        rows = [] if self.rows == self.rows_due else [f"{self.rows} rows of {self.rows_due}"]
        return [problem for each in self.rounds for problem in each.problems] + rows


class FullSpeed(Rounds, frozen=True, kw_only=True):
    """A target at full speed."""

    target: str
    users: int
    fan_out: int


class TransportResult(Rounds, frozen=True, kw_only=True):
    """The hub at full speed over one transport; over HTTP, from the first request to the last frame."""

    transport: str


class Paced(msgspec.Struct, frozen=True):
    """A target at a steady rate."""

    target: str
    rate: float
    reached: float
    """Events a second that were published."""
    events: int
    milliseconds: dict[str, float]
    """From produce to the frame at the socket: p1, p2 … p99, p99.9, max."""
    warming: dict[str, float]
    """The same of the seconds before, which don't count."""
    usage: Usage
    problems: list[str]

    def cpu(self, name: str) -> float:
        return self.usage.cpu.get(name, 0.0) / self.events * 1e6


class Idle(msgspec.Struct, frozen=True):
    """A target with connections that say nothing."""

    target: str
    connections: int
    bytes_each: float
    tasks_each: float
    seconds_to_connect: float
    cpu_share: float | None = None
    """Share of a core while idle. None in results from before it was measured."""
    redis_bytes: float | None = None
    """Bytes a second to and from Redis while idle. None as above."""


class BusCost(msgspec.Struct, frozen=True):
    """CPU microseconds a notification on the bus, in batches of `batch`, one target node."""

    batch: int
    each_awaited: float
    """If each were published by itself, and awaited."""
    pipelined: float
    """If they were published in one pipeline."""
    published: float
    """As the hub does it: packed into one publication."""
    looked_up: float
    """Where the receiver is connected."""
    rendered: float
    """The frame, which a local push needs as well."""
    received: float
    """On the other node, up to the frames."""


class Storm(msgspec.Struct, frozen=True):
    """All clients come back at once and resume."""

    clients: int
    missed: int
    """Notifications that each resumed."""
    seconds: list[float]
    """p50, p99 and the last client's, from the same beginning."""
    refusals: dict[str, int]
    postgres_connections: int
    """Of the hub, at most, while they came."""
    postgres_pool: int
    usage: Usage
    problems: list[str]


class Stopped(msgspec.Struct, frozen=True):
    """The same load twice, and twice with clients that stopped reading."""

    connections: int
    stopped: int
    rate: float
    p99_without: list[float]
    p99_with: list[float]
    """Milliseconds, of the clients that read."""
    closed_after: list[float]
    """Seconds until the last of those that stopped was gone."""
    memory: float
    """RSS with them, at most, over RSS before."""
    problems: list[str]

    @property
    def p99_ratio(self) -> float:
        return median(self.p99_with) / median(self.p99_without)


class BroadcastRun(msgspec.Struct, frozen=True):
    """One event for many people, beside the load that was measured without it first."""

    people: int
    seconds: float
    """From its acceptance to its end."""
    rate: float
    """Events a second beside it."""
    p99_calm: float
    p99_meanwhile: float
    """Milliseconds, from produce to the socket; the median of the rounds, and the worst of them."""
    p99_worst: float
    memory: float
    """RSS with it, at most, over RSS before."""
    problems: list[str]

    @property
    def p99_ratio(self) -> float:
        return self.p99_meanwhile / self.p99_calm


class MailRate(msgspec.Struct, frozen=True):
    """Mails a second to a server `round_trip` milliseconds away, over `connections` at once."""

    round_trip: float
    connections: int
    pooled: float
    """Over connections that are kept, as the hub does it."""
    shared_context: float
    """Over one connection a mail, by aiosmtplib, with one TLS context for all."""
    one_each: float
    """By one call of `aiosmtplib.send` a mail, as its documentation shows it."""

    @property
    def ratio(self) -> float:
        """Against the better of the others."""
        return self.pooled / max(self.shared_context, self.one_each)


class Machine(msgspec.Struct, frozen=True):
    """Where and when."""

    date: str
    command: str
    cpu: str
    cores: int
    memory_gb: int
    system: str
    load_before: float
    versions: dict[str, str]
    services: list[str]
    code: str


class Results(msgspec.Struct):
    """One run."""

    machine: Machine
    full_speed: list[FullSpeed]
    paced: list[Paced]
    idle: list[Idle]
    bus: list[BusCost]
    storm: list[Storm]
    stopped: list[Stopped]
    mail: list[MailRate]
    transports: list[TransportResult]
    broadcasts: list[BroadcastRun] = []
