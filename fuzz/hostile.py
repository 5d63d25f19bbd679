"""Values that break things: texts, JSON, and good messages with something wrong in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fuzz.target import CANARY

NASTY = (
    *("", " ", "\0", "\n", "\r\nBcc: x@evil.example", "\x1b[31m", "\u202e", "\u2028", "\x85", "\ufeff"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><b>', "'\"`", "</td></tr>", "<!--"),
    *("{{ 7*7 }}", "{% raw %}", "%(group_name)s", "%s", "%", "${x}", "\\u0000", "\\"),
    *("javascript:alert(1)", "https://a.example/?q=<x>", "https://u:p@evil.example", "../../etc/passwd"),
    *("' or 1=1 --", "a@b.example", "a@[1.2.3.4]", "+84912345678", "1e999", "NaN", "-0", "٣", "ß", "İ"),
    *("e\u0301" * 50, "👩‍👩‍👧", "\ud7ff\ue000", "x" * 600, CANARY),
)
TEXTS: SearchStrategy[str] = (
    st.sampled_from(NASTY) | st.text(max_size=30) | st.lists(st.sampled_from(NASTY), max_size=3).map("".join)
)
NUMBERS = (
    st.integers()
    | st.sampled_from([2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**40])
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def changed(
    draw: st.DrawFn, samples: Sequence[Mapping[str, Any]], keys: Sequence[str] = ()
) -> dict[str, Any]:
    """A sample with some of its fields, at any depth, replaced, removed or added (also of `keys`)."""
    body = json.loads(json.dumps(draw(st.sampled_from(samples))))
    for _ in range(draw(st.integers(0, 3))):
        place = body
        while inner := [value for value in place.values() if isinstance(value, dict) and value]:
            if draw(st.booleans()):
                break
            place = draw(st.sampled_from(inner))
        key = draw(st.sampled_from([*place, *keys])) if place or keys else draw(TEXTS)
        if draw(st.integers(0, 5)) == 0:
            place.pop(key, None)
        else:
            place[key] = draw(TEXTS if isinstance(place.get(key), str) else VALUES)
    return dict(body)


def as_json(value: Any) -> bytes:
    """JSON, also of what can't be written as UTF-8."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@st.composite
def spoiled(draw: st.DrawFn, good: SearchStrategy[bytes]) -> bytes:
    """Mostly what `good` gives; else with a piece cut out, put in or repeated."""
    data = draw(good)
    if draw(st.integers(0, 3)):
        return data
    begin, end = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
    return data[:begin] + draw(st.binary(max_size=8) | st.just(data[begin:end] * 2)) + data[end:]


def json_words(samples: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """What JSON of this kind is made of: for libFuzzer's dictionary."""
    keys = {key for sample in samples for key in sample} | {
        key for sample in samples for inner in sample.values() if isinstance(inner, dict) for key in inner
    }
    signs = ('{"', '":', ',"', "[", "]", "}", "null", "true", "1e308", "\\u0000", "\\ud800", '"x":')
    return [*(f'"{key}":'.encode() for key in sorted(keys)), *(sign.encode() for sign in signs)]
