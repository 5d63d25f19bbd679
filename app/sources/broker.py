"""What a broker is to the hub: the sources that consume it, the reader of its dead letters, its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:  # the command line loads this module for the names alone
    from app.domain.erasure import Place
    from app.domain.errors import InvalidEvent
    from app.domain.events import DefaultType
    from app.domain.time import Now
    from app.ingest.batch import SourceMessage
    from app.ingest.batcher import Batcher
    from app.ingest.pipeline import Pipeline
    from app.runtime.outbound import Records
    from app.settings.sources import SourceSections
    from app.sources.dlq import DlqReader


class EventInput(NamedTuple):
    """Where events are read from: a Kafka topic, a queue, a stream or a channel."""

    source: str
    """The name of its broker."""
    kind: str
    """topic, queue, stream or channel."""
    name: str
    setting: str
    """The environment variable that names it."""
    event_type: str | None = None
    """The type of all its events, where messages don't say it themselves."""
    default_type: DefaultType | None = None
    """The type of its events that don't say theirs."""


class Source(Protocol):
    """A consumer of events. It hands them to the pipeline and acknowledges what was processed."""

    async def start(self) -> None:
        """Start consuming, and return at once. Reconnects until `stop` while the broker is unavailable."""

    async def stop(self, within: float) -> None:
        """Finish and acknowledge what is in progress, within `within` seconds at most."""

    async def check(self) -> None:
        """Raise `Unavailable` unless this node consumes."""

    async def dead_letter(self, message: SourceMessage, labels: bytes, error: InvalidEvent) -> None:
        """Dead-letter a message that was parked with these `SourceMessage.labels`, by any node.

        Returns when the broker has the dead letter. Raises `Unavailable`.
        """


class Ingest(NamedTuple):
    """What sources hand their messages to.

    One-time codes and logouts have a separate pipeline: none waits behind a backlog of other events.
    """

    pipeline: Pipeline
    code_pipeline: Pipeline
    batcher: Batcher
    now: Now


class Broker(Protocol):
    """One broker. Implementations import their drivers when a method is called, not before."""

    @property
    def name(self) -> str:
        """Stable: begins the ids of its dead letters and deduplication keys, and is a value of `--source`."""

    @property
    def place(self) -> str:
        """What its events are read from, as operators call it: "Kafka topic"."""

    @property
    def transports(self) -> Mapping[str, str]:
        """The ways to publish over it, ids to names, in the order to show them in."""

    def configured(self, settings: SourceSections) -> bool:
        """Whether this hub reads from the broker."""

    def inputs(self, settings: SourceSections) -> Sequence[EventInput]:
        """What it reads events from, whether it is configured or not. Each name is there once."""

    def sources(self, settings: SourceSections, ingest: Ingest) -> Mapping[str, Source]:
        """Build its sources, by the names that readiness checks show. Only if it is configured.

        The first one writes the dead letters of parked events.
        Raises `ConfigurationError` if there is no connecting with its settings, whatever the broker says.
        """

    def open_dlq(self, settings: SourceSections) -> AbstractAsyncContextManager[DlqReader]:
        """Open the dead letters of all its topics, queues or streams.

        Entering it raises `ConfigurationError` if the broker isn't configured. It raises `Unavailable` when
        the broker doesn't answer, now or later.
        """

    def records(self, settings: SourceSections, timeout: float) -> Records | None:
        """What writes the messages of webhooks to its topics; None if they can't go there.

        `timeout`: seconds that a record may take, the connection included.
        """

    def retained_events(self, settings: SourceSections) -> Sequence[Place]:
        """Where the broker keeps events after they were read, as far as erasure can search them.

        Only if it is configured.
        """
