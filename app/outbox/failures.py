"""How providers fail: what concerns every message alike, and their words made safe to keep and to log."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from time import monotonic

from app.domain.deliveries import masked
from app.domain.errors import DeliveryFailed, HubError
from app.outbox.channel import Outgoing

PAUSE_SECONDS = 30.0  # seconds a provider that refuses everything is left alone
MAX_ERROR_CHARS = 500  # characters kept of what a provider says
MIN_SECRET_CHARS = 4  # shorter values are no secrets, and stand in words by chance


class SetupFailed(DeliveryFailed):
    """The provider would refuse every message alike: a wrong password, a certificate that doesn't hold.

    It passes, as an operator can mend it and nothing is wrong with the messages: they wait as long as it
    makes sense, instead of all being lost to one wrong setting.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text, retryable=True, retry_after=PAUSE_SECONDS)


class FailFastBreaker:
    """Keeps messages from a provider that has just refused everything.

    Thousands of them would each try the same wrong password, until the account is locked or the hub banned.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._failed: SetupFailed | None = None
        self._until = 0.0

    def check(self) -> None:
        """Raises what happened, for `PAUSE_SECONDS` seconds after it did."""
        if self._failed is not None and monotonic() < self._until:
            raise SetupFailed(self._failed.code, str(self._failed))

    def note(self, failure: DeliveryFailed) -> None:
        """Record a failure. A set-up failure is logged as an error, once in `PAUSE_SECONDS`."""
        if isinstance(failure, SetupFailed) and monotonic() >= self._until:
            self._failed, self._until = failure, monotonic() + PAUSE_SECONDS
            self._log.error("setup_failed", extra={"code": failure.code, "said": str(failure)})


def not_rendered(template: str, error: Exception) -> DeliveryFailed:
    """A template that could not be filled. Only the hub's own errors are sure to hold none of the data."""
    why = str(error) if isinstance(error, HubError) else type(error).__name__
    return DeliveryFailed("not_rendered", f"{template} can't be rendered ({why})", retryable=False)


def safe_words(said: str, outgoing: Outgoing | None = None, credentials: Iterable[str] = ()) -> str:
    """What a provider said, in one line of bounded length.

    Servers quote what they were sent, in whatever spelling. Of an answer to what is confidential only the
    status is kept (RFC 5321 and 3463); of others all but what `without_values` leaves out.
    """
    if outgoing is not None and outgoing.confidential:
        status = _STATUS.match(said)
        return f"{status[0] if status else ''} (the words are left out, as they may quote the code)".strip()
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
