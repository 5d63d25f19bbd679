"""The mail that `make run` caught, for the demo page. In development only."""

from __future__ import annotations

import asyncio
import email
import email.policy
from email.message import EmailMessage
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sanic import Blueprint, HTTPResponse, Request, json

from app.api.routes import Routes

MAX_MAILS_SHOWN = 20
# A mail may have styles and pictures. It runs no scripts and is isolated from the page.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; sandbox; frame-ancestors 'self'"
)


def make_blueprint(folder: Path) -> Blueprint:
    """The newest mails in `folder`, and one of them as a page."""
    blueprint = Routes("mails", url_prefix="/dev/mails")

    @blueprint.get("/")
    async def newest(_: Request) -> HTTPResponse:
        return json(await asyncio.to_thread(_newest, folder), headers={"Cache-Control": "no-store"})

    @blueprint.get("/<name:str>")
    async def one(_: Request, name: str) -> HTTPResponse:
        path = folder / f"{name}.eml"
        if path.parent != folder or not await asyncio.to_thread(path.exists):
            return json({"title": "Not found", "status": 404}, HTTPStatus.NOT_FOUND)
        message = await asyncio.to_thread(_read, path)
        html = message.get_body(("html",)) or message.get_body(("plain",))
        kind = "text/plain" if html is None else html.get_content_type()
        shown = "" if html is None else str(html.get_content())
        headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
        return HTTPResponse(shown, 200, headers, f"{kind}; charset=utf-8")

    return blueprint


def _newest(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(folder.glob("*.eml"), key=lambda path: int(path.stem.split("-")[0]), reverse=True)
    return [_summary(path) for path in paths[:MAX_MAILS_SHOWN]]


def _summary(path: Path) -> dict[str, Any]:
    message = _read(path)
    text = message.get_body(("plain",))
    return {
        "name": path.stem,
        "to": str(message["To"]),
        "subject": str(message["Subject"]),
        "caught_at": int(path.stem.split("-")[0]) // 1_000_000,
        "text": "" if text is None else str(text.get_content()),
    }


def _read(path: Path) -> EmailMessage:
    return email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
