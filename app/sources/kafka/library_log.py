"""Keeps aiokafka from logging the same state of the cluster several times a second.

Before a first start the Kafka topics, and the coordinator of the consumer group, may not exist. aiokafka asks
for them again and again, and logs an error for each topic each time. The source says once which are missing.
"""

from __future__ import annotations

import logging

# What the source says itself: `kafka_topics_missing`, `kafka_unavailable`.
_SAID_BY_THE_SOURCE = (
    "Topic %s not found in cluster metadata",
    "Topic %s is not available during auto-create initialization",
    "Error fetching metadata for topic %s: %s",
    "No partition metadata for topic %s",
    'Unable connect to "%s:%s": %s',
)
_NO_COORDINATOR = (
    "Group Coordinator Request failed: %s",
    "Marking the coordinator dead (node %s)for group %s.",
)
SETTLING_SECONDS = 10.0
"""A cluster that was just started has made the coordinator's own Kafka topic by then."""
_LOGGERS = (
    "aiokafka",
    "aiokafka.cluster",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.coordinator.assignors.roundrobin",
)


class _AboutTheCluster(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._since = self._last = float("-inf")  # when the coordinator was first, and last, not there

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        if record.msg not in _NO_COORDINATOR:
            return record.msg not in _SAID_BY_THE_SOURCE
        if record.created - self._last > SETTLING_SECONDS:
            self._since = record.created
        self._last = record.created
        return record.created - self._since >= SETTLING_SECONDS


_FILTER = _AboutTheCluster()


def quieten() -> None:
    """Apply this to the process. Repeated calls change nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
