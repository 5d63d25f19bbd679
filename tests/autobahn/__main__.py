"""Autobahn's WebSocket test suite on the hub's connection; the results go to docs/explanation/autobahn.md.

    python -m tests.autobahn

The suite runs on Python 2.7 only. That is AUTOBAHN_PYTHON, else the PATH's python2.7, else Debian's: the last
release that had it is asked by apt-get, and its packages are unpacked into the cache, not installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from app.dev.process import Command, Running, ServiceError, make_folder, start
from bench import machine
from tests.autobahn.server import PATH

GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "10": "long messages in parts",
}
VERDICTS = ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED")

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = _ROOT / "docs" / "explanation" / "autobahn.md"
_REPORTS = _ROOT / "build" / "autobahn"
_SECONDS = 600.0

_NAMED = "AUTOBAHN_PYTHON"
_DEBIAN = "bullseye"  # the last Debian with a Python 2.7
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_DEBS = (
    *("python2.7-minimal", "libpython2.7-minimal", "python2.7", "libpython2.7-stdlib"),
    *("libbz2-1.0", "libexpat1", "libffi7", "libsqlite3-0", "libssl1.1", "zlib1g"),
)
_PIP = "pip==20.3.4"
_BUILDERS = ("setuptools==44.1.1", "wheel==0.37.1")
_SUITE = "25.10.1"
# All that the fuzzing client imports, and no more: what the suite itself asks for would need a compiler.
_PACKAGES = (
    *(f"autobahntestsuite=={_SUITE}", "autobahn==0.10.9", "txaio==2.1.0"),
    *("Twisted==20.3.0", "zope.interface==5.5.2", "attrs==21.4.0", "Automat==20.2.0", "constantly==15.1.0"),
    *("hyperlink==21.0.0", "idna==2.10", "incremental==17.5.0", "typing==3.10.0.0", "six==1.16.0"),
    *("pyOpenSSL==19.1.0", "cryptography==3.3.2", "cffi==1.15.1", "pycparser==2.21", "enum34==1.1.10"),
    *("ipaddress==1.0.23", "Jinja2==2.11.3", "MarkupSafe==1.1.1"),
    *("unittest2==1.1.0", "traceback2==1.4.0", "linecache2==1.0.0"),
)
_START = "import site, sys; site.addsitedir(sys.argv.pop(1)); from autobahntestsuite.wstest import run; run()"


@dataclass(frozen=True)
class Python:
    """A Python 2.7: its program, the folders of its libraries, and one line on where it comes from."""

    program: Path
    origin: str
    libraries: tuple[Path, ...] = ()

    def environment(self, packages: Path) -> dict[str, str]:
        """What it runs with, those packages included."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        libraries = ":".join(map(str, self.libraries))
        return {
            **inherited,
            **({"LD_LIBRARY_PATH": libraries} if libraries else {}),
            "PYTHONPATH": str(packages),
        }


@dataclass(frozen=True)
class Case:
    """What became of a case, and what it is about."""

    name: str
    verdict: str
    about: str
    result: str


def main() -> int:
    """Run all cases and write the page; 1 when a case failed, or none could be run."""
    try:
        return _main()
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _main() -> int:
    load_before = os.getloadavg()[0]
    python = _python()
    version = _version(python)
    packages = _once("autobahn", [*_PACKAGES, str(python.program)], lambda folder: _install(python, folder))
    began = time.monotonic()
    cases = _run(python, packages)
    took = time.monotonic() - began
    _PAGE.write_text(_page(cases, f"Python {version} ({python.origin})", took, load_before), "utf-8")
    failed = [case for case in cases if case.verdict == "FAILED"]
    for case in failed:
        _say(f"FAILED {case.name}: {case.about}: {case.result}")
    counts = Counter(case.verdict for case in cases)
    found = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    _say(f"{len(cases)} cases: {found}. {took:.0f} s. Written to {_shown(_PAGE)}.")
    _say(f"Each case's frames: {_shown(_REPORTS / 'index.html')}")
    return 1 if failed else 0


# The suite's Python


def _python() -> Python:
    """A Python 2.7 that runs; ServiceError says what to do where none can be had."""
    if named := os.environ.get(_NAMED):
        return Python(Path(named), f"of {_NAMED}")
    if found := shutil.which("python2.7"):
        with suppress(ServiceError):  # it may be but the shim of a version manager
            python = Python(Path(found), "of the PATH")
            _version(python)
            return python
    try:
        return _debian_python(_once(f"python2.7-{_DEBIAN}", _DEBS, _unpack_python))
    except ServiceError as error:
        raise ServiceError(
            f"Autobahn's suite needs a Python 2.7, and none can be had here: {error}\n"
            f"Have one from elsewhere, and name it: make autobahn {_NAMED}=/path/to/python2.7"
        ) from error


