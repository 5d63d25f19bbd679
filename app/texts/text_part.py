"""The text part of an HTML mail: how its elements look in plain text. No I/O.

White space that is to stay (of `<pre>`, indentations, columns) is written as marks until the end, since all
other white space becomes single blanks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import category, east_asian_width

from app.texts.list_numbers import list_mark

LINE_CHARS = 78  # a table whose rows are longer is written cell by cell
COLUMN_GAP_CHARS = 3
MAX_QUOTES = 3  # nested deeper, their lines aren't marked
MAX_INDENTED = 4  # nested deeper, items of lists aren't indented
MAX_INDENT_CHARS = 4
RULE = "--------------------"

# No text has them: control characters are dropped.
_LINK_END, _BLANK, _TAB, _LINE = "\0", "\x01", "\x02", "\x03"
_KEPT = str.maketrans({" ": _BLANK, "\t": _TAB, "\n": _LINE})
_SHOWN = str.maketrans({_BLANK: " ", _TAB: "\t", _LINE: "\n"})
_SPACES = re.compile(r"\s+")
_BLANKS = re.compile(r"[ \t]+")
_MANY_LINES = re.compile(r"\n{3,}")
_GLUED = re.compile(rf"{_LINK_END}(?=[\w(<\"'/#?&=-])")
_EMPTY_LINES = re.compile(r"\n(?=\n)")
_STARTS = re.compile(rf"([\n{_LINE}])(?!{_BLANK}?(?:[\n{_LINE}]|$))")
_ALL_STARTS = re.compile(rf"(^|[\n{_LINE}])(?=([^\n{_LINE}])?)")
_PARAGRAPHS = frozenset(("p", "h", "pre", "blockquote", "ul", "ol", "table"))
_INLINE = frozenset(("a", "b", "strong", "i", "em", "u", "s", "code", "sup", "sub"))
FRAMED = frozenset(("li", "ul", "ol", "blockquote", "pre", "table", "cell", "caption"))
"""Elements whose text is put together when they end."""


class Cell(NamedTuple):
    """A cell of a table; `span` is the number of its columns."""

    text: str
    span: int = 1


class _TextFrame:
    """An element that is open, and what was written in it."""

    __slots__ = ("gap", "key", "mark", "number", "parts", "rows", "span")

    def __init__(self, key: str) -> None:
        self.key = key
        self.parts: list[str] = []
        self.gap = 0  # line ends before what comes next
        self.number = 1  # of the next item of a list
        self.mark = ""  # its kind of numbers
        self.span = 1
        self.rows: list[list[Cell]] = []


class TextPart:
    """Writes the text while an HTML mail is read. Each `open` needs its `close`, in order."""

    def __init__(self) -> None:
        self._frames = [_TextFrame("")]
        self._preformatted = 0

    def add(self, text: str) -> None:
        """Add text of the document; its white space stays in `<pre>` alone."""
        self._write(text if self._preformatted else _SPACES.sub(" ", text))

    def add_address(self, url: str) -> None:
        """Add an address that stands alone, so that nothing may follow it at once."""
        self._write(url + _LINK_END)

    def add_behind(self, text: str) -> None:
        """Add text to the line that was written last, also if an element ended there."""
        frame = self._frames[-1]
        gap, frame.gap = frame.gap, 0
        self._write(text)
        frame.gap = gap

    def line(self) -> None:
        """End the line."""
        self._write("\n")

    def rule(self) -> None:
        """Add a line across the text."""
        self._space(2)
        self._write(RULE)
        self._space(2)

    def separate(self, key: str) -> None:
        """Begin a new line, or a paragraph, where an element of this kind starts or ends."""
        if key in _INLINE:
            return
        in_list = key in ("ul", "ol") and self._frames[-1].key == "li"
        self._space(2 if key in _PARAGRAPHS and not in_list else 1)

    def open(self, key: str, number: int | None = None, mark: str = "") -> None:
        """Start an element whose text is put together at its end.

        Args:
            key: One of `FRAMED`, or `row`.
            number: Of a list, that of its first item; of an item, its own; of a cell, its columns.
            mark: Of a list, its attribute `type`.
        """
        outer = self._frames[-1]
        if key == "row":
            if outer.key == "table":
                outer.rows.append([])
            return
        self.separate(key)
        if key == "li" and number is not None and outer.key == "ol":
            outer.number = number
        frame = _TextFrame(key)
        if key == "ol":
            frame.number, frame.mark = 1 if number is None else number, mark
        elif key == "cell":
            frame.span = number or 1
        self._preformatted += key == "pre"
        self._frames.append(frame)

    def close(self, key: str) -> None:
        """End the innermost element."""
        if key != "row":
            frame = self._frames.pop()
            self._preformatted -= key == "pre"
            self._end(frame)
            self.separate(key)

    def text(self) -> str:
        """The whole text, when nothing is open any more."""
        return _tidy("".join(self._frames[0].parts)).translate(_SHOWN)

    def _write(self, text: str) -> None:
        frame = self._frames[-1]
        if frame.gap:
            if not text.strip(" \t"):
                return
            if frame.parts:
                frame.parts.append("\n" * frame.gap)
            frame.gap = 0
        frame.parts.append(text)

    def _space(self, lines: int) -> None:
        frame = self._frames[-1]
        frame.gap = max(frame.gap, lines)

    def _end(self, frame: _TextFrame) -> None:
        text, outer = "".join(frame.parts), self._frames[-1]
        if frame.key == "pre":
            self._write(_kept(text))
            return
        text = _tidy(text)
        if frame.key == "li":
            self._end_item(outer, text)
        elif frame.key == "blockquote":
            self._write(text if self._depth("blockquote") >= MAX_QUOTES else _quoted(text))
        elif frame.key == "cell" and outer.key == "table":
            if not outer.rows:
                outer.rows.append([])
            outer.rows[-1].append(Cell(text, frame.span))
        else:
            self._write("\n".join(filter(None, (text, table_lines(frame.rows)))))

    def _end_item(self, outer: _TextFrame, text: str) -> None:
        mark = "- "
        if outer.key == "ol":
            mark = f"{list_mark(outer.number, outer.mark)}. "
            outer.number += 1
        if not text:
            return
        indent = _BLANK * (min(len(mark), MAX_INDENT_CHARS) if self._depth("li") < MAX_INDENTED else 0)
        self._write(mark + _STARTS.sub(rf"\1{indent}", text))

    def _depth(self, key: str) -> int:
        return sum(each.key == key for each in self._frames)


def table_lines(rows: Sequence[Sequence[Cell]]) -> str:
    """A table as text: each row a line, in columns, if all fit; else each cell a line."""
    rows = [row for row in rows if any(cell.text for cell in row)]
    texts = [cell.text for row in rows for cell in row]
    if not any("\n" in text or _LINE in text for text in texts):
        lines = _in_columns(rows)
        if lines is not None:
            return "\n".join(lines)
    cells = ["\n".join(cell.text for cell in row if cell.text) for row in rows]
    return ("\n\n" if any("\n" in each for each in cells) else "\n").join(cells)


def _in_columns(rows: Sequence[Sequence[Cell]]) -> list[str] | None:
    """The rows as lines; None if one is too long. Columns without text are left out."""
    widths: dict[int, int] = {}
    for row in rows:
        for column, cell in _placed(row):
            width = _width(cell.text) if cell.span == 1 else 0
            if cell.text:
                widths[column] = max(widths.get(column, 0), width)
    starts: dict[int, int] = {}
    at = 0
    for column in sorted(widths):
        starts[column] = at
        at += widths[column] + COLUMN_GAP_CHARS
        if at > LINE_CHARS + COLUMN_GAP_CHARS:
            return None
    lines = [_row(row, starts) for row in rows]
    return None if any(_width(line) > LINE_CHARS for line in lines) else lines


def _row(row: Sequence[Cell], starts: dict[int, int]) -> str:
    line, width = "", 0
    for column, cell in _placed(row):
        if cell.text:
            gap = max(starts[column] - width, COLUMN_GAP_CHARS if line else 0)
            line += _BLANK * gap + cell.text
            width += gap + _width(cell.text)
    return line


def _placed(row: Sequence[Cell]) -> list[tuple[int, Cell]]:
    placed, column = [], 0
    for cell in row:
        placed.append((column, cell))
        column += cell.span
    return placed


def _width(text: str) -> int:
    """The columns that a terminal takes for the text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if category(c) in ("Mn", "Me", "Cf") else 2 if east_asian_width(c) in "WF" else 1 for c in text
    )


def _quoted(text: str) -> str:
    return (
        _ALL_STARTS.sub(lambda found: f"{found[1]}> " if found[2] else f"{found[1]}>", text) if text else ""
    )


def _kept(text: str) -> str:
    """The text of `<pre>`, without the line ends around it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.removeprefix("\n").rstrip()
    return _EMPTY_LINES.sub("\n ", text).translate(_KEPT)  # a blank keeps an empty line from being dropped


def _tidy(text: str) -> str:
    if _LINK_END in text:
        text = _GLUED.sub(" ", text).replace(_LINK_END, "")
    lines = (_BLANKS.sub(" ", line).strip(" \t\r\f\v") for line in text.split("\n"))
    return _MANY_LINES.sub("\n\n", "\n".join(lines)).strip("\n")
