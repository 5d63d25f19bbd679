"""Finding a Java that Apache Kafka runs on. Imports little: tests/support/install_tools.py asks here too."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

JAVA_NEEDED = 17


class Java(NamedTuple):
    """A `java` program and its major version."""

    program: str
    version: int


def find_java() -> Java | None:
    """The first Java that is new enough: JAVA_HOME's, the PATH's, those in /usr/lib/jvm; None if none is."""
    for program in _candidates():
        version = _version(program)
        if version >= JAVA_NEEDED:
            return Java(str(program), version)
    return None


def _candidates() -> list[Path]:
    named = os.environ.get("JAVA_HOME")
    found = shutil.which("java")
    return [
        *([Path(named) / "bin" / "java"] if named else []),
        *([Path(found)] if found else []),
        *sorted(Path("/usr/lib/jvm").glob("*/bin/java")),
    ]


def _version(program: Path) -> int:
    """By the `release` file beside it, else by asking, which takes 0.1 s; 0 when it doesn't run."""
    release = program.resolve().parent.parent / "release"
    try:
        if known := re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', release.read_text(), re.MULTILINE):
            return int(known[1])
    except OSError:
        pass
    try:
        said = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError):
        return 0
    number = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(number[1]) if number else 0
