"""JSON whose numbers stay as they were sent: all digits of a decimal, and integers of any size."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec

MAX_EXPONENT_COUNT = 400
"""Powers of ten. Postgres writes 1e400 as 401 digits: a small event could have a huge answer."""


def _number(text: str) -> float | Decimal:
    """A float where that has the same text, else a decimal. msgspec passes the text of a ValueError on."""
    number = float(text)
    if repr(number) == text:
        return number
    exact = Decimal(text)
    if abs(exact.adjusted()) > MAX_EXPONENT_COUNT:
        raise ValueError(
            f"a number must be below 1e{MAX_EXPONENT_COUNT + 1} and have no digits below "
            f"1e-{MAX_EXPONENT_COUNT}"
        )
    return exact


def _value(text: str) -> float | Decimal:
    """A float where that is the same number, however written, else a decimal."""
    exact = _number(text)
    number = float(text)
    return number if exact == number else exact


_decoder = msgspec.json.Decoder(float_hook=_number)
_canonical_decoder = msgspec.json.Decoder(float_hook=_value)
_encoder = msgspec.json.Encoder(decimal_format="number")
_canonical_encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")


def decode(text: bytes | str) -> Any:
    """Decode JSON of any form. Raises what msgspec raises."""
    return _decoder.decode(text)


def encode(value: Any) -> bytes:
    """Encode what was decoded, with numbers as they were."""
    return _encoder.encode(value)


def decode_canonically(text: bytes) -> Any:
    """Decode JSON so that two texts with the same content give the same value, as far as a float can tell."""
    return _canonical_decoder.decode(text)


def encode_canonically(value: Any) -> bytes:
    """The same for each order of keys."""
    return _canonical_encoder.encode(value)


_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_HALF = (
    "a string has an unpaired surrogate (\\ud800 to \\udfff); send the complete pair, or the character "
    "itself in UTF-8"
)


def fault(text: bytes, error: Exception) -> str:
    """Why `text` is no JSON, in words: the decoder takes half a surrogate pair for a text that was cut."""
    return _HALF if _has_half_pair(text) else str(error)


def _has_half_pair(text: bytes) -> bool:
    expected = -1  # the position where the second half has to begin
    for found in _ESCAPE.finditer(text):
        unit = int(found[1], 16) if found[1] else 0
        second = 0xDC00 <= unit < 0xE000
        if second != (expected == found.start()) or (expected >= 0 and not second):
            return True
        expected = found.end() if 0xD800 <= unit < 0xDC00 else -1
    return expected >= 0