def _debian_python(root: Path) -> Python:
    libraries = (*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*"))
    return Python(root / "usr/bin/python2.7", f"Debian {_DEBIAN}'s, unpacked", libraries)


def _version(python: Python) -> str:
    """Its version; ServiceError when it isn't a 2.7, or lacks what the suite needs."""
    ask = "import ctypes, sqlite3, ssl, sys, zlib; print('.'.join(map(str, sys.version_info[:3])))"
    version = _done([python.program, "-c", ask], python.environment(Path())).strip()
    if not version.startswith("2.7."):
        raise ServiceError(f"{python.program} is Python {version}; the suite needs a 2.7.")
    return version


def _unpack_python(target: Path) -> None:
    """Fetch Debian's packages with a separate apt (its sources, lists and cache), and unpack them."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise ServiceError("this system has no apt-get and dpkg-deb to fetch Debian's.")
    mirror = re.search(r"'(\S+/debian)/dists/", _done(["apt-get", "update", "--print-uris"]))
    if mirror is None:
        raise ServiceError("apt's sources name no mirror of Debian.")
    _say(f"Fetching Python 2.7 from Debian {_DEBIAN}, once …")
    with tempfile.TemporaryDirectory(prefix="hub-apt-") as folder:
        home = Path(folder)
        for part in ("state/lists/partial", "cache/archives/partial", "debs"):
            (home / part).mkdir(parents=True)
        signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
        (home / "sources.list").write_text(f"deb {signed}{mirror[1]} {_DEBIAN} main\n")
        (home / "status").touch()
        settings: dict[str, str | Path] = {
            "Dir::State": home / "state",
            "Dir::State::status": home / "status",
            "Dir::Cache": home / "cache",
            "Dir::Etc::SourceList": home / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "APT::Default-Release": "",
            "APT::Update::Error-Mode": "any",
        }
        apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
        _done([*apt, "update"])
        _done([*apt, "download", *_DEBS], folder=home / "debs")
        for package in (home / "debs").iterdir():
            _done(["dpkg-deb", "--extract", package, target])
    _version(_debian_python(target))


def _install(python: Python, target: Path) -> None:
    """Install the suite for that Python."""
    _say("Installing Autobahn's suite for it, once …")
    options = ("--quiet", "--no-deps", "--no-compile", "--disable-pip-version-check")
    with tempfile.TemporaryDirectory(prefix="hub-pip-") as folder:
        _done([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, _PIP])
        pip = next(Path(folder).glob("*.whl")) / "pip"
        install: list[str | Path] = [python.program, "-Wignore", pip, "install", *options, "--target", target]
        for packages in (_BUILDERS, _PACKAGES):
            _done([*install, *packages], python.environment(target))


def _once(name: str, contents: Sequence[str], fill: Callable[[Path], None]) -> Path:
    """A folder of the cache, named after what is in it, and filled when it isn't there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "notification-hub"
    folder = cache / f"{name}-{hashlib.sha256(' '.join(contents).encode()).hexdigest()[:8]}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=make_folder(cache)) as unfinished:
            target = Path(unfinished) / name
            target.mkdir()
            fill(target)
            if not folder.exists():  # another run may have been faster
                target.rename(folder)
    return folder


def _done(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> str:
    """What the command prints; ServiceError with its complaint when it fails."""
    environment = {**(environment or os.environ), "LC_ALL": "C"}
    try:
        ended = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ServiceError(f"{command[0]} doesn't run: {error.strerror}.") from error
    if ended.returncode != 0:
        lines = ended.stderr.strip().splitlines() or [f"status {ended.returncode}"]
        errors = [line for line in lines if line.startswith(("E:", "ERROR:"))]
        raise ServiceError(f"{Path(command[0]).name} failed: {(errors or lines[-1:])[0]}")
    return ended.stdout


# The run


def _run(python: Python, packages: Path) -> list[Case]:
    """The cases' outcomes; the suite's own reports are left in build/autobahn."""
    shutil.rmtree(_REPORTS, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="hub-autobahn-") as folder:
        home = Path(folder)
        server = start(
            Command(
                name="The echo server",
                arguments=[sys.executable, "-m", "tests.autobahn.server"],
                log=home / "server.log",
                remedy="Its log says why.",
                folder=_ROOT,
                speaks=True,
            )
        )
        try:
            _fuzz(python, packages, home, f"ws://127.0.0.1:{server.wait_for_line()}{PATH}")
        finally:
            server.stop()
    return _cases()


def _fuzz(python: Python, packages: Path, home: Path, address: str) -> None:
    specification = home / "specification.json"
    specification.write_text(
        json.dumps(
            {
                "outdir": str(_REPORTS),
                "servers": [{"agent": "hub", "url": address}],
                "cases": [f"{group}.*" for group in GROUPS],
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
        )
    )
    arguments = ["-u", "-Wignore", "-c", _START, packages, "--mode", "fuzzingclient", "--spec", specification]
    client = start(
        Command(
            name="The fuzzing client",
            arguments=[str(python.program), *map(str, arguments)],
            log=home / "client.log",
            remedy=f"Another Python 2.7 may do: make autobahn {_NAMED}=/path/to/python2.7",
            folder=home,
            environment=python.environment(packages),
        )
    )
    try:
        _watch(client)
    finally:
        client.stop()


def _watch(client: Running) -> None:
    """Tell each group's beginning until the client has ended; ServiceError unless it ran every case."""
    deadline = time.monotonic() + _SECONDS
    said: set[str] = set()
    while True:
        ended = client.guard.poll() is not None
        log = client.command.log.read_text(errors="replace")
        begun = re.findall(r"^Running test case ID (\S+)", log, re.MULTILINE)
        asked = re.search(r"will run (\d+) test cases", log)
        for group in dict.fromkeys(case.partition(".")[0] for case in begun):
            if group not in said:
                said.add(group)
                _say(f"  {group} {GROUPS[group]} …")
        if ended:
            break
        if time.monotonic() > deadline:
            raise ServiceError(f"The fuzzing client didn't end in {_SECONDS:.0f} s; at {begun[-1:]}.")
        time.sleep(0.2)
    client.wait_for_end()
    if asked is None or len(begun) != int(asked[1]):
        last = "\n".join(log.splitlines()[-3:])
        raise ServiceError(f"The fuzzing client ended after {len(begun)} cases:\n{last}")


def _cases() -> list[Case]:
    """What the suite's reports say, in the order of the cases."""
    index = json.loads((_REPORTS / "index.json").read_text())["hub"]
    found = []
    for name in sorted(index, key=lambda name: [int(part) for part in name.split(".")]):
        report = json.loads((_REPORTS / index[name]["reportfile"]).read_text())
        verdict = _verdict(report["behavior"], report["behaviorClose"])
        found.append(Case(name, verdict, _plain(report["description"]), _result(report)))
    return found


def _verdict(messages: str, closing: str) -> str:
    """The worse of how the messages and the closing went; whatever the suite doesn't accept is FAILED."""
    worst = max((messages, closing), key=lambda word: VERDICTS.index(word) if word in VERDICTS else 9)
    return worst if worst in VERDICTS else "FAILED"


def _result(report: Mapping[str, Any]) -> str:
    """What was seen: the messages, where others were hoped for, else the suite's own words."""
    hoped = report["expected"].get("OK", report["received"])
    code = report["remoteCloseCode"]
    if report["received"] != hoped and report["behavior"] != "INFORMATIONAL":
        said = f"got {_events(report['received'])}, hoped for {_events(hoped)}"
    else:
        said = report["resultClose" if report["behavior"] == "OK" else "result"].rstrip(".")
    return f"{said}; closed with {code}" if code else said


def _events(events: Sequence[Sequence[object]]) -> str:
    return " and ".join(str(event[0]) for event in events) or "nothing"


def _plain(text: str) -> str:
    """The first sentence of a report's HTML, without tags."""
    words = unescape(re.sub(r"<[^>]*>", "", text.replace("<br>", " "))).split()
    return " ".join(words).partition(". ")[0].rstrip(".")


# The page


def _page(cases: Sequence[Case], python: str, took: float, load_before: float) -> str:
    notable = [case for case in cases if case.verdict != "OK"]
    rows = [_row(f"{group} {what}", _of(cases, group)) for group, what in GROUPS.items()]
    here = machine.describe([], load_before)
    packages = ", ".join(f"{name} {here.versions[name]}" for name in ("websockets", "sanic", "uvloop"))
    suite = ", ".join(package.replace("==", " ") for package in _PACKAGES[:2])
    return "\n".join(
        [
            _HEAD,
            f"| cases | number | {' | '.join(VERDICTS)} |",
            "|---|---|---|---|---|---|",
            *rows,
            _row("**all**", cases),
            "",
            _WORDS,
            "| case | | what it does | result |",
            "|---|---|---|---|",
            *(f"| {each.name} | {each.verdict} | {each.about} | {each.result} |" for each in notable),
            "",
            "## Machine and run\n",
            f"- {here.date}, code: {here.code}; {took:.0f} s",
            f"- {suite}, on {python}",
            f"- Python {here.versions['Python']}, {packages}",
            f"- {here.cpu}, {here.cores} cores, {here.memory_gb} GB, {here.system}",
            "",
        ]
    )


def _of(cases: Sequence[Case], group: str) -> list[Case]:
    return [case for case in cases if case.name.partition(".")[0] == group]


def _row(title: str, cases: Sequence[Case]) -> str:
    counts = Counter(case.verdict for case in cases)
    cells = (str(counts[verdict] or "") for verdict in VERDICTS)
    return f"| {title} | {len(cases)} | {' | '.join(cells)} |"


def _shown(path: Path) -> Path:
    return path.relative_to(_ROOT)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


_HEAD = """\
# Autobahn: the WebSocket connection against RFC 6455

Autobahn's fuzzing client against the hub's own connection, written by `make autobahn`. Its server
([tests/autobahn/server.py](../../tests/autobahn/server.py)) is the hub's handshake, hand-over and connection
with the default limits, except messages of 64 KiB. The server accepts every client and echoes messages. Left
out: 9 (speed, and messages of megabytes, which the hub refuses), 12 and 13 (compression, which the hub does
not offer).
"""

_WORDS = """\
NON-STRICT is behaviour that the RFC allows, though the suite prefers another. INFORMATIONAL is behaviour that
the RFC leaves open. The cases that are not OK:
"""


if __name__ == "__main__":
    sys.exit(main())
