"""The experiments, a file a subject. Importing this package makes all of them known, in this order."""

from __future__ import annotations

from faults.experiments import nodes, kafka, postgres, redis, user_service, poison, clock, schedules, soak  # isort: skip

__all__ = ["clock", "kafka", "nodes", "poison", "postgres", "redis", "schedules", "soak", "user_service"]
