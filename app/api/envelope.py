"""The envelope around answers of the documented calls: none, or JSend, as some clients expect."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from sanic import HTTPResponse, Request

from app.api.bodies import json_answer
from app.api.errors import ERROR_LOCALE, Problem, ProblemDetails, Respond, problem_response
from app.api.headers import accept_language
from app.api.routes import Handler
from app.api.schemas import Operation
from app.settings.edge import Envelope
from app.texts.i18n import Translatable, negotiate, render

Word = Literal["success", "fail", "error"]


class JsendBody(msgspec.Struct):
    """JSend (github.com/omniti-labs/jsend), with a message in every answer."""

    status: Word
    message: str
    data: msgspec.Raw


Wrap = Callable[[Handler, Translatable], Handler]
"""Puts a handler's answers into an envelope, with the text as `message`. For errors: `error_answers`."""


def envelope(name: Envelope) -> Wrap:
    """The envelope of this name. `none` returns the handler itself, so it costs nothing."""
    return _jsend if name == "jsend" else _none


def error_answers(name: Envelope, paths: Collection[str]) -> Respond:
    """How errors are answered: in the envelope at these paths, whoever raised them (405, a timeout).

    `paths` are as routes have them, with `<name:str>` for a segment.
    """
    if name != "jsend":
        return problem_response
    documented = re.compile("|".join(re.sub("<[a-z_]+:str>", "[^/]+", path) for path in paths))

    def respond(request: Request, problem: Problem) -> HTTPResponse:
        answer = problem_response(request, problem)
        return _problem(answer) if documented.fullmatch(request.path.rstrip("/")) else answer

    return respond


def _none(handler: Handler, message: Translatable) -> Handler:
    return handler


def _jsend(handler: Handler, message: Translatable) -> Handler:
    @wraps(handler)
    async def enveloped(request: Request, **parameters: str) -> HTTPResponse:
        answer = await handler(request, **parameters)
        locale = answer.headers.get("content-language") or _locale(request)
        body = JsendBody("success", render(locale, message, {}), msgspec.Raw(answer.body or b"null"))
        return json_answer(body, answer.status, dict(answer.headers))

    operation: Operation = handler.operation  # type: ignore[attr-defined]
    enveloped.operation = Operation(_document(operation.document), operation.types)  # type: ignore[attr-defined]
    return enveloped


def _locale(request: Request) -> str:
    return negotiate(accept_language(request), ERROR_LOCALE)


def _problem(answer: HTTPResponse) -> HTTPResponse:
    """An error in the envelope: `message` is its detail, `data` the whole problem, with its `code`."""
    body = answer.body or b""
    detail = msgspec.json.decode(body, type=ProblemDetails).detail
    enveloped = JsendBody(_word(answer.status), detail, msgspec.Raw(body))
    return json_answer(enveloped, answer.status, dict(answer.headers))


def _word(status: int) -> Word:
    if status < HTTPStatus.BAD_REQUEST:
        return "success"
    return "fail" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "error"


def _document(operation: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a call whose answers are in the envelope."""
    answers = {
        status: {**answer, "content": {"application/json": {"schema": _schema(int(status), answer)}}}
        for status, answer in operation["responses"].items()
    }
    return {**operation, "responses": answers}


def _schema(status: int, answer: Mapping[str, Any]) -> dict[str, Any]:
    (content,) = answer["content"].values()
    return {
        "type": "object",
        "required": ["status", "message", "data"],
        "properties": {
            "status": {"type": "string", "enum": [_word(status)]},
            "message": {"type": "string"},
            "data": content["schema"],
        },
    }
