"""A user's profile and preferences: which categories are sent over which channels, and when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import asdict
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import bad_body, json_answer, json_body
from app.api.errors import Problem
from app.api.headers import accept_language
from app.api.routes import Routes, add_routes
from app.domain.channels import CHANNELS, DELIVERY_CHANNELS, EMAIL, SMS
from app.domain.digests import DIGEST_CHANNELS, read_choice
from app.domain.preferences import ALWAYS_ON, CATEGORIES, CHOICES, Evaluator, choice_id
from app.store.ports import PreferencesPort
from app.store.preferences import Profile
from app.texts.categories import CATEGORY_NAMES, CHANNEL_NAMES
from app.texts.i18n import LOCALES, N_, negotiate, render
from handlers.audiences import time_zones

_CHOSEN = [category for category in CATEGORIES if category != ALWAYS_ON]
Category = Annotated[str, Meta(extra_json_schema={"enum": _CHOSEN})]
Channel = Annotated[str, Meta(extra_json_schema={"enum": list(CHANNELS)})]
Locale = Annotated[str, Meta(extra_json_schema={"enum": list(LOCALES)})]
Clock = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)", examples=["22:00"])]


class PreferenceChoice(msgspec.Struct, forbid_unknown_fields=True):
    """Whether messages of a category are sent over a channel. `digest`: when they are sent together, or null
    for the operator's rule; left out, it stays as it is.
    """

    enabled: bool
    digest: Annotated[str, Meta(max_length=64, examples=["daily at 18:00"])] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )


class NewChoice(PreferenceChoice, kw_only=True):
    """A preference that is set for the first time: the category, the channel, and whether it is on."""

    category: Category
    channel: Channel


class ProfileBody(msgspec.Struct, forbid_unknown_fields=True):
    """A user's profile; a field that is left out is unset. Quiet hours are in `time_zone`."""

    locale: Locale | None = None
    time_zone: Annotated[str, Meta(max_length=64, examples=["Asia/Ho_Chi_Minh"])] | None = None
    quiet_from: Clock | None = None
    quiet_until: Clock | None = None
    email: Annotated[str, Meta(max_length=320, examples=["user@example.com"])] | None = None
    phone: Annotated[str, Meta(max_length=16, examples=["+84912345678"])] | None = None


class ProfileChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields of the profile: one that is missing stays, null unsets it."""

    locale: Locale | UnsetType | None = UNSET
    time_zone: Annotated[str, Meta(max_length=64, examples=["Asia/Ho_Chi_Minh"])] | UnsetType | None = UNSET
    quiet_from: Clock | UnsetType | None = UNSET
    quiet_until: Clock | UnsetType | None = UNSET
    email: Annotated[str, Meta(max_length=320, examples=["user@example.com"])] | UnsetType | None = UNSET
    phone: Annotated[str, Meta(max_length=16, examples=["+84912345678"])] | UnsetType | None = UNSET


class PreferenceChanges(msgspec.Struct, forbid_unknown_fields=True):
    """`choices` and `digests` by the id of the preference; null returns to the default, or to the operator's
    rule.
    """

    choices: Annotated[
        dict[str, bool | None], Meta(max_length=len(CHOICES), examples=[{"food.email": False}])
    ] = {}
    digests: Annotated[
        dict[str, Annotated[str, Meta(max_length=64)] | None],
        Meta(max_length=len(CHOICES), examples=[{"food.email": "daily at 18:00"}]),
    ] = {}
    profile: ProfileChanges = ProfileChanges()


class Preference(msgspec.Struct, omit_defaults=True):
    """An effective preference. `by` is `person`, `default`, or `always` if it cannot be changed. `digest` is
    the one that the user has chosen.
    """

    id: str
    category: str
    channel: str
    enabled: bool
    by: str
    digest: str | None = None


class Named(msgspec.Struct):
    """A category or channel, with its name in the language of `Accept-Language`."""

    id: str
    name: str


class Preferences(msgspec.Struct):
    """The profile of a user and the preferences that the user has set."""

    profile: ProfileBody
    preferences: list[Preference]
    categories: list[Named]
    channels: list[Named]


class PreferenceResource:
    """The calls of the user that the path names."""

    def __init__(
        self,
        authenticator: Authenticator,
        store: PreferencesPort,
        evaluator: Evaluator,
        *,
        confirm_addresses: bool = False,
    ) -> None:
        """`confirm_addresses`: whether the profile takes no address that isn't its own already."""
        self._confirm_addresses = confirm_addresses
        self._authenticator = authenticator
        self._store = store
        self._evaluator = evaluator

    def blueprint(self, prefix: str) -> Blueprint:
        """The calls under `prefix`/preferences."""
        blueprint = Routes("preferences", url_prefix=f"{prefix}/preferences")
        add_routes(
            (blueprint.get("/users/<user_id:str>"), self.get_preferences),
            (blueprint.post("/users/<user_id:str>"), self.add_preference),
            (blueprint.patch("/users/<user_id:str>"), self.change_preferences),
            (blueprint.put("/users/<user_id:str>/profile"), self.set_profile),
            (blueprint.delete("/users/<user_id:str>/profile"), self.drop_profile),
            (blueprint.put("/users/<user_id:str>/<preference_id:str>"), self.set_preference),
            (blueprint.delete("/users/<user_id:str>/<preference_id:str>"), self.drop_preference),
        )
        return blueprint

    @schemas.described(
        "Get a user's profile and preferences",
        "The profile, and the user's choice or the default for each category and channel.",
        {200: schemas.Answer("The profile and all preferences", Preferences)},
        errors=(400, 401, 403, 503),
    )
    async def get_preferences(self, request: Request, user_id: str) -> HTTPResponse:
        """All preferences of a user."""
        owner = await self._authenticator.owner(request, user_id)
        return await self._answer(request, owner)

    @schemas.described(
        "Change several preferences",
        "Sets these choices, digests and fields of the profile, all or none; the others stay. null returns a "
        "choice to its default and a digest to the operator's rule, and unsets a field.",
        {200: schemas.Answer("The profile and all preferences", Preferences)},
        errors=(400, 401, 403, 409, 503),
        body=PreferenceChanges,
    )
    async def change_preferences(self, request: Request, user_id: str) -> HTTPResponse:
        """`PATCH /preferences/users/{user_id}`: several choices, digests and fields of the profile."""
        owner = await self._authenticator.owner(request, user_id)
        changes = json_body(request, PreferenceChanges)
        for choice in (*changes.choices, *changes.digests):
            _changeable(choice)
        digests = {
            choice: None if window is None else _digest_window(choice, window)
            for choice, window in changes.digests.items()
        }
        given = {name: value for name, value in asdict(changes.profile).items() if value is not UNSET}
        before, _ = await self._store.get(owner)
        profile = checked_profile(msgspec.structs.replace(profile_body(before), **given))
        self._check_addresses(before, profile)
        fields = {name: getattr(profile, name) for name in given}
        await self._store.change(owner, fields, changes.choices, digests)
        return await self._answer(request, owner)

    async def _answer(self, request: Request, owner: UUID) -> HTTPResponse:
        profile, choices = await self._store.get(owner)
        digests = await self._store.digests(owner)
        locale = negotiate(accept_language(request), profile.locale or LOCALES[0])
        categories, channels = (
            [Named(each, render(locale, name, {})) for each, name in names.items()]
            for names in (CATEGORY_NAMES, CHANNEL_NAMES)
        )
        body = Preferences(profile_body(profile), self._all(choices, digests), categories, channels)
        return json_answer(body, headers={"Content-Language": locale})

    async def list_of(self, owner: UUID) -> list[Preference]:
        """All preferences of a user who was authenticated."""
        _, choices = await self._store.get(owner)
        return self._all(choices, await self._store.digests(owner))

    def _all(self, choices: Mapping[str, bool], digests: Mapping[str, str]) -> list[Preference]:
        return [self._effective(choice, choices, digests) for choice in CHOICES]

    @schemas.described(
        "Set a preference for the first time",
        "Whether messages of a category are sent over a channel. Answers 409 if the preference "
        "is already set.",
        {201: schemas.Answer("The preference", Preference)},
        errors=(400, 401, 403, 409, 503),
        body=NewChoice,
    )
    async def add_preference(self, request: Request, user_id: str) -> HTTPResponse:
        """Set a preference for the first time; 409 if it is set."""
        owner = await self._authenticator.owner(request, user_id)
        return await self.add_of(request, owner, json_body(request, NewChoice))

    async def add_of(self, request: Request, owner: UUID, new: NewChoice) -> HTTPResponse:
        """Set a preference of a user who was authenticated, for the first time."""
        place = request.path.rstrip("/")
        choice = _changeable(choice_id(new.category, new.channel))
        digest = _digest(choice, new.digest)
        if not await self._store.add_choice(owner, choice, new.enabled):
            raise Problem(
                HTTPStatus.CONFLICT,
                "preference_exists",
                N_("This preference is already set. Change it with PUT %(path)s."),
                path=f"{place}/{choice}",
            )
        await self._set_digest(owner, choice, digest)
        headers = {"Location": f"{place}/{choice}"}
        return json_answer(await self._preference(owner, choice), HTTPStatus.CREATED, headers)

    @schemas.described(
        "Set the profile",
        "Language, time zone, addresses, and quiet hours: mail and SMS are deferred until they "
        "end, unless urgent.",
        {200: schemas.Answer("The profile", ProfileBody)},
        errors=(400, 401, 403, 503),
        body=ProfileBody,
    )
    async def set_profile(self, request: Request, user_id: str) -> HTTPResponse:
        """Replace the profile: language, addresses, quiet hours."""
        owner = await self._authenticator.owner(request, user_id)
        profile = checked_profile(json_body(request, ProfileBody))
        if self._confirm_addresses:
            before, _ = await self._store.get(owner)
            self._check_addresses(before, profile)
        await self._store.set_profile(owner, profile)
        return json_answer(profile_body(profile))

    @schemas.described(
        "Delete the profile",
        "Preferences are kept.",
        {200: schemas.Answer("The empty profile", ProfileBody)},
        errors=(400, 401, 403, 503),
    )
    async def drop_profile(self, request: Request, user_id: str) -> HTTPResponse:
        """Empty the profile."""
        owner = await self._authenticator.owner(request, user_id)
        await self._store.set_profile(owner, Profile())
        return json_answer(ProfileBody())

    @schemas.described(
        "Set a preference",
        "`preference_id` is category.channel, such as food.email.",
        {200: schemas.Answer("The preference", Preference)},
        errors=(400, 401, 403, 404, 409, 503),
        body=PreferenceChoice,
    )
    async def set_preference(self, request: Request, user_id: str, preference_id: str) -> HTTPResponse:
        """Set a preference."""
        owner = await self._authenticator.owner(request, user_id)
        wanted = json_body(request, PreferenceChoice)
        return await self.set_of(owner, preference_id, wanted.enabled, wanted.digest)

    async def set_of(
        self,
        owner: UUID,
        preference_id: str,
        enabled: bool,
        digest: str | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> HTTPResponse:
        """Set a preference of a user who was authenticated."""
        choice = _existing(preference_id)
        chosen = _digest(choice, digest)
        await self._store.set_choice(owner, choice, enabled)
        await self._set_digest(owner, choice, chosen)
        return json_answer(await self._preference(owner, choice))

    @schemas.described(
        "Reset a preference",
        "The default applies again.",
        {200: schemas.Answer("The effective preference", Preference)},
        errors=(400, 401, 403, 404, 409, 503),
    )
    async def drop_preference(self, request: Request, user_id: str, preference_id: str) -> HTTPResponse:
        """Reset a preference to the operator's default."""
        return await self.drop_of(await self._authenticator.owner(request, user_id), preference_id)

    async def drop_of(self, owner: UUID, preference_id: str) -> HTTPResponse:
        """Reset a preference of a user who was authenticated."""
        choice = _existing(preference_id)
        chosen = choice in await self._store.digests(owner)
        if chosen:
            await self._store.set_digest(owner, choice, None)
        if not await self._store.drop_choice(owner, choice) and not chosen:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                "no_such_preference",
                N_("This preference is not set. The default applies already."),
            )
        return json_answer(await self._preference(owner, choice))

    def _check_addresses(self, before: Profile, after: Profile) -> None:
        new = {after.email, after.phone} - {before.email, before.phone, None}
        if self._confirm_addresses and new:
            raise Problem(
                HTTPStatus.CONFLICT,
                "unconfirmed_address",
                N_("A new address has to be confirmed. POST /addresses sends a code to it."),
            )

    async def _preference(self, user_id: UUID, choice: str) -> Preference:
        _, choices = await self._store.get(user_id)
        return self._effective(choice, choices, await self._store.digests(user_id))

    async def _set_digest(self, owner: UUID, choice: str, digest: str | msgspec.UnsetType | None) -> None:
        if not isinstance(digest, msgspec.UnsetType):
            await self._store.set_digest(owner, choice, digest)

    def _effective(self, choice: str, choices: Mapping[str, bool], digests: Mapping[str, str]) -> Preference:
        category, _, channel = choice.partition(".")
        digest = digests.get(choice)
        if category == ALWAYS_ON:
            return Preference(choice, category, channel, True, "always")
        if choice in choices:
            return Preference(choice, category, channel, choices[choice], "person", digest)
        enabled = self._evaluator.on_by_default(category, channel)
        return Preference(choice, category, channel, enabled, "default", digest)


