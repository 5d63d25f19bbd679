"""What is said at start: settings that don't do what the operator may expect of them."""

from __future__ import annotations

import logging

from app.settings import Settings, notices

_log = logging.getLogger("hub.settings")


def report(settings: Settings) -> None:
    """Log one warning for each."""
    for notice in notices():
        _log.warning(notice.event, extra={"variable": notice.variable, "why": notice.why})
    if settings.simulated:
        _log.warning("deliveries_simulated", extra={"why": " ".join(settings.simulated)})
