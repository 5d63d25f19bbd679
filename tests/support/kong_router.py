"""Which route Kong takes for a request, and the path the hub then gets: a model of Kong 3's router.

No container engine runs where the tests do, so this stands in for Kong's default router, the one it calls
`traditional_compatible`. Sources: https://developer.konghq.com/gateway/routing/traditional/ (once
docs.konghq.com, "How routing works") for what matches and what is asked first,
https://developer.konghq.com/gateway/entities/route/ for `strip_path` and how the service's path and the
request's are joined, and Kong's own `kong/router/{transform,utils}.lua` where those are silent.

It knows methods, paths (prefix or `~` regular expression) and headers. What it does not know (hosts, SNIs,
sources, `path_handling: v1`, expressions) it refuses instead of guessing. Rust's regular expressions, which
Kong uses, differ from Python's in corners that kong.yml stays out of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

Document = Mapping[str, Any]

_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KNOWN = frozenset(
    {
        "name",
        "protocols",
        "methods",
        "paths",
        "headers",
        "strip_path",
        "preserve_host",
        "regex_priority",
        "plugins",
    }
)


class NoRouteError(LookupError):
    """Kong answers 404 "no Route matched with those values" itself; nothing goes upstream."""


@dataclass(frozen=True)
class Match:
    """What Kong does with one request."""

    route: str
    service: str
    upstream_path: str
    plugins: Mapping[
        str, Mapping[str, Any]
    ]  # name → config of what runs: the route's, else the service's, else global


@dataclass(frozen=True)
class _Candidate:
    """One path of one route. Kong, too, splits a route whose paths differ in kind or length."""

    service: Document
    route: Document
    path: str

    @property
    def is_regex(self) -> bool:
        return self.path.startswith("~")

    @property
    def priority(self) -> tuple[int, int, int, int, int]:
        """Larger is asked first: kinds of criteria, headers, regex or not, its own priority, length."""
        kinds = sum(bool(self.route.get(kind)) for kind in ("methods", "headers", "paths"))
        order = self.route.get("regex_priority", 0) if self.is_regex else 0
        length = 0 if self.is_regex else len(self.path)
        return (kinds, len(self.route.get("headers", {})), int(self.is_regex), order, length)

    def matched(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """The part of `path` that this matches, or None if the request is not for this route."""
        methods = self.route.get("methods")
        if methods and method not in methods:
            return None
        wanted: Mapping[str, list[str]] = self.route.get("headers", {})
        if not all(_header_matches(headers.get(name.lower()), values) for name, values in wanted.items()):
            return None
        if not self.is_regex:
            return self.path if path.startswith(self.path) else None
        found = re.match(self.path[1:], path)  # at the beginning only: Kong puts a ^ before, and no $ behind
        return found.group() if found else None


def match(kong: Document, method: str, client_path: str, headers: Mapping[str, str] | None = None) -> Match:
    """The route Kong takes. A query in `client_path` goes upstream as it is. Raises `NoRouteError`."""
    raw_path, mark, query = client_path.partition("?")
    path = normalised(raw_path)
    given = {name.lower(): value for name, value in (headers or {}).items()}
    hits = [
        (candidate, part)
        for candidate in sorted(_candidates(kong), key=lambda candidate: candidate.priority, reverse=True)
        if (part := candidate.matched(method, path, given)) is not None
    ]
    if not hits:
        raise NoRouteError(f"{method} {path}")
    for (one, _), (other, _) in pairwise(hits[:2]):
        if one.priority == other.priority and one.route is not other.route:
            raise AssertionError(f"{method} {path}: which of two equal routes Kong takes is left to chance")
    best, part = hits[0]
    return Match(
        route=best.route["name"],
        service=best.service["name"],
        upstream_path=_joined(best, part, path) + mark + query,
        plugins=_plugins(kong, best.service, best.route),
    )


def upstream_path(
    kong: Document, method: str, client_path: str, headers: Mapping[str, str] | None = None
) -> str:
    """The path the hub is asked for when a client asks Kong for `client_path`. Raises `NoRouteError`."""
    return match(kong, method, client_path, headers).upstream_path


def routes(kong: Document) -> Iterator[tuple[Document, Document, Mapping[str, Mapping[str, Any]]]]:
    """Each route as (service, route, the plugins that run on it by name)."""
    for service in kong["services"]:
        for route in service.get("routes", ()):
            yield service, route, _plugins(kong, service, route)


def normalised(path: str) -> str:
    """`path` as Kong compares it and sends it on: RFC 3986 dot segments resolved, //, needless %XX removed.

    A %2F stays: it is no separator, neither for Kong nor for the hub.
    """

    def decoded(found: re.Match[str]) -> str:
        letter = chr(int(found.group(1), 16))
        return letter if letter in _UNRESERVED else found.group().upper()

    path = re.sub(r"%([0-9A-Fa-f]{2})", decoded, path)
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(segment)
    ends_open = segments[-1] in ("", ".", "..") and kept
    return "/" + "/".join(kept) + ("/" if ends_open else "")


def _candidates(kong: Document) -> Iterator[_Candidate]:
    for service, route, _ in routes(kong):
        if unknown := route.keys() - _KNOWN:
            raise NotImplementedError(
                f"{route['name']}: this model does not know {', '.join(sorted(unknown))}"
            )
        for path in route["paths"]:
            yield _Candidate(service, route, path)


def _header_matches(value: str | None, wanted: list[str]) -> bool:
    """Kong compares in lower case; `~*` marks a regular expression, found anywhere in the value."""
    if value is None:
        return False
    return any(
        re.search(want[2:].lower(), value.lower()) if want.startswith("~*") else want.lower() == value.lower()
        for want in wanted
    )


def _joined(candidate: _Candidate, part: str, path: str) -> str:
    """The service's path and the request's, as `path_handling: v0` joins them: with one slash between."""
    base = urlsplit(candidate.service["url"]).path or candidate.service.get("path") or "/"
    rest = path[len(part) :] if candidate.route.get("strip_path", True) else path
    if rest not in ("", "/"):
        return base.rstrip("/") + "/" + rest.removeprefix("/")
    if base == "/":
        return "/"
    return base.rstrip("/") + ("/" if path.endswith("/") and path != "/" else "")


def _plugins(kong: Document, service: Document, route: Document) -> dict[str, Mapping[str, Any]]:
    """What runs on a route, by name; the more special configuration replaces the more general."""
    return {
        plugin["name"]: plugin.get("config", {})
        for holder in (kong, service, route)
        for plugin in holder.get("plugins", ())
        if plugin.get("enabled", True)
    }
