"""What npm brings: the browser library with the tools its scripts need."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.install_tools import NODE_NEEDED, has_node

CLIENT = Path(__file__).parents[2] / "client"
needs_node = pytest.mark.skipif(
    not has_node(), reason=f"no Node {NODE_NEEDED} with npm: the browser library's tests are skipped"
)


def run(folder: Path, *command: str, within: float = 100) -> subprocess.CompletedProcess[str]:
    """Run a command of Node's; its two outputs come as one. `within`: seconds."""
    return subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within,
        check=False,
    )


def install(folder: Path) -> None:
    """Fetch what the folder's lock file names; the test is skipped where npm can't."""
    if not has_node():
        pytest.skip(f"no Node {NODE_NEEDED} with npm")
    installed = run(folder, "npm", "ci", "--no-audit", "--no-fund", "--prefer-offline")
    if installed.returncode:
        pytest.skip(f"npm can't fetch what {folder.name} needs: {installed.stdout[-500:]}")


def copy_of_client(parent: Path) -> Path:
    """A copy of the browser library's package, with its tools."""
    folder = parent / "client"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    install(folder)
    return folder
