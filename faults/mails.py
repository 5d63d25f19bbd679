"""The mails of the events, as the mail catcher kept them."""

from __future__ import annotations

import os
from collections import defaultdict
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import NamedTuple

from faults.load import DOMAIN, serial_of


class CaughtMail(NamedTuple):
    """A mail, and when the mail catcher received it (unix seconds)."""

    message: EmailMessage
    received_at: float


class Mails:
    """Reads each new mail once; what was there before isn't counted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = set(os.listdir(folder))
        self.found: list[tuple[int, str]] = []
        """Of the events' mails: serial number and Message-ID, in the order of their coming."""
        self.others: defaultdict[str, list[CaughtMail]] = defaultdict(list)
        """By address, what went elsewhere."""

    def read(self) -> set[int]:
        """The serial numbers of all that came until now."""
        for name in sorted(set(os.listdir(self._folder)) - self._known):
            if name.endswith(".eml"):
                self._known.add(name)
                self._read_one(self._folder / name)
        return {serial for serial, _ in self.found}

    def _read_one(self, path: Path) -> None:
        message = BytesParser(EmailMessage, policy=policy.default).parsebytes(path.read_bytes())
        address = str(message["To"])
        if address.endswith(f"@{DOMAIN}"):
            self.found.append((serial_of(address), str(message["Message-ID"])))
        else:
            received_at = int(path.name.partition("-")[0]) / 1e9
            self.others[address].append(CaughtMail(message, received_at))
