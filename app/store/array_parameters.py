"""Array parameters are lists. Import it before the first statement.

asyncpg 0.32 asks abstract base classes whether an element of an array is an array itself: 0.3 to 0.6 µs each,
and an event has 15 elements. A built-in class answers in a tenth of that.
"""

from __future__ import annotations

from typing import Any

from asyncpg.protocol import protocol

_codecs: Any = protocol  # its type stubs don't have these
_codecs.IterableABC = _codecs.SizedABC = list
