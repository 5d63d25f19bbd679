"""JSON bodies: decoding a request's into its type, with a 400 that names the invalid field; encoding."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, TypeVar, get_args

import msgspec
from sanic import HTTPResponse, Request

from app.api.errors import Problem
from app.domain import exact_json
from app.domain.events import BOM
from app.domain.fields import described
from app.texts.i18n import N_

Body = TypeVar("Body")

_encoder = msgspec.json.Encoder()


def json_body(request: Request, body_type: type[Body]) -> Body:
    """The body as this type. Raises `Problem`, whose text holds no values of the body."""
    return decoded_body(request, msgspec.json.Decoder(body_type))


def decoded_body(request: Request, decoder: msgspec.json.Decoder[Body]) -> Body:
    """The body as the decoder's type, which may be a union. Raises as `json_body`."""
    body = request.body.removeprefix(BOM)
    if not body.strip():
        raise bad_body("the body is empty; send JSON")
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise bad_body(_with_meant(exact_json.fault(body, error), decoder.type)) from None


def _with_meant(why: str, body_type: Any) -> str:
    """A complaint of msgspec about an unknown field, with the field that is perhaps meant."""
    found = _UNKNOWN_FIELD.match(why)
    if found is None:
        return why
    return f"{described(found[1], _fields(body_type))}{found[2]}"


_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`(.*)", re.DOTALL)


def _fields(body_type: Any) -> frozenset[str]:
    """The names of the fields of all structs that the type is made of."""
    if isinstance(body_type, type) and issubclass(body_type, msgspec.Struct):
        return frozenset(body_type.__struct_fields__)
    return frozenset(name for part in get_args(body_type) for name in _fields(part))


def bad_body(why: str) -> Problem:
    """400: what is wrong with the body, in English."""
    return Problem(HTTPStatus.BAD_REQUEST, "bad_body", N_("The request body is invalid: %(why)s"), why=why)


def json_answer(
    body: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] = MappingProxyType({})
) -> HTTPResponse:
    """An answer with this body."""
    return HTTPResponse(_encoder.encode(body), status, dict(headers), "application/json")
