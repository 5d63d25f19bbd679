"""The layout's rules that a syntax tree or the import graph shows. CONTRIBUTING.md lists all of them."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import grimp
import pytest

from tests.support.hub import ROOT

MAX_FUNCTION_LINES = 40
MAX_CONSTRUCTOR_ARGUMENTS = 6

UNIT = re.compile(
    r"_(SECONDS|MS|DAYS|BYTES|CHARS|BITS|ROWS|ENTRIES|CONNECTIONS|COUNT|SHARE|INDEX|OFFSET|MODE|KEY|CODE)$"
    r"|^_?(MAX|MIN)_|_PER_[A-Z]+$"
)
CONSTANTS_WITHOUT_UNIT = {
    "_PRODUCER": "a value of librdkafka's rd_kafka_type_t",
    "_P256_PRIME": "of the curve P-256, by its name in FIPS 186-5",
    "_P256_B": "of the curve P-256, by its name in FIPS 186-5",
    "_PR_SET_PDEATHSIG": "a value of Linux's prctl, by its name there",
}
LONG = re.compile(r"# long: \S")
"""Ends the `def` line of a function that is too long for a reason, which follows."""


class Module(NamedTuple):
    path: str
    lines: list[str]
    tree: ast.Module


Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> list[Module]:
    """What runs in production and development: app and handlers."""
    found = []
    for path in sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "handlers").rglob("*.py")]):
        text = path.read_text("utf-8")
        found.append(Module(str(path.relative_to(ROOT)), text.splitlines(), ast.parse(text)))
    return found


def functions() -> Iterator[tuple[Module, Function]]:
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, Function):
                yield module, node


def test_a_class_name_is_used_once() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module.path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_a_numeric_constant_says_what_it_counts() -> None:
    numbers = {
        name: module.path
        for module in modules()
        for statement in module.tree.body
        for name, value in assigned(statement)
        if is_number(value)
    }
    silent = {name: path for name, path in numbers.items() if not UNIT.search(name)}
    assert silent.keys() == CONSTANTS_WITHOUT_UNIT.keys(), silent


def assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement binds, each with its value; those of `A, B = 1, 2` one by one."""
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets: list[ast.expr] = [statement.target]
        value = statement.value
    elif isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    else:
        return
    for target in targets:
        if isinstance(target, ast.Name):
            yield target.id, value
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for name, part in zip(target.elts, value.elts, strict=True):
                if isinstance(name, ast.Name):
                    yield name.id, part


def is_number(value: ast.expr) -> bool:
    match value:
        case ast.Constant(value=bool()):
            return False
        case ast.Constant(value=int() | float()):
            return True
        case ast.UnaryOp(operand=operand):
            return is_number(operand)
        case ast.BinOp(left=left, right=right):
            return is_number(left) or is_number(right)
    return False


def test_a_function_has_forty_lines_at_most_or_a_reason() -> None:
    too_long = {
        f"{module.path}:{node.lineno} {node.name}": length
        for module, node in functions()
        if (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
        and not LONG.search(module.lines[node.lineno - 1])
    }
    assert too_long == {}


def test_a_reason_for_a_long_function_stands_only_where_one_is() -> None:
    reasons = {
        (module.path, number)
        for module in modules()
        for number, line in enumerate(module.lines, 1)
        if LONG.search(line)
    }
    long = {
        (module.path, node.lineno)
        for module, node in functions()
        if (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert reasons <= long


def test_a_constructor_takes_six_arguments_at_most() -> None:
    too_many = {
        f"{module.path}:{node.lineno}": count
        for module, node in functions()
        if node.name == "__init__" and (count := arguments(node)) > MAX_CONSTRUCTOR_ARGUMENTS
    }
    assert too_many == {}


def arguments(node: Function) -> int:
    """How many a caller may pass; `self` is none."""
    named = node.args
    starred = [argument for argument in (named.vararg, named.kwarg) if argument]
    return len([*named.posonlyargs, *named.args, *named.kwonlyargs, *starred]) - 1


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """By module of app and handlers, what it imports, also in functions and for types only."""
    graph = grimp.build_graph("app", "handlers", exclude_type_checking_imports=False, cache_dir=None)
    return {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}


def test_no_modules_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    assert circles(imports) == []


def test_no_folders_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    folders: dict[str, set[str]] = defaultdict(set)
    for module, imported in imports.items():
        folders[folder(module)].update(folder(each) for each in imported)
    for name, imported in folders.items():
        imported.discard(name)
    assert circles(folders) == []


def folder(module: str) -> str:
    """The folder of app that a module is in; the handlers are one."""
    return ".".join(module.split(".")[: 2 if module.startswith("app.") else 1])


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components with more than one member (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        path.append(name)
        for imported in imports.get(name, ()):
            if imported not in order:
                visit(imported)
            if imported in path:
                low[name] = min(low[name], low[imported])
        if low[name] == order[name]:
            members = path[path.index(name) :]
            del path[path.index(name) :]
            if len(members) > 1:
                found.append(sorted(members))

    for name in sorted(imports):
        if name not in order:
            visit(name)
    return found


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_the_map_of_the_folders_is_the_tree() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = text.partition("\n## Layout\n")[2].partition("```\n")[2].partition("```")[0]
    assert mapped(section.splitlines()) == {
        *(f"{path}/" for path in tracked() if "/" not in path and not path.startswith(".")),
        *(f"{path}/" for path in tracked() if re.fullmatch(r"app/[^/]+|app/sources/[^/]+", path)),
    }


def tracked() -> set[str]:
    """The folders of the repository that hold files of it, not caches."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {str(parent) for path in listed.stdout.splitlines() for parent in Path(path).parents[:-1]}


def mapped(lines: Iterable[str]) -> set[str]:
    """The folders that the map names. A deeper indent is a folder within."""
    found: set[str] = set()
    parents: list[tuple[int, str]] = []
    for line in lines:
        match = re.match(r"( *)([a-z_-]+/)", line)
        if match is None:
            continue
        indent = len(match[1])
        while parents and parents[-1][0] >= indent:
            parents.pop()
        path = (parents[-1][1] if parents else "") + match[2]
        parents.append((indent, path))
        found.add(path)
    return found
