"""`run.py …` in this process: starting another takes longer than all that a command does."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from typing import NamedTuple
from unittest.mock import patch

import pytest

from app.cli.main import main


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    output: bytes
    errors: str


def run_command(arguments: tuple[str, ...], environment: Mapping[str, str]) -> Ended:
    """Run it with these variables beside our own; standard input is no terminal. Call it in a thread."""
    printed, complaints = TextIOWrapper(BytesIO(), encoding="utf-8"), StringIO()
    with (
        patch.dict(os.environ, environment),
        patch.object(sys, "argv", ["run.py", *arguments]),
        patch.object(sys, "stdin", StringIO()),
        redirect_stdout(printed),
        redirect_stderr(complaints),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    printed.flush()
    assert isinstance(printed.buffer, BytesIO)
    assert isinstance(ended.value.code, int)
    return Ended(ended.value.code, printed.buffer.getvalue(), complaints.getvalue())
