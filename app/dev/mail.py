"""A mail server that delivers nothing: it stores each message as a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from app.dev.process import free_port, make_folder


class MailCatcher(NamedTuple):
    """Where the server listens on this machine, and the folder of the .eml files, named in their order."""

    port: int
    folder: Path


class _Keeper:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        path = self._folder / f"{time.time_ns()}-{next(self._numbers)}.eml"
        await asyncio.to_thread(_write, path, envelope.content)
        return "250 kept"


def _write(path: Path, content: bytes) -> None:
    """Write atomically, so that a listing of the folder never shows half a message."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.rename(path)


@contextmanager
def run_mail(home: Path) -> Iterator[MailCatcher]:
    """Catch mail into `home/mail`. Files of earlier runs stay."""
    folder = make_folder(home / "mail")
    port = free_port()
    controller = Controller(_Keeper(folder), hostname="127.0.0.1", port=port, enable_SMTPUTF8=True)
    controller.start()
    try:
        yield MailCatcher(port, folder)
    finally:
        controller.stop()
