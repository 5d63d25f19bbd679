"""What the hub counts, under Prometheus' naming rules (prometheus.io/docs/practices/naming)."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

EVENTS = Counter("hub_events", "Events by what became of them", ["source", "outcome"])
REJECTED = Counter("hub_events_rejected", "Events that were dead-lettered", ["source", "reason"])
NOTIFICATIONS = Counter("hub_notifications_stored", "Notifications committed to Postgres")
BATCH_SECONDS = Histogram(
    "hub_batch_write_seconds",
    "One batch: from the first statement to the commit",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
FRAMES = Counter("hub_frames_sent", "Notification frames handed to connections")
CONNECTIONS = Gauge("hub_connections", "Open WebSocket connections", multiprocess_mode="livesum")
NODES = Gauge(
    "hub_nodes",
    "Nodes that this one knows of, itself included; 0 while it isn't joined",
    multiprocess_mode="livemax",
)
CLOCK_OFF = Gauge(
    "hub_clock_ahead_seconds",
    "This machine's clock, compared with Postgres' and Redis'",
    multiprocess_mode="livemax",
)
PUBLICATIONS = Counter("hub_publications", "Messages sent to other nodes")
UNPUBLISHED = Counter("hub_frames_unpublished", "Frames not sent to other nodes, which read Postgres instead")
REFUSED = Counter("hub_connections_refused", "Connections ended before a request was read", ["reason"])
CLOSED = Counter("hub_connections_closed", "Connections the hub closed", ["code"])
PARKED = Gauge(
    "hub_events_waiting", "Parked events: waiting for the user service", multiprocess_mode="livesum"
)
REBUILT = Counter("hub_kafka_consumers_rebuilt", "Kafka consumers made anew as they had stalled")
USER_SERVICE_CALLS = Counter(
    "hub_user_service_calls", "Calls of the user service: answered, failed, not_made", ["outcome"]
)
USER_SERVICE_CIRCUIT = Gauge(
    "hub_user_service_circuit",
    "Whether the user service is asked: 0 it is, 1 once to see whether it is back, 2 it isn't",
    multiprocess_mode="livemax",
)
DELIVERIES = Counter("hub_deliveries", "Deliveries by what became of them", ["channel", "status"])
ATTEMPT_SECONDS = Histogram(
    "hub_delivery_attempt_seconds",
    "One attempt to hand a delivery over",
    ["channel"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
STALLED = Counter("hub_write_retries", "Batches written again because Postgres was away")
REQUESTS = Histogram(
    "hub_http_request_seconds",
    "REST calls by route",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)


def exposition() -> bytes:
    """All of it as text for Prometheus: of this process, or of all workers of this machine."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
