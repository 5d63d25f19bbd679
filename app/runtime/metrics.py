"""The metrics of the hub, under Prometheus' naming rules (prometheus.io/docs/practices/naming)."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

EVENTS = Counter(
    "hub_events",
    "Events processed, by source and outcome: stored, duplicate, rejected, parked (stored or rejected later)",
    ["source", "outcome"],
)
REJECTED = Counter(
    "hub_events_rejected",
    "Events that were dead-lettered, by source and reason (a code)",
    ["source", "reason"],
)
NOTIFICATIONS = Counter(
    "hub_notifications_stored", "Notifications committed to Postgres, one for each receiver"
)
BATCH_SECONDS = Histogram(
    "hub_batch_write_seconds",
    "Seconds to write one batch of events, from planning to the commit",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
FRAMES = Counter(
    "hub_frames_sent", "Notifications pushed to connections of this node, one for each connection"
)
CONNECTIONS = Gauge(
    "hub_connections", "Open connections: WebSockets and event streams", multiprocess_mode="livesum"
)
EVENT_STREAMS = Gauge(
    "hub_event_streams",
    "Open event streams (SSE), which hub_connections includes",
    multiprocess_mode="livesum",
)
NODES = Gauge(
    "hub_nodes",
    "Members of the cluster as this node sees it, itself included; 0 while it is not a member",
    multiprocess_mode="livemax",
)
CLOCK_OFF = Gauge(
    "hub_clock_ahead_seconds",
    "Seconds by which the clock of this machine is ahead of the median with the clocks of Postgres and Redis",
    multiprocess_mode="livemax",
)
PUBLICATIONS = Counter(
    "hub_publications", "Messages published to other nodes over Redis; each holds many frames"
)
UNPUBLISHED = Counter(
    "hub_frames_unpublished",
    "Frames not published because the queue was full or Redis failed; other nodes read Postgres instead",
)
REFUSED = Counter(
    "hub_connections_refused",
    "TCP connections closed before a request was handled, by reason: `silent`, `too_slow`, "
    "`malformed`, `crowd` (too many wait), `turned_away` (a repeat offender), or the code of the error",
    ["reason"],
)
CLOSED = Counter("hub_connections_closed", "Connections closed by the hub, by close code", ["code"])
PARKED = Gauge(
    "hub_parked_events",
    "Events of all nodes that wait in Postgres for the user service",
    multiprocess_mode="livemax",
)
PARKED_OLDEST = Gauge(
    "hub_parked_oldest_seconds",
    "Seconds since the oldest of the parked events was parked",
    multiprocess_mode="livemax",
)
PARKED_FINISHED = Counter(
    "hub_parked_events_finished",
    "Parked events that this node finished, by outcome: stored, dead_lettered",
    ["outcome"],
)
BROADCASTS_RUNNING = Gauge(
    "hub_broadcasts_running",
    "Number of running broadcasts of all nodes",
    multiprocess_mode="livemax",
)
BROADCASTS_OLDEST = Gauge(
    "hub_broadcasts_oldest_seconds",
    "Seconds since the oldest running broadcast was accepted",
    multiprocess_mode="livemax",
)
BROADCAST_PEOPLE = Counter(
    "hub_broadcast_people", "Number of people whom broadcasts have passed, by the node that worked on them"
)
INTAKE_STANDSTILL = Gauge(
    "hub_intake_standstill_seconds",
    "Seconds that the write of the current Kafka batch has lasted, by the topics of the consumer",
    ["topics"],
    multiprocess_mode="livemax",
)
REBUILT = Counter("hub_kafka_consumers_rebuilt", "Kafka consumers recreated because they stalled")
USER_SERVICE_CALLS = Counter(
    "hub_user_service_calls",
    "Calls to the user service, by outcome: answered, failed, not_made (circuit open)",
    ["outcome"],
)
USER_SERVICE_CIRCUIT = Gauge(
    "hub_user_service_circuit",
    "Circuit breaker of the user service: 0 closed, 1 half-open, 2 open",
    multiprocess_mode="livemax",
)
DELIVERIES = Counter(
    "hub_deliveries", "Deliveries that reached a final status, by channel and status", ["channel", "status"]
)
DIGESTS = Counter("hub_digests_sent", "Digests that a provider took, by channel", ["channel"])
DIGEST_ITEMS = Counter(
    "hub_digest_items_sent", "Messages in the digests that a provider took, by channel", ["channel"]
)
WAITS_CANCELLED = Counter(
    "hub_waits_cancelled",
    "What waited and was not sent, as it was read, archived, deleted or switched off meanwhile, by channel "
    "and kind: digest (an empty one), item (one message of a digest), step (of an escalation)",
    ["channel", "kind"],
)
ATTEMPT_SECONDS = Histogram(
    "hub_delivery_attempt_seconds",
    "Seconds of one attempt to pass a delivery to its provider, by channel",
    ["channel"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
WEBHOOKS = Counter(
    "hub_webhooks",
    "Attempts to send webhook messages, by outcome: sent, failed; disabled counts endpoints, not attempts",
    ["outcome"],
)
STALLED = Counter("hub_write_retries", "Retries of batch writes because Postgres was unavailable")
REQUESTS = Histogram(
    "hub_http_request_seconds",
    "Seconds from a REST request's head to its answer, by method, route (its template) and status",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)


def exposition() -> bytes:
    """Render all metrics in the Prometheus text format: of this process, or of all workers here."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
