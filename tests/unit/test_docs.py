"""The files, folders and modules that pages, docstrings and configuration name exist; so do links."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

from tests.support.hub import ROOT

GENERATED = {"node_modules", "dist", "__pycache__"}
TOP_LEVEL = (
    *("app", "handlers", "tests", "bench", "faults", "fuzz"),
    *("locales", "migrations", "client", "client-python", "examples", "docs", ".ci"),
)
# Files that a page makes up: what a new event type, channel and source would take.
ON_PAPER = {
    "app/dev/events/tool_borrowed.json",
    "handlers/tools.py",
    "tests/a.py",
    "tests/b.py",
    "app/outbox/push.py",
    "app/sources/nats",
    "app/texts/templates/_layout.push.jinja",
    "docs/how-to/nats.md",
    "docs/how-to/push.md",
    "tests/e2e/test_nats.py",
    "tests/integration/test_push_channel.py",
}
BUILT = {"client/dist", "client/*.tgz"}
CLASSES_ON_PAPER = {"ToolBorrowed", "NatsBroker", "NatsSettings", "PushChannel", "PushSettings"}
HISTORY = {"CHANGELOG.md"}
"""It names files as they were."""
_TOPS = "|".join(map(re.escape, TOP_LEVEL))
_PATH = re.compile(rf"(?<![\w./@-])((?:{_TOPS})/(?:[\w./*-]|<\w+>)*(?:[\w*/]|<\w+>))")
_MODULE = re.compile(r"`((?:app|handlers|tests|bench|faults|fuzz)(?:\.\w+){2,})`")
_RUN = re.compile(r"-m ((?:app|tests|bench|faults|fuzz)(?:\.\w+)*)\b")
_CLASS = re.compile(r"`((?:[A-Z][a-z0-9]+)+)(?:\.\w+)?(?:\(\))?`")
_TEST = re.compile(r"(?<![\w/])(test_\w+\.py)\b")
_ANCHOR = re.compile(r"\]\(([^)#\s:]*)#([^)\s]+)\)")
_LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)")


@cache
def tree() -> frozenset[str]:
    """Each file and folder, relative to the root."""
    found = {*TOP_LEVEL}
    for top in TOP_LEVEL:
        for folder, folders, files in os.walk(ROOT / top):
            folders[:] = [each for each in folders if each not in GENERATED]
            found |= {(Path(folder) / each).relative_to(ROOT).as_posix() for each in (*folders, *files)}
    return frozenset(found)


def texts() -> list[Path]:
    """Pages, configuration, and the sources that users copy."""
    named = ("Makefile", "Dockerfile", "docker-compose.yml", ".dockerignore", "kong.yml", "pyproject.toml")
    copied = tuple(f"{top}/*{suffix}" for top in ("client", "examples") for suffix in (".js", ".ts", ".json"))
    found = [ROOT / name for name in sorted(tree()) if name.endswith(".md") or _is_any(name, copied)]
    pages = [path for path in sorted(ROOT.glob("*.md")) if path.name not in HISTORY]
    return [*pages, *(ROOT / name for name in (*named, "alembic.ini", ".ci/run")), *found]


def _is_any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def sources() -> list[Path]:
    return [ROOT / name for name in sorted(tree()) if name.endswith(".py")]


def is_there(path: str) -> bool:
    path = re.sub(r"<\w+>", "*", path.rstrip("/"))
    if path in ON_PAPER or path in BUILT:
        return True
    if "*" in path:
        return any(PurePosixPath(each).match(path) for each in tree())
    if re.fullmatch(r"docs/explanation/decisions/\d{3}", path):  # by its number
        return any(each.startswith(f"{path}-") for each in tree())
    return path in tree()


def names_module(dotted: str) -> bool:
    """Whether it is a module, a folder, or a name that its module has."""
    *folders, last = dotted.split(".")
    place = "/".join(folders)
    if {f"{place}/{last}", f"{place}/{last}.py"} & tree():
        return True
    for module in (f"{place}.py", f"{place}/__init__.py", f"{'/'.join(folders[:-1])}.py"):
        if module in tree():
            return re.search(rf"\b{last}\b", (ROOT / module).read_text("utf-8")) is not None
    return False


@cache
def names_of_tests() -> frozenset[str]:
    return frozenset(PurePosixPath(each).name for each in (*tree(), *ON_PAPER) if "test_" in each)


@cache
def words_of_code() -> frozenset[str]:
    """Of all sources, without what their docstrings and comments quote."""
    files = (name for name in tree() if name.endswith((".py", ".js", ".ts", ".yml", ".html")))
    texts = ((ROOT / name).read_text("utf-8") for name in files if ROOT / name != Path(__file__))
    return frozenset(word for text in texts for word in re.findall(r"\w+", re.sub(r"`[^`\n]*`", "", text)))


def is_class(name: str) -> bool:
    return name in words_of_code() or name in CLASSES_ON_PAPER


def wrong(text: str) -> list[str]:
    """The paths and modules it names that aren't there."""
    return [
        *(path for path in _PATH.findall(text) if not is_there(path)),
        *(module for module in _MODULE.findall(text) if not names_module(module)),
        *(module for module in _RUN.findall(text) if not names_module(f"{module}.__main__")),
        *(name for name in _CLASS.findall(text) if not is_class(name)),
        *(name for name in _TEST.findall(text) if name not in names_of_tests()),
    ]