def _digest(choice: str, given: str | msgspec.UnsetType | None) -> str | msgspec.UnsetType | None:
    if given is None or isinstance(given, msgspec.UnsetType):
        return given
    return _digest_window(choice, given)


def _digest_window(choice: str, given: str) -> str:
    """The window as it is stored. Raises `Problem` if the channel has none, or it is no window for people."""
    if not choice.endswith(tuple(f".{channel}" for channel in DIGEST_CHANNELS)):
        raise bad_body(f"`digest` is accepted for {' and '.join(DIGEST_CHANNELS)} only")
    try:
        return read_choice(given)
    except ValueError as error:
        raise bad_body(f"`digest`: {error}") from None


def _changeable(choice: str) -> str:
    if choice not in CHOICES:
        allowed = f"`category` must be one of {', '.join(CATEGORIES)}, `channel` one of {', '.join(CHANNELS)}"
        raise bad_body(allowed)
    if choice.startswith(f"{ALWAYS_ON}."):
        raise Problem(
            HTTPStatus.CONFLICT,
            "always_on",
            N_("Security messages are always on. This preference cannot be changed."),
        )
    return choice


def _existing(choice: str) -> str:
    if choice not in CHOICES:
        raise _no_such_preference()
    return _changeable(choice)


def _no_such_preference() -> Problem:
    return Problem(
        HTTPStatus.NOT_FOUND,
        "no_such_preference",
        N_("No such preference. The id of a preference is category.channel, such as food.email."),
    )


