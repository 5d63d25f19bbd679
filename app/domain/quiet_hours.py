"""Quiet hours: when they end, on the clocks of the person's time zone. No I/O."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.domain.local_time import when_clocks_show

_LOOKAHEAD_DAYS = 4  # a zone may skip a day, as Apia did the 30th of December 2011


class QuietHours(NamedTuple):
    """Every day from `begins` to `ends` by the clocks of `zone`; over midnight when `ends` is the earlier."""

    begins: time
    ends: time
    zone: ZoneInfo

    def until(self, now: datetime) -> datetime | None:
        """The first moment after `now` at which the clocks show no quiet hour; None when they show none now.

        In UTC. Where clocks are set forward over the end, that moment is when they are set.
        """
        if not self._quiet(now):
            return None
        today = now.astimezone(self.zone).date()
        ends = (
            datetime.combine(today + timedelta(days=day), self.ends, self.zone).replace(fold=fold)
            for day in range(_LOOKAHEAD_DAYS)
            for fold in (0, 1)
        )
        moments = sorted(when_clocks_show(end) for end in ends)
        return next(moment for moment in moments if moment > now and not self._quiet(moment))

    def _quiet(self, moment: datetime) -> bool:
        shown = moment.astimezone(self.zone).time()
        if self.begins <= self.ends:
            return self.begins <= shown < self.ends
        return shown >= self.begins or shown < self.ends
