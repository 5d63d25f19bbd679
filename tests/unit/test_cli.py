"""`run.py`: which commands there are, what each imports, and the exit status."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pytest

from app import settings
from app.cli import main as root
from app.domain.errors import HubError
from tests.support.hub import ROOT

ALL = {**root.COMMANDS, **root.DEVELOPMENT_COMMANDS}


def call(*arguments: str, cwd: Path = ROOT, python: Sequence[str] = ("run.py",)) -> tuple[int, str, str]:
    """Run the command in a separate process: the exit status, standard output and standard error."""
    ended = subprocess.run(
        [sys.executable, *python, *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def status(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Run the command in this process."""
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        root.main()
    return ended.value.code


def test_the_help_lists_every_command_with_its_summary(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(monkeypatch, "--help") == 0
    printed = capsys.readouterr().out
    for name, command in ALL.items():
        assert name in printed
        assert command.summary in printed
    assert "completion" not in printed


@pytest.mark.parametrize("name", ALL)
def test_each_command_has_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for option in ("-h", "--help"):
        assert status(monkeypatch, name, option) == 0
        assert capsys.readouterr().out.startswith(f"Usage: run.py {name} ")


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (("--help",), {"app.settings", "app.cli.dlq", "app.dev", "aiokafka", "sanic", "rich"}),
        (("serve", "--help"), {"app.dev", "app.cli.dlq", "app.sources.dlq", "prometheus_client", "rich"}),
        (("dlq", "replay", "--help"), {"app.dev", "app.server", "app.sources.dlq", "aiokafka", "rich"}),
        (("token", "--help"), {"app.server", "app.cli.dlq", "aio_pika"}),
    ],
)
def test_a_command_imports_only_what_it_needs(arguments: tuple[str, ...], absent: set[str]) -> None:
    script = (
        "import atexit, json, sys; from app.cli.main import main; "
        "atexit.register(lambda: print(json.dumps(list(sys.modules)), file=sys.stderr)); main()"
    )
    ended, _, modules = call(*arguments, python=("-c", script))
    assert ended == 0
    assert not absent.intersection(json.loads(modules))


@pytest.mark.parametrize(
    ("arguments", "workers"),
    [
        ((), None),
        (("serve",), None),
        (("--workers", "3"), "3"),
        (("serve", "--workers", "3"), "3"),
        (("--workers", "3", "serve"), "3"),
        (("--workers", "3", "serve", "--workers", "4"), "4"),
    ],
)
def test_workers_may_stand_before_and_after_serve(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], workers: str | None
) -> None:
    asked = []

    def load(**values: str | None) -> None:
        asked.append(values)
        raise HubError("enough")

    monkeypatch.setattr(settings, "load", load)
    assert status(monkeypatch, *arguments) == 1
    assert asked == [{"workers": workers}]


@pytest.mark.parametrize(
    "arguments",
    [("unknown",), ("--unknown",), ("--workers",), ("token", "not-a-uuid"), ("mail",), ("dlq",)],
)
def test_wrong_usage_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert status(monkeypatch, *arguments) == 2
    printed, complaint = capsys.readouterr()
    assert not printed
    assert "Error: " in complaint


def test_an_error_of_the_hub_is_a_sentence_and_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(**_: object) -> None:
        raise HubError("REDIS_URL is not set.")

    monkeypatch.setattr(settings, "load", load)
    assert status(monkeypatch, "serve") == 1
    assert capsys.readouterr() == ("", "REDIS_URL is not set.\n")


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def load(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(settings, "load", load)
    assert status(monkeypatch, "serve") == 130
    assert capsys.readouterr().out == ""


def test_a_traceback_shows_no_local_variables() -> None:
    """They hold passwords and tokens."""
    script = (
        "from app import settings\n"
        "from app.cli import main\n"
        "def load(**_):\n"
        "    password = 'CANARY'.lower()\n"
        "    raise RuntimeError('unexpected')\n"
        "settings.load = load\n"
        "main.main()\n"
    )
    ended, printed, complaint = call("serve", python=("-c", script))
    assert ended == 1
    assert complaint.startswith("Traceback (most recent call last):")
    assert complaint.endswith("RuntimeError: unexpected\n")
    assert "canary" not in printed + complaint


def test_the_image_lists_only_commands_that_work_there(tmp_path: Path) -> None:
    """.dockerignore keeps app/dev out of the image."""
    assert (ROOT / ".dockerignore").read_text().split().count("app/dev") == 1
    (tmp_path / "app").mkdir()
    for entry in (ROOT / "app").iterdir():
        if entry.name not in ("dev", "__pycache__"):
            (tmp_path / "app" / entry.name).symlink_to(entry)
    for name in ("handlers", "locales", "migrations"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "run.py", tmp_path)
    script = (
        "import json, sys; from contextlib import *; from io import StringIO; from app.cli.main import main\n"
        "for line in sys.argv[1:]:\n"
        "    sys.argv = ['run.py', *line.split()]\n"
        "    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:\n"
        "        try: main()\n"
        "        except SystemExit as ended: code = ended.code\n"
        "    print(json.dumps([code, out.getvalue(), err.getvalue()]))"
    )
    lines = ["--help", *(f"{name} --help" for name in root.COMMANDS), *root.DEVELOPMENT_COMMANDS, ""]
    _, results, _ = call(*lines, cwd=tmp_path, python=("-c", script))
    ended = dict(zip(lines, map(json.loads, results.splitlines()), strict=True))
    commands = ended["--help"][1].partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in commands] == list(root.COMMANDS)
    for name in root.COMMANDS:
        assert ended[f"{name} --help"][0] == 0
    for name in root.DEVELOPMENT_COMMANDS:
        code, _, complaint = ended[name]
        assert code == 2
        assert f"No such command {name!r}" in complaint
    code, _, complaint = ended[""]
    assert code == 1
    assert "DATABASE_URL is not set." in complaint


def test_the_commands_of_development_are_those_that_import_it() -> None:
    for name, command in ALL.items():
        source = Path(str(import_module(command.module).__file__)).read_text()
        assert ("app.dev" in source) == (name in root.DEVELOPMENT_COMMANDS), name
