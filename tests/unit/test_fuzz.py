"""The promises that `make fuzz` tries to break: on what broke or reached far once, and on some new inputs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fuzz import engines
from fuzz.engines import WITHIN, Found, examples, long, structured
from fuzz.target import Target, checked
from fuzz.targets import TARGETS

NEW, LONG = 40, 6
"""Inputs of each target: enough to find what breaks at once, few enough for every run."""
KEPT = [
    pytest.param(target, path, id=f"{target.name}-{path.name}")
    for target in TARGETS.values()
    for path in target.corpus()
]
each_target = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)


@pytest.mark.parametrize(("target", "path"), KEPT)
def test_what_was_kept_breaks_no_promise(target: Target, path: Path) -> None:
    checked(target, path.read_bytes(), WITHIN)


@each_target
def test_new_inputs_break_no_promise(target: Target) -> None:
    assert structured(target, NEW, 1) >= NEW


@each_target
def test_long_inputs_take_time_and_memory_in_proportion(target: Target) -> None:
    assert long(target, LONG, 1, examples(target, LONG, 1)) == LONG


def test_a_broken_promise_is_found_with_its_input() -> None:
    def check(data: bytes) -> None:
        assert b"<" not in data, "it was put in"

    with pytest.raises(Found) as found:
        structured(TARGETS["markup"]._replace(check=check), 1000, 1)
    assert b"<" in found.value.data


def test_what_takes_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "WITHIN", 0.01)

    def check(data: bytes) -> None:
        begun = time.thread_time()
        while time.thread_time() - begun < 0.02:
            data.count(b"ab")

    with pytest.raises(Found) as found:
        long(TARGETS["markup"]._replace(check=check), 1, 1, [b"ab"])
    assert "s of CPU" in str(found.value.__cause__)
