"""Escalation: further channels for a notification that nobody reads. No I/O."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal, NamedTuple

from app.domain.details import SEVERITIES, Severity
from app.domain.digests import read_duration

Condition = Literal["unread", "unseen"]
CONDITIONS: tuple[Condition, ...] = ("unread", "unseen")
_STEP = re.compile(r"after (\S+)(?: if (unread|unseen))?(?: and (\S+))?")


class EscalationStep(NamedTuple):
    """One step: the channel is used so many seconds after the event, if the notification is still so."""

    channel: str
    after: int
    only_if: Condition = "unread"
    severity: Severity | None = None
    """Only for notifications of this severity."""


def read_step(channel: str, text: str) -> EscalationStep:
    """Read a step, such as `after 2h if unread and critical`. Raises `ValueError`."""
    found = _STEP.fullmatch(" ".join(text.lower().split()))
    if found is None:
        raise ValueError(
            f"{text!r} is no step; use one such as: after 30m if unread, or: after 2h if unread and critical"
        )
    severity = next((each for each in SEVERITIES if each == found[3]), None)
    if found[3] is not None and severity is None:
        raise ValueError(f"{found[3]!r} is no severity; use one of {', '.join(SEVERITIES)}")
    only_if = next(each for each in CONDITIONS if each == (found[2] or "unread"))
    return EscalationStep(channel, read_duration(found[1]), only_if, severity)


def waits(step: EscalationStep, due: datetime) -> str:
    """Why the delivery of a step waits."""
    return f"sent at {due:%Y-%m-%d %H:%M} UTC if the notification is {step.only_if} then"
