"""Attachments as events give them, read and checked."""

from __future__ import annotations

import errno
import mimetypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from app.domain.deliveries import GivenAttachment
from app.domain.errors import DeliveryFailed
from app.outbox.channel import Attachment

_DEFAULT_TYPE = "application/octet-stream"


def load(given: Iterable[GivenAttachment], folder: str | None, max_bytes: int) -> tuple[Attachment, ...]:
    """Read the attachments of one mail: at most `max_bytes` of them together, files from `folder` only.

    Reads files: call it in a thread. Raises `DeliveryFailed` (code attachment), which is retryable only if
    a file exists and can't be read now; its text names attachments as the event does.
    """
    room = max_bytes
    loaded = []
    for each in given:
        attachment = _load(each, folder, room, max_bytes)
        room -= len(attachment.content)
        loaded.append(attachment)
    return tuple(loaded)


def _load(given: GivenAttachment, folder: str | None, room: int, max_bytes: int) -> Attachment:
    if (given.content is None) == (given.path is None):
        raise _refused("an attachment must have either `content` or `path`")
    if given.path is not None:
        name = given.name or Path(given.path).name
        content = _read(given.path, folder, room)
    else:
        if not given.name:
            raise _refused("an attachment with `content` must have a `name`")
        name, content = given.name, given.content or b""
    if len(content) > room:
        raise _refused(f"the attachments exceed {max_bytes} bytes in total (ATTACHMENTS_MAX_BYTES)")
    return Attachment(name, given.content_type or mimetypes.guess_type(name)[0] or _DEFAULT_TYPE, content)


def _read(path: str, folder: str | None, room: int) -> bytes:
    """The file's bytes, and never more than one beyond `room`."""
    if folder is None:
        raise _refused(f"{path!r}: files cannot be attached because ATTACHMENTS_DIR is not set")
    try:
        root = Path(folder).resolve()
        file = (root / path).resolve()
        if not file.is_relative_to(root):
            raise _refused(f"{path!r} is outside the folder for attachments")
        # doesn't block on a pipe, and follows no link that was created since
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _refused(f"{path!r} is not a file")
            with open(descriptor, "rb", closefd=False) as opened:
                return opened.read(room + 1)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        raise _refused(f"{path!r} isn't in the folder for attachments") from None
    except (ValueError, RuntimeError):  # a null byte, or links that go round in circles
        raise _refused(f"{path!r} is not a path") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _refused(f"a path of {len(path)} characters is too long") from None
        raise _refused(f"{path!r} can't be read: {error.strerror}", retryable=True) from None


def _refused(text: str, *, retryable: bool = False) -> DeliveryFailed:
    return DeliveryFailed("attachment", text, retryable=retryable)
