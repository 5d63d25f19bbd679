"""A user's addresses, each confirmed by a code that is sent to it."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from typing import Annotated
from uuid import UUID, uuid4

import msgspec
from msgspec import Meta
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import bad_body, json_answer, json_body
from app.api.errors import Problem, too_many_requests
from app.api.headers import accept_language
from app.api.parameters import path_uuid
from app.api.routes import Routes, add_routes
from app.auth.address_codes import AddressCodes
from app.auth.secrets import SecretBox
from app.domain.addresses import mailbox, phone_number
from app.domain.channels import EMAIL
from app.domain.confirmations import (
    CODE_SECONDS,
    CODE_TEMPLATE,
    CONFIRMED_CHANNELS,
    CodeRequest,
    CodeResult,
    ContactAddress,
)
from app.domain.deliveries import DeliveryDraft
from app.domain.preferences import ALWAYS_ON
from app.domain.time import Now, moment
from app.store.addresses import AddressStore
from app.store.ports import EventWriter
from app.store.records import DeliveryRecord, EventRecord
from app.texts.i18n import LOCALES, N_, negotiate, render

_REMOVED = N_("The address was removed.")


class NewAddress(msgspec.Struct, forbid_unknown_fields=True):
    """An address to be confirmed: of mail, or a phone number in E.164."""

    channel: Annotated[str, Meta(extra_json_schema={"enum": list(CONFIRMED_CHANNELS)}, examples=["email"])]
    address: Annotated[str, Meta(max_length=320, examples=["mai@example.com"])]


class GivenCode(msgspec.Struct, forbid_unknown_fields=True):
    """The code that was sent to the address."""

    code: Annotated[str, Meta(max_length=32, examples=["482913"])]


class AddressResource:
    """The calls of the user whose token they have."""

    def __init__(
        self, authenticator: Authenticator, store: AddressStore, box: SecretBox, writer: EventWriter, now: Now
    ) -> None:
        """`writer` stores the code's delivery, which holds the code encrypted until it is sent."""
        self._authenticator = authenticator
        self._store = store
        self._box = box
        self._codes = AddressCodes(box)
        self._writer = writer
        self._now = now

    def blueprint(self, prefix: str) -> Blueprint:
        """The calls under `prefix`/addresses."""
        blueprint = Routes("addresses", url_prefix=f"{prefix}/addresses")
        add_routes(
            (blueprint.get("/"), self.list_addresses),
            (blueprint.post("/"), self.add_address),
            (blueprint.post("/<address_id:str>/confirm"), self.confirm_address),
            (blueprint.delete("/<address_id:str>"), self.remove_address),
        )
        return blueprint

    @schemas.described(
        "List the user's addresses",
        "The confirmed ones, which are those of the profile, and those whose code is still valid, the oldest "
        "first. An address of the profile that was set without a code is not among them.",
        {200: schemas.Answer("The addresses", list[ContactAddress])},
        errors=(401, 503),
    )
    async def list_addresses(self, request: Request) -> HTTPResponse:
        """The caller's confirmed and pending addresses."""
        owner = await self._authenticator.caller(request)
        return json_answer(await self._store.of_user(owner))

    @schemas.described(
        "Send a code to a new address",
        "The address replaces that of the profile once the code is confirmed, within 10 minutes. A new "
        "request ends the earlier one for the channel. At most 5 codes an hour are sent for a user, and to "
        "an address. An address that the user has confirmed gets no code (200).",
        {
            200: schemas.Answer("The address, which is confirmed already", ContactAddress),
            201: schemas.Answer("The address; the code is being sent to it", ContactAddress),
        },
        errors=(400, 401, 429, 503),
        body=NewAddress,
    )
    async def add_address(self, request: Request) -> HTTPResponse:
        """Send a code to an address of the caller."""
        owner = await self._authenticator.caller(request)
        new = json_body(request, NewAddress)
        address, address_id, code = _checked(new), uuid4(), self._codes.make()
        hashed = self._codes.hashed(address_id, code)
        found = await self._store.request(CodeRequest(address_id, owner, new.channel, address, hashed))
        if found.address is None:
            raise too_many_requests(ceil(found.retry_after))
        if not found.send:
            return json_answer(found.address)
        await self._send(found.address, owner, code, negotiate(accept_language(request), LOCALES[0]))
        headers = {"Location": f"{request.path.rstrip('/')}/{address_id}"}
        return json_answer(found.address, HTTPStatus.CREATED, headers)

    @schemas.described(
        "Confirm an address",
        "With the code that was sent to it. The address becomes that of the profile. A code can be tried 5 "
        "times.",
        {200: schemas.Answer("The confirmed address", ContactAddress)},
        errors=(400, 401, 404, 409, 503),
        body=GivenCode,
    )
    async def confirm_address(self, request: Request, address_id: str) -> HTTPResponse:
        """Confirm an address of the caller by its code."""
        owner = await self._authenticator.caller(request)
        wanted, code = path_uuid("id", address_id), json_body(request, GivenCode).code.strip()
        result = await self._store.confirm(owner, wanted, lambda it: self._codes.fits(wanted, code, it))
        if result is CodeResult.RIGHT:
            confirmed = [each for each in await self._store.of_user(owner) if each.id == wanted]
            if confirmed:
                return json_answer(confirmed[0])
        if result in (CodeResult.WRONG, CodeResult.NONE_VALID):
            raise _refused(result)
        raise _no_such_address()

    @schemas.described(
        "Remove an address",
        "From the profile as well, if it is confirmed: nothing more is sent to it.",
        {200: schemas.Answer("Removed", schemas.Confirmation)},
        errors=(400, 401, 404, 503),
    )
    async def remove_address(self, request: Request, address_id: str) -> HTTPResponse:
        """Remove one of the caller's addresses."""
        owner = await self._authenticator.caller(request)
        if not await self._store.remove(owner, path_uuid("id", address_id)):
            raise _no_such_address()
        spoken = negotiate(accept_language(request), LOCALES[0])
        answer = schemas.Confirmation(render(spoken, _REMOVED, {}))
        return json_answer(answer, headers={"Content-Language": spoken})

    async def _send(self, to: ContactAddress, owner: UUID, code: str, locale: str) -> None:
        """Store the delivery of a code: of those for one channel of a user only the newest is ever sent."""
        draft = DeliveryDraft(
            channel=to.channel,
            template=CODE_TEMPLATE,
            address=to.address,
            locale=locale,
            data={"minutes": CODE_SECONDS // 60},
            secret={"code": code},
            valid_for=CODE_SECONDS,
            replaces=f"{CODE_TEMPLATE}:{owner}:{to.channel}",
            limit_key=f"{CODE_TEMPLATE}:{to.address.lower()}",
            user_id=owner,
        )
        secret = self._box.encrypt({"code": code})
        record = DeliveryRecord(draft, secret, reason="the user asked for it", category=ALWAYS_ON)
        event = EventRecord(f"address:{to.id}", deliveries=(record,), happened_at=moment(self._now()))
        await self._writer.write([event])


def _checked(new: NewAddress) -> str:
    """The address in one spelling. Raises `Problem`, which doesn't repeat it."""
    if new.channel not in CONFIRMED_CHANNELS:
        raise bad_body(f"`channel` must be one of {', '.join(CONFIRMED_CHANNELS)}")
    try:
        return str(mailbox(new.address)) if new.channel == EMAIL else phone_number(new.address)
    except ValueError as error:
        raise bad_body(f"`address`: {error}") from None


def _no_such_address() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "no_such_address", N_("The user has no address with this id."))


def _refused(result: CodeResult) -> Problem:
    if result is CodeResult.WRONG:
        return Problem(HTTPStatus.CONFLICT, "wrong_code", N_("The code is wrong. Check it, and try again."))
    return Problem(
        HTTPStatus.CONFLICT,
        "no_valid_code",
        N_("The code has expired, or was tried too often. Ask for a new one."),
    )
