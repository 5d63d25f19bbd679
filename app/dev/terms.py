"""The check of terms in `make lint`: words that texts here don't use, with the field's term for each.

It reads pages, comments and strings. Code between backticks is left out. A line that must have such a word,
such as a name of another program, ends with the comment `<!-- term -->` or `# term`.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
TERMS: Mapping[str, str] = {
    r"set aside|waits? aside|waiting aside|put aside|waited aside": "deferred, parked",
    r"put back": "replay, requeue",
    r"give up after": "retry deadline",
    r"greet(?:s|ed)? again": "resync",
    r"mend(?:s|ed|ing)?": "fix",
    r"anew": "again, recreated",
    r"for ever": "indefinitely",
    r"in vain": "without success",
    r"turned away": "refused",
    r"tarpit": "repeat offender",
    r"holds? (?:up nobody|nobody up)|held up": "does not delay others, delayed",
    r"(?:at|behind|in) the door": "during the handshake",
    r"newcomers?": "new user, new connection",
    r"token (?:that )?(?:doesn't|does not|still) holds?": "the token is invalid, valid",
    r"who is told|(?:is|are|was|were|be|been|being) told": "notified, gets, distinguished",
    r"whether they are told": "whether they are notified",
    r"(?:new|open|which|two|three) letters?|(?<!dead )letter's": "dead letter",
    r"(?:of|on) (?:its|their|our|his|her|your|my) own(?! \w)": "separate, or leave it out",
    r"crowds?(?! sec)": "overload, many clients",
    r"farewells?": "close message",
    r"shelf": "DLQ reader",
    r"pacer|paces": "rate limiter",
    r"stand ?still|stands still": "stall",
    r"worked off": "processed",
    r"by turns": "alternately",
    r"what came of (?:it|them)": "result",
    r"nobody's|asks? nobody|waits? for nobody|tells? nobody": "name the actor or the resource",
    r"in hand": "in progress, claimed",
    r"hands (?:over|on|out)": "passes, returns",
    r"as good as none": "counts as missing",
    r"hands through": "passes through",
    r"by the book": "well-formed",
    r"who (?:comes|floods|sends|asks)": "a client that …",
    r"says so in words|in words,": "as text",
    r"(?:un|de)pack(?:s|ed|ing) (?:to|up to|whole)": "decompress",
    r"mails? and text messages": "mail and SMS",
    r"at a pace": "rate-limited",
    r"(?:the|a|this|that) gate": "admission, handshake",
    r"is sighted|sightings?": "first seen",
}
"""Patterns of words, by the field's terms for them."""
_TERMS = [(re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), term) for pattern, term in TERMS.items()]
_ANY = re.compile(rf"\b(?:{'|'.join(TERMS)})\b", re.IGNORECASE)
"""Decides for most lines and files at once: each pattern tried on each line takes ten times as long."""
_PROSE = frozenset({tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)})
_CODE = re.compile(r"`[^`]*`|\]\([^)]*\)")
ALLOWED = ("<!-- term -->", "# term")
SUFFIXES = frozenset(
    {".py", ".md", ".js", ".ts", ".tsx", ".vue", ".yml", ".toml", ".jinja", ".html", ".example"}
)
OTHERS = frozenset({"Makefile", "Dockerfile"})
EXEMPT = frozenset(
    {
        "app/dev/terms.py",  # has the words
        "tests/unit/test_terms.py",  # tests the words
    }
)


def wrong_terms(line: str) -> Iterator[str]:
    """Each term in a line that has a better one."""
    if line.rstrip().endswith(ALLOWED):
        return
    prose = _CODE.sub("", line)
    if not _ANY.search(prose):
        return
    for pattern, term in _TERMS:
        yield from (f"{found[0]!r}: write {term}" for found in pattern.finditer(prose))


def prose_of_code(source: str) -> Iterator[tuple[int, str]]:
    """The comments and strings of a module, by line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _PROSE:
            yield from enumerate(token.string.splitlines(), token.start[0])


def files() -> list[Path]:
    """The files of the repository that have prose, tests included."""
    tracked = subprocess.run(
        ("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    found = (Path(name) for name in tracked if name and name not in EXEMPT)
    return [path for path in found if path.suffix in SUFFIXES or path.name in OTHERS]


def lines() -> Iterator[tuple[str, int, str]]:
    """Each line that is to be checked, with its file and number: those of files that have such a word."""
    for path in files():
        text = (ROOT / path).read_text("utf-8")
        if not _ANY.search(text):
            continue
        found = prose_of_code(text) if path.suffix == ".py" else enumerate(text.splitlines(), 1)
        source = text.splitlines()
        for number, line in found:
            if not source[number - 1].rstrip().endswith(ALLOWED):
                yield path.as_posix(), number, line


def main() -> int:
    """Print each wrong term. Returns the exit status."""
    found = [f"{path}:{number}: {problem}" for path, number, line in lines() for problem in wrong_terms(line)]
    print("\n".join(found) or "No wrong terms", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
