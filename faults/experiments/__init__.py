"""The experiments, a file a subject. Importing this package makes all of them known, in this order."""

from __future__ import annotations

from faults.experiments import nodes, kafka, poison, schedules  # isort: skip

__all__ = ["kafka", "nodes", "poison", "schedules"]
