"""Texts cut to a length: at most so many code points, whole grapheme clusters, no more lost than need be."""

from __future__ import annotations

import unicodedata

import pytest

from app.texts.shortening import shortened

CLUSTERS = {
    "letter": "x",
    "flag": "\U0001f1fb\U0001f1f3",
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "skin tone": "\U0001f44d\U0001f3fd",
    "keycap": "1\ufe0f\u20e3",
    "flag of Scotland": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "Vietnamese in NFD": unicodedata.normalize("NFD", "ộ"),
    "Hangul in NFD": unicodedata.normalize("NFD", "각"),
    "Devanagari": "क्षि",
    "line break": "\r\n",
}


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
@pytest.mark.parametrize("most", [255, 100])
def test_a_text_is_cut_after_a_whole_cluster_as_late_as_possible(cluster: str, most: int) -> None:
    for before in ("", "a", "ab", "abc"):
        cut = shortened(before + cluster * 300, most)
        whole = (most - 1 - len(before)) // len(cluster)
        assert cut == before + cluster * whole + "…"
        assert len(cut) <= most


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
def test_a_text_that_fits_stays_as_it_is(cluster: str) -> None:
    fits = cluster * (255 // len(cluster))
    fits += "x" * (255 - len(fits))
    assert shortened(fits, 255) == fits
    assert shortened(fits + "x", 255) != fits + "x"


def test_a_cluster_that_is_longer_than_allowed_goes_whole() -> None:
    assert shortened("e" + "\u0301" * 300, 255) == "…"
    assert shortened("ab" + "\u0301" * 300, 255) == "a…"
