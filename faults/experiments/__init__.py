"""The experiments, a file a subject. Importing this package makes all of them known."""

from __future__ import annotations

from faults.experiments import nodes, schedules

__all__ = ["nodes", "schedules"]
