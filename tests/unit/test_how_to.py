"""The guides: each sample in docs/how-to does what its page says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "how-to"
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def samples() -> list[Any]:
    """Each test in a page, as the reader would paste it."""
    found = []
    for page in sorted(FOLDER.glob("*.md")):
        for code in _PYTHON.findall(page.read_text("utf-8")):
            namespace: dict[str, Any] = {}
            exec(compile(code, str(page), "exec"), namespace)
            tests = [value for name, value in namespace.items() if name.startswith("test_")]
            assert tests, f"{page.name}: a sample without a test"
            found += [pytest.param(test, id=f"{page.stem}-{test.__name__}") for test in tests]
    return found


@pytest.mark.parametrize("sample", samples())
async def test_a_sample_passes(sample: Any) -> None:
    result = sample()
    if inspect.isawaitable(result):
        await result