def checked_profile(body: ProfileBody) -> Profile:
    """The profile. Raises `Problem` that names the first invalid field."""
    if body.locale is not None and body.locale not in LOCALES:
        raise bad_body(f"`locale` must be one of {', '.join(LOCALES)}")
    if body.time_zone is not None and body.time_zone not in time_zones():
        raise bad_body("`time_zone` must be an IANA time zone, such as Asia/Ho_Chi_Minh")
    quiet = (body.quiet_from, body.quiet_until)
    if quiet != (None, None):
        if None in quiet or body.time_zone is None:
            raise bad_body("quiet hours need all of `quiet_from`, `quiet_until` and `time_zone`")
        if body.quiet_from == body.quiet_until:
            raise bad_body("`quiet_from` and `quiet_until` must differ; leave both out for no quiet hours")
    for field, channel, address in (("email", EMAIL, body.email), ("phone", SMS, body.phone)):
        if address is not None:
            try:
                DELIVERY_CHANNELS[channel](address)
            except ValueError as error:
                raise bad_body(f"`{field}`: {error}") from None
    begins, ends = (None if clock is None else time.fromisoformat(clock) for clock in quiet)
    return Profile(body.locale, body.time_zone, begins, ends, body.email, body.phone)


def profile_body(profile: Profile) -> ProfileBody:
    """The profile as the API has it."""
    begins, ends = (
        None if clock is None else f"{clock:%H:%M}" for clock in (profile.quiet_from, profile.quiet_until)
    )
    return ProfileBody(profile.locale, profile.time_zone, begins, ends, profile.email, profile.phone)
