"""The experiments, a file a subject. Importing this package makes all of them known, in this order."""

from __future__ import annotations

from faults.experiments import nodes, kafka, poison, clock, schedules, soak  # isort: skip

__all__ = ["clock", "kafka", "nodes", "poison", "schedules", "soak"]
