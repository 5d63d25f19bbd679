"""The browser library's own tests, types and size, by the tools they are written for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.hub import ROOT
from tests.support.npm import CLIENT, needs_node, run

SLOW = 400  # seconds, on a machine that does much else

pytestmark = needs_node


def test_the_library_does_what_its_tests_on_node_say() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SEED"}
    environment.setdefault("SCHEDULES", str(settings().max_examples))  # 100 in `make test-long`
    done = subprocess.run(
        ["node", "--test", *sorted(map(str, (CLIENT / "test").glob("*.test.js")))],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]


def test_sources_and_types_hold_under_strict_checks(package: Path) -> None:
    checked = run(package, "npm", "run", "types")
    assert checked.returncode == 0, checked.stdout


def test_the_wrappers_for_react_and_vue_do_what_their_tests_say(package: Path) -> None:
    tested = run(package, "npm", "run", "test:frameworks")
    assert tested.returncode == 0, tested.stdout[-6000:]


@pytest.mark.timeout(2 * SLOW)
@pytest.mark.slow  # the types of React and Vue take 10 s of CPU
def test_the_wrappers_types_hold_under_strict_checks(package: Path) -> None:
    checked = run(package, "npm", "run", "types:frameworks", within=SLOW)
    assert checked.returncode == 0, checked.stdout


def test_library_and_bell_stay_as_small_as_they_are_said_to_be(package: Path) -> None:
    measured = run(package, "npm", "run", "size")
    assert measured.returncode == 0, measured.stdout


def test_the_package_holds_the_library_and_its_types_and_nothing_else(package: Path) -> None:
    packed = run(package, "npm", "pack", "--pack-destination", str(package.parent))
    assert packed.returncode == 0, packed.stdout
    [archive] = package.parent.glob("*.tgz")
    listed = run(package, "tar", "--list", "--file", str(archive)).stdout.split()
    wrappers = {f"package/{name}/index.{end}" for name in ("react", "vue") for end in ("js", "d.ts")}
    sources = {f"package/{source.relative_to(CLIENT)}" for source in (CLIENT / "src").rglob("*.js")}
    types = {f"package/{name.name}" for name in CLIENT.glob("*.d.ts")}
    bundles = {f"package/dist/{name}min.js" for name in ("", "bell.", "preferences.")}
    others = types | bundles | wrappers | {"package/package.json", "package/README.md"}
    assert set(listed) == sources | others


@pytest.mark.slow  # in every run the same types are checked, and what the package holds
def test_an_empty_typescript_project_can_use_the_package(package: Path, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    added = run(tmp_path, "npm", "install", "--no-audit", "--no-fund", "--install-links", str(package))
    assert added.returncode == 0, added.stdout
    (tmp_path / "main.ts").write_text((CLIENT / "test" / "types.ts").read_text())
    compiler = package / "node_modules" / ".bin" / "tsc"
    options = ["--strict", "--noEmit", "--module", "NodeNext", "--target", "ES2022", "--lib", "ES2022,DOM"]
    checked = run(tmp_path, str(compiler), *options, "main.ts")
    assert checked.returncode == 0, checked.stdout


REACT_PAGE = """
import { InboxProvider, NotificationBell, useUnreadCount } from "notification-hub-client/react";
import "notification-hub-client/jsx";

const Count = () => <b>{useUnreadCount()}</b>;
export const Header = ({ userId }: { userId: string }) => (
  <InboxProvider userId={userId} getToken={async () => "token"}>
    <Count />
    <NotificationBell theme="dark" titleBadge onNotificationOpen={({ detail }) => detail.title} />
  </InboxProvider>
);
// @ts-expect-error no such theme
export const wrong = <NotificationBell theme="black" />;
"""


@pytest.mark.timeout(3 * SLOW)
@pytest.mark.slow
@pytest.mark.parametrize("version", ["18", "19"])
def test_an_empty_react_project_uses_the_packed_package_and_copies_nothing(
    package: Path, tmp_path: Path, version: str
) -> None:
    packed = run(package, "npm", "pack", "--pack-destination", str(tmp_path))
    assert packed.returncode == 0, packed.stdout
    (archive,) = tmp_path.glob("*.tgz")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    tools = json.loads((CLIENT / "package.json").read_text("utf-8"))["devDependencies"]
    named = [f"{name}@{tools[name]}" for name in ("typescript", "esbuild", "happy-dom")]
    react = [f"{name}@^{version}" for name in ("react", "react-dom", "@types/react")]
    added = run(tmp_path, "npm", "install", "--no-audit", "--no-fund", str(archive), *named, *react)
    assert added.returncode == 0, added.stdout
    (tmp_path / "page.tsx").write_text(REACT_PAGE)
    options = "--strict --noEmit --skipLibCheck --jsx react-jsx --module ESNext --moduleResolution bundler"
    target = ("--target", "ES2022", "--lib", "ES2022,DOM")
    checked = run(tmp_path, "npx", "tsc", *options.split(), *target, "page.tsx", within=SLOW)
    assert checked.returncode == 0, checked.stdout
    external = [f"--external:{name}" for name in ("react", "react/jsx-runtime")]
    built = run(
        tmp_path, "npx", "esbuild", "page.tsx", "--bundle", "--format=esm", "--outfile=page.js", *external
    )
    assert built.returncode == 0, built.stdout
    assert "notification-bell" in (tmp_path / "page.js").read_text("utf-8")
    shutil.copytree(CLIENT / "test", tmp_path / "test")
    for name in ("react", "src"):
        shutil.copytree(CLIENT / name, tmp_path / name)
    tested = run(tmp_path, "node", "--test", "test/frameworks/react.test.js")
    assert tested.returncode == 0, tested.stdout[-6000:]


def test_the_pages_of_the_examples_are_short_and_the_readme_shows_them_as_they_are() -> None:
    plain, react = ROOT / "examples" / "plain.html", ROOT / "examples" / "react" / "src" / "main.tsx"
    for page in (plain, react):
        assert len(page.read_text("utf-8").splitlines()) < 40
    assert react.read_text("utf-8") in (CLIENT / "README.md").read_text("utf-8")
