"""The numbers of ordered lists in plain text (HTML, 4.4.5 and the attribute `type`). No I/O."""

from __future__ import annotations

MAX_ROMAN = 3999
_ROMAN = (
    *((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")),
    *((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
)


def list_mark(number: int, kind: str = "1") -> str:
    """The number of an item; `kind` is one of 1, a, A, i and I, anything else counts as 1."""
    if kind in ("a", "A") and number > 0:
        return _case(_letters(number), kind)
    if kind in ("i", "I") and 0 < number <= MAX_ROMAN:
        return _case(_roman(number), kind)
    return str(number)


def _case(mark: str, kind: str) -> str:
    return mark.upper() if kind.isupper() else mark


def _letters(number: int) -> str:
    mark = ""
    while number:
        number, letter = divmod(number - 1, 26)
        mark = chr(ord("a") + letter) + mark
    return mark


def _roman(number: int) -> str:
    mark = ""
    for value, letters in _ROMAN:
        count, number = divmod(number, value)
        mark += letters * count
    return mark
