"""JSON whose numbers stay as they were sent: all digits of a decimal, and integers of any size."""

from __future__ import annotations

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
        raise ValueError(f"a number must be below 1e{MAX_EXPONENT_COUNT + 1} and have no smaller digits")
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
