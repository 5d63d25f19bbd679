"""Parameters in path and query. An invalid one is a 400 that says what is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

from sanic import Request

from app.api.errors import Problem
from app.texts.i18n import N_, Translatable

MAX_SEQ = 2**63 - 1


def path_uuid(name: str, value: str) -> UUID:
    """A UUID in a path."""
    try:
        return UUID(value)
    except ValueError:
        raise bad_parameter(
            N_("`%(name)s` in the path must be a UUID, such as 456e7890-e89b-12d3-a456-426614174001."),
            name=name,
        ) from None


def path_number(name: str, value: str, least: int, most: int) -> int:
    """An integer in a path, in its one spelling: no sign, no leading zeros."""
    if value.isascii() and value.isdigit() and len(value) < 20:
        found = int(value)
        if least <= found <= most and str(found) == value:
            return found
    raise bad_parameter(
        N_("`%(name)s` in the path must be an integer from %(least)d to %(most)d."),
        name=name,
        least=least,
        most=most,
    )


def number(request: Request, name: str, least: int, most: int) -> int | None:
    """An integer in the query; None if it is missing."""
    return one_number(name, given(request, name), least, most)


def one_number(name: str, values: Sequence[str], least: int, most: int) -> int | None:
    """An integer that is given once, as a parameter or a header; None if it is missing."""
    if not values:
        return None
    if len(values) == 1 and values[0].isascii() and values[0].isdigit() and len(values[0]) < 20:
        found = int(values[0])
        if least <= found <= most:
            return found
    raise bad_parameter(
        N_("`%(name)s` must be one integer from %(least)d to %(most)d."),
        name=name,
        least=least,
        most=most,
    )


def flag(request: Request, name: str) -> bool:
    """A flag in the query; False if it is missing."""
    values = given(request, name)
    if not values:
        return False
    if len(values) == 1 and values[0] in ("true", "false"):
        return bool(values[0] == "true")
    raise bad_parameter(N_("`%(name)s` must be true or false."), name=name)


def text(request: Request, name: str, longest: int) -> str | None:
    """A string in the query; None if it is missing."""
    value = _one(request, name)
    if value is not None and (not 0 < len(value) <= longest or not value.isprintable()):
        raise bad_parameter(
            N_("`%(name)s` must be a string of 1 to %(longest)d printable characters."),
            name=name,
            longest=longest,
        )
    return value


def choice(request: Request, name: str, allowed: Sequence[str]) -> str | None:
    """One of the allowed values in the query; None if it is missing."""
    value = _one(request, name)
    if value is not None and value not in allowed:
        raise bad_parameter(N_("`%(name)s` must be one of: %(known)s."), name=name, known=", ".join(allowed))
    return value


def choices(request: Request, name: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """Allowed values in the query: several parameters, or one with commas, or both. None of them if it is
    missing.
    """
    values = [each.strip() for value in given(request, name) for each in value.split(",")]
    for value in values:
        if value not in allowed:
            raise bad_parameter(
                N_("`%(name)s` must be one or several of: %(known)s. There is no %(value)s."),
                name=name,
                known=", ".join(allowed),
                value=repr(value[:50]),
            )
    return tuple(dict.fromkeys(values))


def uuid(request: Request, name: str) -> UUID | None:
    """A UUID in the query; None if it is missing."""
    value = _one(request, name)
    try:
        return None if value is None else UUID(value)
    except ValueError:
        raise bad_parameter(N_("`%(name)s` must be a UUID."), name=name) from None


def moment(request: Request, name: str) -> datetime | None:
    """A timestamp in the query (RFC 3339 with an offset), in UTC; None if it is missing."""
    value = _one(request, name)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value.replace(" ", "+"))
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):  # overflow: in UTC it lies before year 1 or after 9999
        pass
    raise bad_parameter(
        N_("`%(name)s` must be an RFC 3339 timestamp with an offset, such as 2026-11-21T07:00:00Z."),
        name=name,
    )


def _one(request: Request, name: str) -> str | None:
    values = given(request, name)
    if len(values) > 1:
        raise bad_parameter(N_("`%(name)s` must be given only once."), name=name)
    return str(values[0]) if values else None


def given(request: Request, name: str) -> list[str]:
    """The values of a query parameter, including empty ones."""
    return list(request.get_args(keep_blank_values=True).getlist(name, []))


def bad_parameter(detail: Translatable, **params: object) -> Problem:
    """400: what is wrong with a parameter, and what is accepted."""
    return Problem(HTTPStatus.BAD_REQUEST, "bad_parameter", detail, {}, **params)
