"""The experiments, a file a subject. Importing this package makes all of them known, in this order."""

from __future__ import annotations

from faults.experiments import nodes, kafka, transactions, postgres, redis, user_service  # isort: skip
from faults.experiments import poison, duplicates, clock, waiting, broadcasts, schedules, soak  # isort: skip

__all__ = [
    "broadcasts",
    "clock",
    "duplicates",
    "kafka",
    "nodes",
    "poison",
    "postgres",
    "redis",
    "schedules",
    "soak",
    "transactions",
    "user_service",
    "waiting",
]
