"""Failures of providers: those that concern every message alike, and their texts made safe to store and to
log."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic

from app.domain.deliveries import masked
from app.domain.errors import DeliveryFailed, HubError
from app.outbox.channel import Outgoing

PAUSE_SECONDS = 30.0  # without calls to a provider that refuses everything
MAX_REFUSED_IN_A_ROW = 3
MAX_ERROR_CHARS = 500  # kept of a provider's text
MAX_RETRY_AFTER_SECONDS = 3600.0  # a longer Retry-After is cut to this
MIN_SECRET_CHARS = 4  # shorter values aren't secrets, and occur in words by chance


class SetupFailed(DeliveryFailed):
    """The provider would refuse every message alike: a wrong password, an invalid certificate, a quota.

    It is retryable: an operator can fix it, and nothing is wrong with the messages. They are retried until
    their deadline, instead of all failing for one wrong setting.
    """

    def __init__(self, code: str, text: str, *, certain: bool = True, repeated: bool = False) -> None:
        """Not `certain`: the provider said it of one message, and may take others. `repeated`: the provider
        wasn't asked, as it failed shortly before.
        """
        super().__init__(code, text, retryable=True, retry_after=PAUSE_SECONDS, of_provider=True)
        self.certain = certain
        self.repeated = repeated


class Deferred(DeliveryFailed):
    """The provider wasn't asked, as it had refused other messages for now. The attempt isn't counted."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__("deferred", text, retryable=True, retry_after=seconds)


class FailFastBreaker:
    """Fails messages fast while a provider refuses everything.

    Otherwise thousands of messages would each try the same wrong password, until the account is locked or the
    hub banned.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._failed: SetupFailed | None = None
        self._until = 0.0
        self._silent_until = 0.0
        self._in_a_row = 0

    def check(self) -> None:
        """Raise the last set-up failure again, for `PAUSE_SECONDS` after it happened."""
        if self._failed is not None and monotonic() < self._until:
            raise SetupFailed(self._failed.code, str(self._failed), repeated=True)

    def note(self, failure: DeliveryFailed) -> None:
        """Record a failure. A set-up failure is logged as an error, once in `PAUSE_SECONDS`.

        One that isn't certain stops the other messages when `MAX_REFUSED_IN_A_ROW` had it and none was sent
        between: a single recipient's server must not stop all mail.
        """
        if not isinstance(failure, SetupFailed) or failure.repeated:
            return
        now = monotonic()
        self._in_a_row += 1
        if (failure.certain or self._in_a_row >= MAX_REFUSED_IN_A_ROW) and now >= self._until:
            self._failed, self._until = failure, now + PAUSE_SECONDS
        if now >= self._silent_until:
            self._silent_until = now + PAUSE_SECONDS
            self._log.error("setup_failed", extra={"code": failure.code, "said": str(failure)})

    def succeeded(self) -> None:
        """Record that the provider took a message."""
        self._in_a_row = 0


def not_rendered(template: str, error: Exception) -> DeliveryFailed:
    """The failure of a template that can't be rendered.

    Only texts of the hub's own errors are certain to hold none of the data.
    """
    why = str(error) if isinstance(error, HubError) else type(error).__name__
    return DeliveryFailed("not_rendered", f"{template} can't be rendered ({why})", retryable=False)


def retry_after(given: str) -> float | None:
    """The seconds of a header `Retry-After`, which may be a number or a date (RFC 9110, 10.2.3)."""
    if given.isdecimal():
        return min(float(given), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(given)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), MAX_RETRY_AFTER_SECONDS)
    except (ValueError, OverflowError):  # no date, or none that a clock shows
        return None


def safe_words(said: str, outgoing: Outgoing | None = None, credentials: Iterable[str] = ()) -> str:
    """Make a provider's text one line of bounded length, safe to store and to log.

    Servers quote what they were sent, in whatever spelling. Of an answer to what is confidential only the
    status is kept (RFC 5321 and 3463); of others all but what `without_values` leaves out.
    """
    if outgoing is not None and outgoing.confidential:
        status = _STATUS.match(said)
        return f"{status[0] if status else ''} (text omitted because it may quote the code)".strip()
    line = without_values(said, outgoing, credentials)
    return line if len(line) <= MAX_ERROR_CHARS else f"{line[: MAX_ERROR_CHARS - 1]}…"


_STATUS = re.compile(r"[2-5][0-9][0-9](?:[ -][245]\.[0-9]{1,3}\.[0-9]{1,3})?(?![0-9])")


def without_values(said: str, outgoing: Outgoing | None = None, credentials: Iterable[str] = ()) -> str:
    """The words in one line, without `credentials` (nor their base64, as they are sent) and the values of
    `outgoing.data`; its address is masked as in logs.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in said).split())
    hidden = {value for given in credentials for value in (given, *_encoded(given))}
    if outgoing is not None:
        line = re.sub(re.escape(outgoing.address), masked(outgoing.address), line, flags=re.IGNORECASE)
        hidden.update(_values(outgoing.data))
    hidden = {value for value in hidden if len(value) >= MIN_SECRET_CHARS}
    if hidden:
        longest_first = sorted(hidden, key=len, reverse=True)
        line = re.sub("|".join(map(_pattern, longest_first)), "…", line, flags=re.IGNORECASE)
    return line


def _pattern(value: str) -> str:
    """Codes are also found in the groups that people read them in."""
    return r"[\W_]?".join(value) if value.isalnum() and len(value) <= _MAX_CODE_CHARS else re.escape(value)


_MAX_CODE_CHARS = 64


def _encoded(credential: str) -> Iterator[str]:
    """As it stands in base64, whatever comes before it: AUTH PLAIN sends it after the username."""
    secret = credential.encode()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + secret).decode()
        # the first and last groups depend on the neighbours
        yield whole[4 if before else 0 : len(whole) - 4]


def _values(data: object) -> Iterator[str]:
    if isinstance(data, Mapping):
        data = data.values()
    elif isinstance(data, (str, int, float)):
        yield str(data)
        return
    if isinstance(data, Iterable):
        for value in data:
            yield from _values(value)
