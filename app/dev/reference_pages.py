"""The pages of docs/reference/ that are written from the code: metrics, log events, codes, commands, REST."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from textwrap import fill
from typing import Any

import click
from prometheus_client.metrics import MetricWrapperBase

from app import __version__
from app.api import docs
from app.api.errors import TOKEN_ERRORS
from app.dev.code_scan import attribute_docstrings, literal_calls, log_events
from app.realtime.protocol import CloseCode
from app.runtime import metrics
from app.server.app import create_app
from app.settings import load

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
NOTICE = "<!-- Written by `make generated` from the code. -->"
HELP_CHARS = 100
PAGE_CHARS = 118
_SETTINGS = {
    "database_url": "postgresql://localhost/hub",
    "redis_url": "redis://localhost",
    "kafka_bootstrap_servers": "localhost:9092",
    "user_service_url": "http://localhost",
    "jwt_algorithm": "HS256",
    "jwt_secret": "of no hub: for the description of its REST calls",
}
"""Enough to build the app, which connects to nothing until it is started."""


def pages(commands: Any) -> dict[Path, str]:
    """The text of each page. `commands` is the root of the command line, a group of click."""
    made = {
        "metrics.md": _metrics(),
        "log-events.md": _log_events(),
        "error-codes.md": _error_codes(),
        "close-codes.md": _close_codes(),
        "cli.md": _command_line(commands),
        "rest.md": _rest(),
    }
    return {FOLDER / name: text for name, text in made.items()}


def _page(title: str, introduction: str, *lines: str) -> str:
    filled = fill(introduction.replace("\n", " "), PAGE_CHARS, break_on_hyphens=False)
    return "\n".join((f"# {title}", "", NOTICE, "", filled, "", *lines)) + "\n"


def _table(headings: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def _codes(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"


def _metrics() -> str:
    found = (value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase))
    rows = sorted(
        (_metric_name(each), str(each._type), _codes(each._labelnames), each._documentation) for each in found
    )
    introduction = (
        "`GET /api/v2/notification-service/metrics` has these, in the text format of Prometheus. Send "
        "`METRICS_TOKEN` as a bearer token, or a token with the scope `metrics:read`. A histogram also "
        "has `_bucket`, `_sum` and `_count`."
    )
    cells = ((f"`{name}`", kind, labels, f"{text}.") for name, kind, labels, text in rows)
    return _page("Metrics", introduction, *_table(("metric", "type", "labels", "meaning"), cells))


def _metric_name(metric: MetricWrapperBase) -> str:
    return f"{metric._name}_total" if metric._type == "counter" else str(metric._name)


def _log_events() -> str:
    introduction = (
        "The hub logs to standard error: JSON lines, or readable ones in a terminal. `event` has one of "
        "these names. The data is in fields. Lines of one request share a `request_id`."
    )
    rows = (
        (f"`{each.name}`", each.level, _codes(each.loggers), _codes(each.fields)) for each in log_events()
    )
    return _page("Log events", introduction, *_table(("event", "level", "logger", "fields"), rows))


def _error_codes() -> str:
    introduction = (
        "Errors over REST are `application/problem+json` (RFC 9457). Program against `code`: it does not "
        "change. `detail` is for people, in the language of `Accept-Language`; … stands for a value."
    )
    rejected = (
        "The reason of a dead letter (header `dlq.reason`), and the `code` of an event rejected over HTTP."
    )
    session = 'The `code` of a frame `{"type": "error"}`. The codes of a refused token are those of 401.'
    return _page(
        "Error codes",
        introduction,
        *("## REST", "", *_table(("status", "code", "detail"), _problems()), ""),
        *(
            "## Rejected events",
            "",
            rejected,
            "",
            *_table(("reason", "detail"), _by_code("InvalidEvent")),
            "",
        ),
        *("## Session protocol", "", session, "", *_table(("code", "detail"), _by_code("Failed"))),
    )


def _problems() -> Iterator[tuple[str, str, str]]:
    found = literal_calls("Problem", (0, 1, 2))
    problems = {(status, code): text for status, code, text in found if status and code}
    problems |= {("UNAUTHORIZED", code): text for code, text in _token_errors().items()}
    by_status = sorted(
        (int(HTTPStatus[status]), code, text or "") for (status, code), text in problems.items()
    )
    for status, code, text in by_status:
        yield str(status), f"`{code}`", _shown(text)


def _by_code(called: str) -> Iterator[tuple[str, str]]:
    """The texts of each code that a class is called with."""
    texts: dict[str, set[str]] = {}
    for code, text in literal_calls(called, (0, 1)):
        if code:
            texts.setdefault(code, set()).update({text} if text else ())
    for code in sorted(texts):
        yield f"`{code}`", "; ".join(sorted(texts[code]))


def _shown(text: str) -> str:
    """A text with placeholders as a page shows it."""
    return re.sub(r"%\(\w+\)[sd]", "…", text).replace("<", "&lt;")


def _token_errors() -> Mapping[str, str]:
    return {code: text.singular for code, text in TOKEN_ERRORS.items() if code.endswith("_token")}


def _close_codes() -> str:
    meanings = attribute_docstrings("app/realtime/protocol.py", "CloseCode")
    reasons: dict[str, set[str]] = {}
    for name, reason in literal_calls("close", (0, 1)):
        if name and reason:
            reasons.setdefault(name, set()).add(reason)
    rows = (
        (
            str(int(code)),
            f"`{code.name.lower()}`",
            meanings[code.name],
            "; ".join(sorted(reasons.get(code.name, ()))),
        )
        for code in sorted(CloseCode)
    )
    introduction = (
        "The hub closes a WebSocket with one of these codes. After 4000 to 4499 a client reconnects, "
        "after 4500 to 4999 it does not. 1009 (a message over `WS_MAX_MESSAGE` bytes) and 1002 (not a "
        "WebSocket frame) are those of RFC 6455. An event stream ends with the event `close`, which "
        "has the same codes."
    )
    return _page("Close codes", introduction, *_table(("code", "name", "meaning", "reasons"), rows))


def _command_line(root: Any) -> str:
    lines: list[str] = []
    for name in ("", *root.lazy):
        command = root if not name else root.get_command(None, name)
        lines += _help(command, f"run.py {name}".strip())
    introduction = (
        "`python run.py` serves, with the settings of the environment. Other commands follow it. The "
        "exit status is 0, or 1 if the command failed, 2 for wrong usage, 130 after Ctrl-C."
    )
    return _page("Command line", introduction, *lines).rstrip() + "\n"


def _help(command: Any, name: str) -> list[str]:
    context = click.Context(command, info_name=name, max_content_width=HELP_CHARS, terminal_width=HELP_CHARS)
    lines = [f"## `{name}`", "", "```text", *command.get_help(context).splitlines(), "```", ""]
    nested = getattr(command, "commands", {}) if name != "run.py" else {}
    for each in nested:
        lines += _help(nested[each], f"{name} {each}")
    return lines


def _rest() -> str:
    settings = load(_env_file="", _aliases=False, **_SETTINGS)
    document = docs.document(create_app(settings), __version__)
    lines: list[str] = []
    for tag in document["tags"]:
        lines += [f"## {tag['name'].replace('_', ' ').capitalize()}", "", tag["description"], ""]
        for path, calls in document["paths"].items():
            for method, call in calls.items():
                if call["tags"] == [tag["name"]]:
                    lines += _call(method.upper(), path, call)
    introduction = (
        "The calls of the hub. A running hub has the same as OpenAPI 3.0 at "
        "`/api/v2/notification-service/docs/openapi.json`, with all schemas, and as pages to try them at "
        "`/api/v2/notification-service/docs` and `…/redoc`. Errors: [error codes](error-codes.md)."
    )
    return _page("REST", introduction, *lines).rstrip() + "\n"


def _call(method: str, path: str, call: Mapping[str, Any]) -> list[str]:
    lines = [f"### {method} {path}", "", f"**{call['summary']}.** {call['description']}", ""]
    rows = (
        (f"`{each['name']}`", each["in"], _schema(each["schema"]), each.get("description", ""))
        for each in call.get("parameters", ())
    )
    if call.get("parameters"):
        lines += [*_table(("parameter", "in", "type", "meaning"), rows), ""]
    if body := call.get("requestBody"):
        (content,) = body["content"].values()
        lines += [f"Body: {_schema(content['schema'])}.", ""]
    answers = ((status, _body(answer), answer["description"]) for status, answer in call["responses"].items())
    return [*lines, *_table(("status", "body", "meaning"), answers), ""]


def _body(answer: Mapping[str, Any]) -> str:
    if "application/problem+json" in answer.get("content", {}):
        return "problem"
    schemas = [each["schema"] for each in answer.get("content", {}).values() if "schema" in each]
    return _schema(schemas[0]) if schemas else "–"


def _schema(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    if "items" in schema:
        return f"list of {_schema(schema['items'])}"
    kind = schema.get("format") or schema.get("type", "any")
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = f", {low} to {high}" if high is not None else f" from {low}" if low is not None else ""
    return f"{ {'int64': 'integer'}.get(kind, kind) }{bounds}"
