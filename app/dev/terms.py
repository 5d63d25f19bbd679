"""The check of terms in `make lint`: words that texts here don't use, with the field's term for each.

It reads pages, comments and strings. Code between backticks is left out. A line that must have such a word,
such as a name of another program, ends with the comment `<!-- term -->` or `# term`.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
TERMS: Mapping[str, str] = {
    r"set aside|waits? aside|waiting aside|put aside": "deferred, parked",
    r"put back": "replay",
    r"give up after": "retry deadline",
    r"greet again": "resync",
    r"mend(?:s|ed|ing)?": "fix",
    r"anew": "again",
    r"for ever": "indefinitely",
    r"in vain": "without success",
    r"turned away": "refused",
    r"tarpit": "repeat offender",
    r"holds? (?:up nobody|nobody up)": "does not delay others",
    r"at the door": "during the handshake",
    r"newcomers?": "new user, new connection",
    r"token (?:that )?(?:doesn't|does not) hold": "the token is invalid",
    r"who is told|is told (?:once|twice|at once)": "notified, delivered",
    r"new letter|open letters?|the letter's": "dead letter, DLQ message",
}
_TERMS = [(re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), term) for pattern, term in TERMS.items()]
_CODE = re.compile(r"`[^`]*`|\]\([^)]*\)")
ALLOWED = ("<!-- term -->", "# term")
PAGES = ("*.md", "docs/tutorial/*.md", "docs/how-to/*.md", "docs/reference/*.md", "docs/*.md", "client*/*.md")
HISTORY = frozenset({"CHANGELOG.md"})
"""Entries of releases stay as they were published."""


def wrong_terms(line: str) -> Iterator[str]:
    """Each term in a line that has a better one."""
    if line.rstrip().endswith(ALLOWED):
        return
    prose = _CODE.sub("", line)
    for pattern, term in _TERMS:
        yield from (f"{found[0]!r}: write {term}" for found in pattern.finditer(prose))


def prose_of_code(source: str) -> Iterator[tuple[int, str]]:
    """The comments and strings of a module, by line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield from enumerate(token.string.splitlines(), token.start[0])


def lines() -> Iterator[tuple[str, int, str]]:
    """Each line that is checked, with its file and number."""
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            if path.name not in HISTORY:
                for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                    yield path.relative_to(ROOT).as_posix(), number, line
    for top in ("app", "handlers", "client-python"):
        for path in sorted((ROOT / top).rglob("*.py")):
            if path != Path(__file__):
                name = path.relative_to(ROOT).as_posix()
                yield from ((name, *each) for each in prose_of_code(path.read_text("utf-8")))


def main() -> int:
    """Print each wrong term. Returns the exit status."""
    found = [f"{path}:{number}: {problem}" for path, number, line in lines() for problem in wrong_terms(line)]
    print("\n".join(found) or "No wrong terms", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