@pytest.mark.parametrize("page", texts(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_of_the_repository_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    assert wrong(text) == []
    links = _LINK.findall(text) if page.suffix == ".md" else []
    assert [link for link in links if not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """Those of its headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_anchors_of_links_are_headings() -> None:
    wrong_links = []
    for page in (path for path in texts() if path.suffix == ".md"):
        for target, anchor in _ANCHOR.findall(page.read_text("utf-8")):
            place = page.parent / target if target else page
            if place.suffix == ".md" and place.exists() and anchor not in anchors(place):
                wrong_links.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert wrong_links == []


def test_what_docstrings_and_comments_name_of_the_repository_is_there() -> None:
    named = {path.relative_to(ROOT).as_posix(): wrong(path.read_text("utf-8")) for path in sources()}
    named.pop(Path(__file__).relative_to(ROOT).as_posix())
    assert {path: found for path, found in named.items() if found} == {}


def documented(name: str) -> frozenset[str]:
    """The attributes and the documented methods of a class of the hub."""
    defines = re.compile(rf"^class {name}\b", re.MULTILINE)
    found: set[str] = set()
    for text in (text for text in _texts_of_the_hub() if defines.search(text)):
        for each in (
            each for each in ast.parse(text).body if isinstance(each, ast.ClassDef) and each.name == name
        ):
            found |= {ast.unparse(part.target) for part in each.body if isinstance(part, ast.AnnAssign)}
            methods = (part for part in each.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {method.name for method in methods if ast.get_docstring(method)}
    return frozenset(found)


@cache
def _texts_of_the_hub() -> list[str]:
    return [path.read_text("utf-8") for top in ("app", "handlers") for path in (ROOT / top).rglob("*.py")]


def test_a_docstring_that_refers_to_a_method_names_a_documented_one() -> None:
    refers = re.compile(r'"""As `([A-Z]\w+)\.(\w+)`')
    wanted = {pair for text in _texts_of_the_hub() for pair in refers.findall(text)}
    assert [f"{name}.{method}" for name, method in sorted(wanted) if method not in documented(name)] == []


def test_what_is_on_paper_is_not_there() -> None:
    assert ON_PAPER.isdisjoint(tree())


def test_a_wrong_name_is_found() -> None:
    assert wrong("`app/gone.py`, `app.ingest.pipeline.Gone`, `app.gone.pipeline`, test_gone.py") == [
        "app/gone.py",
        "app.ingest.pipeline.Gone",
        "app.gone.pipeline",
        "test_gone.py",
    ]
    assert wrong("python -m app.gone, `Vanished`") == ["app.gone", "Vanished"]
    assert wrong("python -m bench, python -m app.dev.gallery, `Pipeline.write()`") == []
    assert wrong("`app/ingest/pipeline.py`, app/ingest/, locales/*/LC_MESSAGES/hub.po, test_docs.py") == []


def test_each_decision_has_another_number() -> None:
    files = sorted((ROOT / "docs/explanation/decisions").glob("[0-9]*.md"))
    numbers = [file.name[:3] for file in files]
    assert len(set(numbers)) == len(numbers)
    headings = [file.read_text("utf-8").removeprefix("# ")[:3] for file in files]
    assert headings == numbers
