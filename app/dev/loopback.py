"""The development pages answer on this machine's own names only."""

from __future__ import annotations

from http import HTTPStatus
from ipaddress import ip_address

from sanic import Blueprint, HTTPResponse, Request, json


def only_loopback(blueprint: Blueprint) -> Blueprint:
    """Answer 403 for all of `blueprint` unless the request's Host names this machine.

    Its calls return tokens and mails without a token. A page of another site could read them, if its name
    in DNS changed to 127.0.0.1 after it was loaded (DNS rebinding): to the browser it is the same origin
    still. Its Host is that site's name.
    """

    async def check(request: Request) -> HTTPResponse | None:
        hosts = request.headers.getall("host", [])
        if hosts and all(map(is_loopback, hosts)):
            return None
        detail = "Development pages are served at http://localhost and http://127.0.0.1 only."
        body = {"title": "Forbidden", "status": 403, "detail": detail}
        return json(body, HTTPStatus.FORBIDDEN, content_type="application/problem+json")

    blueprint.middleware(check, "request")
    return blueprint


def is_loopback(host: str) -> bool:
    """Whether the value of a Host header names this machine: `localhost`, a name below it (RFC 6761, 6.3), or
    a loopback address, with or without a port.
    """
    name, separator, port = host.strip(" \t").rpartition(":")
    if not separator or "]" in port:
        name, port = host.strip(" \t"), ""
    if port and not (port.isascii() and port.isdigit()):
        return False
    if name.lower() == "localhost" or name.lower().endswith(".localhost"):
        return True
    in_brackets = name.startswith("[") and name.endswith("]")
    try:
        address = ip_address(name[1:-1] if in_brackets else name)
    except ValueError:
        return False
    return address.is_loopback and (address.version == 6) == in_brackets
