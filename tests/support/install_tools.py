"""What the tests want beyond Python: Java, Maven, browsers, RabbitMQ, reverse proxies, libfaketime.

`make test` runs it before pytest.

    python -m tests.support.install_tools [--long]

With `--long`, as `make test-long` calls it, also what only tests marked slow want.
Installs what is missing where it may (root, on a system with apt-get), else says which tests will be skipped.
Always ends with status 0: without these tools the other tests still run.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.kafka.java import JAVA_NEEDED, find_java

JAVA_KNOWN = range(JAVA_NEEDED, 31)
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one in /usr/sbin changes its user
POLICY = Path("/usr/sbin/policy-rc.d")  # Debian asks it whether a package may start its service
NODE_NEEDED = 20  # the major version; what apt-get has is often older, so it isn't installed
HEADLESS_SHELL = "chromium-headless-shell"
"""Renders as Chromium does, without the browser's own windows, which cost most of a test's CPU time."""
FIREFOX = ("firefox-esr", "firefox")
BROWSERS = (HEADLESS_SHELL, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Tool:
    """A tool, the packages that may bring it (the first one known here is taken), and what its lack costs."""

    name: str
    packages: Sequence[str]
    without: str
    services: Sequence[str] = ()
    """What the packages would start at each boot, and nobody asked for."""

    def is_here(self) -> bool:
        """Whether the tests will find it."""
        return {
            "Java": _has_java,
            "Maven": _has_maven,
            "Chromium": _has_browser,
            "RabbitMQ": has_rabbitmq,
            "libfaketime": _has_faketime,
            "pgbouncer": _has_pgbouncer,
            "nginx": _has_nginx,
            "HAProxy": _has_haproxy,
            "Firefox": _has_firefox,
        }[self.name]()


TOOLS = (
    Tool(
        "Java",
        [f"openjdk-{version}-jre-headless" for version in JAVA_KNOWN],
        "no Java 17 or newer: the tests use Docker's Apache Kafka if Docker runs, else the embedded broker",
    ),
    Tool(
        "Maven",
        ["maven"],
        "no Maven: the tests use Docker's Apache Kafka if Docker runs, else the embedded broker",
    ),
    Tool("Chromium", [HEADLESS_SHELL, *BROWSERS[1:3]], "no Chromium: the browser tests are skipped"),
    Tool(
        "RabbitMQ",
        ["rabbitmq-server"],
        "no rabbitmq-server: the tests of the RabbitMQ source are skipped",
        services=["rabbitmq-server.service", "epmd.service", "epmd.socket"],
    ),
    Tool(
        "pgbouncer",
        ["pgbouncer"],
        "no pgbouncer: its tests are skipped",
        services=["pgbouncer.service"],
    ),
    Tool(
        "nginx",
        ["nginx-light", "nginx"],
        "no nginx: the tests behind it are skipped",
        services=["nginx.service"],
    ),
    Tool(
        "HAProxy",
        ["haproxy"],
        "no HAProxy: the tests behind it are skipped",
        services=["haproxy.service"],
    ),
    Tool("libfaketime", ["libfaketime"], "no libfaketime: the experiment with wrong clocks fails"),
)


def _has_pgbouncer() -> bool:
    return find_daemon("pgbouncer") is not None


def _has_nginx() -> bool:
    return find_daemon("nginx") is not None


def _has_haproxy() -> bool:
    return find_daemon("haproxy") is not None


def _has_firefox() -> bool:
    return any(map(shutil.which, FIREFOX))


def find_daemon(name: str) -> str | None:
    """The program, which Debian keeps out of ordinary users' path."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


LONG = (Tool("Firefox", FIREFOX, "no Firefox: its tests are skipped"),)
"""For tests marked slow only."""


def main() -> None:
    """Install what is missing, or say what its lack means."""
    wanted = TOOLS + LONG if "--long" in sys.argv else TOOLS
    missing = [tool for tool in wanted if not tool.is_here()]
    if missing and not _may_install():
        for tool in missing:
            print(f"{tool.without} (only root can install it here, by apt-get)", flush=True)
        return
    if missing:
        _apt_get("update")
    for tool in missing:
        _install(tool)


def _may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install(tool: Tool) -> None:
    package = next((package for package in tool.packages if _is_known(package)), None)
    if package is None:
        print(f"{tool.without} (apt-get knows none of {', '.join(tool.packages[:2])} …)", flush=True)
        return
    print(f"Installing {tool.name} ({package}) by apt-get …", flush=True)
    with _services_stay_off():
        failure = _apt_get("install", "--yes", "--no-install-recommends", package)
    if tool.services and shutil.which("systemctl"):
        subprocess.run(["systemctl", "disable", *tool.services], capture_output=True, check=False)
    if failure or not tool.is_here():
        print(
            f"{tool.without} (apt-get could not install {package}: {failure or 'no reason given'})",
            flush=True,
        )


@contextmanager
def _services_stay_off() -> Iterator[None]:
    """No package starts its service meanwhile; where the machine has its own policy, that one rules."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _is_known(package: str) -> bool:
    shown = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False)
    return re.search(r"Candidate: (?!\(none\))", shown.stdout) is not None


def _apt_get(*arguments: str) -> str:
    """Run apt-get; the answer is its last line of complaint, empty when all went well."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(
        ["apt-get", "-qq", *arguments], env=quiet, capture_output=True, text=True, check=False
    )
    complaints = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
    return complaints[-1] if done.returncode else ""


def _has_java() -> bool:
    return find_java() is not None


def _has_maven() -> bool:
    return shutil.which("mvn") is not None


def _has_browser() -> bool:
    """Whether there is a headless shell, or any browser where apt-get can't bring a headless shell."""
    if shutil.which(HEADLESS_SHELL):
        return True
    other = any(shutil.which(browser) for browser in BROWSERS)
    return other and not (_may_install() and _is_known(HEADLESS_SHELL))


def _has_faketime() -> bool:
    return faketime() is not None


def has_rabbitmq() -> bool:
    """Whether this machine can run a broker of the tests' own."""
    return RABBITMQ.exists() and shutil.which("epmd") is not None


def faketime() -> Path | None:
    """The library that, loaded first, makes a process believe in another time."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None


def has_node() -> bool:
    """Whether this machine has Node, new enough, and npm."""
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    shown = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)", shown)
    return found is not None and int(found[1]) >= NODE_NEEDED


if __name__ == "__main__":
    main()
