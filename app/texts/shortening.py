"""Texts cut to the lengths that clients are promised."""

from __future__ import annotations

import regex

ELLIPSIS = "…"
_CLUSTERS = regex.compile(r"\X")


def shortened(text: str, most: int) -> str:
    """Cut `text` to at most `most` code points, which is how Postgres counts characters.

    What is cut ends in "…", after a whole grapheme cluster: an emoji of several code points, a flag or a
    letter with its marks stays whole or goes.
    """
    if len(text) <= most:
        return text
    end = 0
    for cluster in _CLUSTERS.finditer(text):
        if cluster.end() > most - len(ELLIPSIS):
            break
        end = cluster.end()
    return text[:end] + ELLIPSIS
