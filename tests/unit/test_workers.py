"""Tests that run in forked workers: each is reported once, with what it printed, also when a worker dies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.support.hub import ROOT

CONFTEST = """
import pytest
from tests.support.workers import OPTION, WorkersPlugin

def pytest_addoption(parser):
    parser.addoption(OPTION, type=int, default=0)

def pytest_configure(config):
    config.pluginmanager.register(WorkersPlugin(config.getoption(OPTION)))

@pytest.fixture(scope="session")
def session():
    yield
    with open("torn_down", "a") as file:
        file.write("x")
"""
TESTS = """
import os, pytest

@pytest.mark.parametrize("number", range(3))
def test_passes(session, tmp_path, number):
    (tmp_path / "file").touch()

def test_fails(session):
    print("what it printed")
    assert 1 == 2

@pytest.mark.skip
def test_is_skipped():
    pass
"""
DEADLY = """
import os, signal

def test_before():
    pass

def test_kills():
    os.kill(os.getpid(), signal.SIGKILL)

def test_after():
    pass
"""
LONG = """
import time, pytest

@pytest.mark.timeout(0.5)
def test_takes_too_long():
    time.sleep(60)
"""


def test_each_test_is_reported_once_also_when_a_worker_dies(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name, tests in {"some": TESTS, "others": TESTS, "deadly": DEADLY, "long": LONG}.items():
        (tmp_path / f"test_{name}.py").write_text(tests)
    options = ["--workers", "2", "-p", "no:cacheprovider", "-p", "timeout", "--junit-xml", "report.xml"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "4 failed, 8 passed, 2 skipped" in done.stdout
    assert done.stdout.count("Captured stdout call") == 2
    assert "::test_kills - the worker ended with status -9" in done.stdout
    assert "test_takes_too_long - Failed: Timeout" in done.stdout
    cases = [case.attrib["name"] for case in ElementTree.parse(tmp_path / "report.xml").iter("testcase")]
    passing = [f"test_passes[{number}]" for number in range(3)]
    some = [*passing, "test_fails", "test_is_skipped"]
    assert sorted(cases) == sorted(
        ["test_before", "test_kills", "test_after", "test_takes_too_long", *some, *some]
    )
    assert len((tmp_path / "torn_down").read_text()) in (1, 2), "by each worker that had it"
