"""What the reference pages show of the code and no object holds: calls with literal arguments."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
UNSHIPPED = ("app/dev/", "app/testing/")


class LogEvent(NamedTuple):
    """A line that the hub logs."""

    name: str
    level: str
    loggers: tuple[str, ...]
    fields: tuple[str, ...]


@cache
def _modules() -> tuple[tuple[str, ast.Module], ...]:
    """What runs in production."""
    paths = (path for top in ("app", "handlers") for path in sorted((ROOT / top).rglob("*.py")))
    named = ((path.relative_to(ROOT).as_posix(), path) for path in paths)
    return tuple(
        (name, ast.parse(path.read_text("utf-8"))) for name, path in named if not name.startswith(UNSHIPPED)
    )


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Each call with the last part of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.func.id if isinstance(node.func, ast.Name) else node.func.attr, node


def log_events() -> list[LogEvent]:
    """All that modules log, by name and level. A call whose name is no literal is left out."""
    found: defaultdict[tuple[str, str], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for _, tree in _modules():
        loggers = _loggers(tree)
        for level, call in _calls(tree):
            name = text_of(call.args[0]) if call.args else None
            if level in LEVELS and name is not None and isinstance(call.func, ast.Attribute):
                logger = loggers.get(ast.unparse(call.func.value))
                if logger is not None:
                    places, fields = found[name, "error" if level == "exception" else level]
                    places.add(logger)
                    fields |= set(_extra_fields(call))
    return sorted(
        LogEvent(name, level, tuple(sorted(places)), tuple(sorted(fields)))
        for (name, level), (places, fields) in found.items()
    )


def _loggers(tree: ast.Module) -> dict[str, str]:
    """The name of each logger of a module, by its variable."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func)
            if called == "logging.getLogger" and (name := text_of(node.value.args[0])):
                found |= {ast.unparse(target): name for target in node.targets}
    return found


def _extra_fields(call: ast.Call) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            yield from (name for key in keyword.value.keys if key is not None and (name := text_of(key)))


def text_of(node: ast.expr) -> str | None:
    """The text of a literal, or of one in `N_(…)`; placeholders of an f-string as `…`."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(each) or "…" for each in values)
        case ast.Call(func=ast.Name(id="N_"), args=[ast.Constant(value=str() as text)]):
            return text
    return None


def literal_calls(called: str, places: Iterable[int]) -> list[tuple[str | None, ...]]:
    """The arguments at these places of all calls of a function or class; None where one is no literal."""
    found = []
    for _, tree in _modules():
        for name, call in _calls(tree):
            if name == called and len(call.args) > max(places):
                found.append(tuple(_argument(call.args[place]) for place in places))
    return sorted(found, key=lambda each: tuple(part or "" for part in each))


def _argument(node: ast.expr) -> str | None:
    """The text of a literal or of a constant; of a member of an enumeration its name."""
    if isinstance(node, ast.Name):
        return _constants().get(node.id)
    if isinstance(node, ast.Attribute):
        return node.attr if node.attr.isupper() else None
    return text_of(node)


@cache
def _constants() -> dict[str, str]:
    """The constants of all modules that are texts or members of an enumeration."""
    found = {}
    for _, tree in _modules():
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                value = node.value
                text = value.attr if isinstance(value, ast.Attribute) else text_of(value)
                if text is not None and node.targets[0].id.isupper():
                    found[node.targets[0].id] = text
    return found


def attribute_docstrings(module: str, name: str) -> dict[str, str]:
    """The docstrings that follow the members of a class."""
    tree = dict(_modules())[module]
    body = next(each.body for each in ast.walk(tree) if isinstance(each, ast.ClassDef) and each.name == name)
    found = {}
    for member, following in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(following, ast.Expr):
            found[ast.unparse(member.targets[0])] = text_of(following.value) or ""
    return found
