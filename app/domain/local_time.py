"""Times on the clocks of a time zone: also those that are skipped, or shown twice. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_SECOND = timedelta(seconds=1)


def when_clocks_show(local: datetime) -> datetime:
    """The moment at which the clocks show `local`, or, when they skip it, are set past it. In UTC.

    `local` has the zone as its `tzinfo`; its `fold` names one of two moments that the clocks show alike.
    """
    moment = local.astimezone(UTC)
    if moment.astimezone(local.tzinfo).replace(tzinfo=None) == local.replace(tzinfo=None, fold=0):
        return moment
    before, after = sorted(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    old = before.astimezone(local.tzinfo).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) / 2
        if middle.astimezone(local.tzinfo).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)
