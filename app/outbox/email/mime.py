"""A mail in the Internet Message Format (RFC 5322) and in MIME (RFC 2045 to 2047), written directly.

The standard library's `email` package parses each header that is set and folds it character by character,
which took most of the CPU of a mail. Attachments, whose names need RFC 2231, are still written by it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from email.message import MIMEPart
from email.policy import EmailPolicy
from functools import lru_cache
from textwrap import TextWrapper
from typing import AnyStr

from app.domain.addresses import Mailbox

MAX_VALUE_CHARS = 66
"""In the first line of a value that is folded: beside `Reply-To: ` in a line of 78 (RFC 5322, 2.1.1)."""
_CRLF, _FOLD = "\r\n", "\r\n "
_WORD_ROOM = MAX_VALUE_CHARS - len("=?utf-8?q??=")  # of an encoded word; RFC 2047 allows more
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!*+-/")
_QUOTED = {byte: chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in range(256)} | {0x20: "_"}
"""How each byte is written where a phrase may stand, such as a display name (RFC 2047, 5)."""
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_SPECIAL = re.compile(r'(["\\])')
_LATE_BLANK = re.compile(rb"(?m)^(.{74,75})(=20|=09)$")
_AT_BLANKS = TextWrapper(MAX_VALUE_CHARS, break_long_words=False, break_on_hyphens=False)
# 7bit: what needs no conversion on its way can't have its DKIM signature broken by one
_ATTACHED = EmailPolicy(linesep=_CRLF, cte_type="7bit")


def header(name: str, *lines: str) -> bytes:
    """A header whose value is folded into these lines.

    Raises `ValueError` when a line would end the header.
    """
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError(f"{name} must not contain line ends")
    return f"{name}: {_FOLD.join(lines)}{_CRLF}".encode()


@lru_cache(maxsize=1024)
def unstructured(text: str) -> tuple[str, ...]:
    """The lines of a header that is text, such as a subject."""
    if not text.isascii() or "=?" in text:
        return encoded_words(text)
    return _folded(text)


@lru_cache(maxsize=256)
def named_address(name: str, mailbox: Mailbox) -> tuple[str, ...]:
    """The lines of a header that is an address with a display name.

    A name that needs more than a line is folded at its blanks: some readers, and some versions of `email`,
    break a quoted name at its comma, and find several addresses then.
    """
    if not name:
        return (str(mailbox),)
    if not name.isascii() or "=?" in name:
        return (*encoded_words(name), f"<{mailbox}>")
    if _ATOMS.fullmatch(name) is None:
        escaped = _SPECIAL.sub(r"\\\1", name)
        name = f'"{escaped}"'
    return _folded(f"{name} <{mailbox}>")


def _folded(text: str) -> tuple[str, ...]:
    return (text,) if len(text) <= MAX_VALUE_CHARS else tuple(_AT_BLANKS.wrap(text))


def encoded_words(text: str) -> tuple[str, ...]:
    """The text as encoded words, one a line (RFC 2047). No character is in two of them."""
    characters = [character.encode() for character in text]
    quoted = ["".join(map(_QUOTED.__getitem__, each)) for each in characters]
    in_base64 = sum(map(len, characters)) * 4 / 3
    if sum(map(len, quoted)) <= in_base64:
        return tuple(f"=?utf-8?q?{''.join(each)}?=" for each in _packed(quoted, _WORD_ROOM))
    packed = map(b"".join, _packed(characters, _WORD_ROOM // 4 * 3))
    return tuple(f"=?utf-8?b?{binascii.b2a_base64(each, newline=False).decode()}?=" for each in packed)


def _packed(pieces: Iterable[AnyStr], room: int) -> Iterator[list[AnyStr]]:
    """The pieces in groups of at most `room` in length."""
    group: list[AnyStr] = []
    length = 0
    for piece in pieces:
        if length + len(piece) > room:
            yield group
            group, length = [], 0
        group.append(piece)
        length += len(piece)
    yield group


def text_part(subtype: str, text: str) -> bytes:
    """A text as a part in quoted-printable, which keeps lines short enough for SMTP whatever the text's are.

    Raises `ValueError` when it can't be written as UTF-8.
    """
    return (
        f'Content-Type: text/{subtype}; charset="utf-8"{_CRLF}'
        f"Content-Transfer-Encoding: quoted-printable{_CRLF}{_CRLF}"
    ).encode() + _quoted_printable(text)


def _quoted_printable(text: str) -> bytes:
    """Lines of at most 76 characters, each ended by CRLF."""
    content = b"\n".join(text.encode().splitlines()) + b"\n"
    written = binascii.b2a_qp(content, istext=True)
    if b"=20\n" in written or b"=09\n" in written:  # b2a_qp doesn't count what a blank at the end becomes
        written = _LATE_BLANK.sub(rb"\1=\n\2", written)
    return written.replace(b"\n", b"\r\n")


def attachment_part(name: str, main_type: str, subtype: str, params: dict[str, str], content: bytes) -> bytes:
    """A file as a part in Base64."""
    part = MIMEPart(_ATTACHED)
    part.set_content(content, maintype=main_type, subtype=subtype, filename=name, params=params or None)
    return part.as_bytes()


def multipart(subtype: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    """Parts, each with its headers, as one. `boundary` has `=_`, which no part in quoted-printable or Base64
    has in a line, and nothing that ends a quoted string.
    """
    start = f"--{boundary}{_CRLF}".encode()
    head = f'Content-Type: multipart/{subtype};{_FOLD}boundary="{boundary}"{_CRLF}{_CRLF}'.encode()
    return b"".join((head, *(start + part + b"\r\n" for part in parts), f"--{boundary}--{_CRLF}".encode()))
