"""Topics that people follow: services manage them, users join and leave."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated
from urllib.parse import unquote, urlencode
from uuid import UUID

import msgspec
from msgspec import Meta
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import bad_body, json_answer, json_body
from app.api.errors import Problem
from app.api.headers import accept_language
from app.api.parameters import bad_parameter, number, text, uuid
from app.api.routes import Routes, add_routes
from app.api.sending import SEND
from app.domain.topics import (
    MAX_OWN_TOPICS,
    MAX_TOPIC_KEY_CHARS,
    FollowedTopic,
    Follower,
    Joined,
    Topic,
    TopicDeletion,
    is_topic_key,
)
from app.domain.user_ids import UserIds
from app.store.ports import Topics
from app.store.topics import FIRST
from app.texts.i18n import LOCALES, N_, Translatable, negotiate, render

MAX_FOLLOWERS_PER_CALL = 10_000
MAX_PAGE_ROWS = 1_000
MAX_DELETE_SECONDS = 10.0
"""That one call removes followers, well below the time limit of responses."""
FOLLOWS, LEFT = N_("The user follows the topic."), N_("The user no longer follows the topic.")

AnyUserId = Annotated[str | int, Meta(examples=["456e7890-e89b-12d3-a456-426614174001"])]


class TopicChange(msgspec.Struct, forbid_unknown_fields=True):
    """`open`: whether users may follow the topic with their tokens."""

    open: bool


class FollowersChange(msgspec.Struct, forbid_unknown_fields=True):
    """Users who are to follow the topic, and users who are not to."""

    add: Annotated[list[AnyUserId], Meta(max_length=MAX_FOLLOWERS_PER_CALL)] = []
    remove: Annotated[list[AnyUserId], Meta(max_length=MAX_FOLLOWERS_PER_CALL)] = []


class FollowersChanged(msgspec.Struct):
    """How many did not follow the topic before, and how many did."""

    added: int
    removed: int


class TopicResource:
    """For services whose token has the scope `notifications:send`, and for users who join and leave."""

    def __init__(self, authenticator: Authenticator, store: Topics, user_ids: UserIds) -> None:
        self._authenticator = authenticator
        self._store = store
        self._user_ids = user_ids

    def blueprint(self, prefix: str) -> Blueprint:
        """The calls under `prefix`/topics."""
        blueprint = Routes("topics", url_prefix=f"{prefix}/topics")
        follower = "/<topic_key:str>/followers/<user_id:str>"
        add_routes(
            (blueprint.get("/"), self.list_topics),
            (blueprint.put("/<topic_key:str>"), self.put_topic),
            (blueprint.delete("/<topic_key:str>"), self.delete_topic),
            (blueprint.get("/<topic_key:str>/followers"), self.list_followers),
            (blueprint.post("/<topic_key:str>/followers"), self.change_followers),
            (blueprint.put(follower), self.follow),
            (blueprint.delete(follower), self.unfollow),
            (blueprint.get("/users/<user_id:str>"), self.list_followed),
        )
        return blueprint

    @schemas.described(
        "List topics",
        'By their keys. `Link: rel="next"` has the next page.',
        {200: schemas.Answer("The topics", list[Topic])},
        errors=(400, 401, 403, 503),
        query=schemas.TOPICS_QUERY,
    )
    async def list_topics(self, request: Request) -> HTTPResponse:
        """List topics, a page at a time."""
        await self._authenticator.service(request, SEND)
        limit = number(request, "limit", 1, MAX_PAGE_ROWS) or MAX_PAGE_ROWS
        after = text(request, "after", MAX_TOPIC_KEY_CHARS) or ""
        found = await self._store.topics(limit + 1, after)
        return _page(request, found, limit, found[limit - 1].key if len(found) > limit else None)

    @schemas.described(
        "Make or change a topic",
        "A topic that a service adds followers to is made by that. Only an `open` topic can be followed by "
        "users with their tokens.",
        {200: schemas.Answer("The topic", Topic)},
        errors=(400, 401, 403, 503),
        body=TopicChange,
    )
    async def put_topic(self, request: Request, topic_key: str) -> HTTPResponse:
        """Make a topic, or open or close it."""
        await self._authenticator.service(request, SEND)
        key = _key(topic_key)
        return json_answer(await self._store.put(key, is_open=json_body(request, TopicChange).open))

    @schemas.described(
        "Delete a topic",
        "Removes its followers, and cancels the broadcasts to it that are running or paused. One call takes "
        "about 10 seconds at most: if followers are left then, it answers 202, and the topic stays, closed. "
        "Repeat the call until it answers 200. Followers that are added meanwhile are removed as well.",
        {
            200: schemas.Answer("The topic is deleted", TopicDeletion),
            202: schemas.Answer("Followers are left: repeat the call", TopicDeletion),
        },
        errors=(400, 401, 403, 404, 503),
    )
    async def delete_topic(self, request: Request, topic_key: str) -> HTTPResponse:
        """Delete a topic with its followers."""
        await self._authenticator.service(request, SEND)
        done = await self._store.delete(_key(topic_key), MAX_DELETE_SECONDS)
        if done is None:
            raise Problem(HTTPStatus.NOT_FOUND, "no_such_topic", N_("There is no topic with this key."))
        return json_answer(done, HTTPStatus.OK if done.deleted else HTTPStatus.ACCEPTED)

    @schemas.described(
        "List the followers of a topic",
        'By their ids. `Link: rel="next"` has the next page.',
        {200: schemas.Answer("The followers", list[Follower])},
        errors=(400, 401, 403, 503),
        query=schemas.FOLLOWERS_QUERY,
    )
    async def list_followers(self, request: Request, topic_key: str) -> HTTPResponse:
        """List the followers of a topic, a page at a time."""
        await self._authenticator.service(request, SEND)
        key = _key(topic_key)
        limit = number(request, "limit", 1, MAX_PAGE_ROWS) or MAX_PAGE_ROWS
        found = await self._store.followers(key, limit + 1, uuid(request, "after") or FIRST)
        return _page(request, found, limit, str(found[limit - 1].user_id) if len(found) > limit else None)

    @schemas.described(
        "Add and remove followers",
        "Up to 10,000 of each, in one transaction. Who follows already, or doesn't, stays so.",
        {200: schemas.Answer("What has changed", FollowersChanged)},
        errors=(400, 401, 403, 503),
        body=FollowersChange,
    )
    async def change_followers(self, request: Request, topic_key: str) -> HTTPResponse:
        """Add and remove followers."""
        await self._authenticator.service(request, SEND)
        key = _key(topic_key)
        body = json_body(request, FollowersChange)
        add, remove = self._users("add", body.add), self._users("remove", body.remove)
        if both := {*add} & {*remove}:
            raise bad_body(f"{min(both)} is in both `add` and `remove`")
        return json_answer(FollowersChanged(*await self._store.change(key, add, remove)))

    @schemas.described(
        "Follow a topic",
        "With the user's token, if the topic is open, or with a service's.",
        {200: schemas.Answer("The user follows the topic", schemas.Confirmation)},
        errors=(400, 401, 403, 409, 503),
    )
    async def follow(self, request: Request, topic_key: str, user_id: str) -> HTTPResponse:
        """Have one user follow a topic."""
        owner = await self._authenticator.owner_or_service(request, user_id, SEND)
        key = _key(topic_key)
        if owner is None:
            await self._store.change(key, add=[self._authenticator.user_in_path(user_id)])
        else:
            _check(await self._store.join(key, owner))
        return _confirmation(request, FOLLOWS)

    @schemas.described(
        "Leave a topic",
        "With the user's token, whether the topic is open or not, or with a service's.",
        {200: schemas.Answer("The user doesn't follow the topic", schemas.Confirmation)},
        errors=(400, 401, 403, 503),
    )
    async def unfollow(self, request: Request, topic_key: str, user_id: str) -> HTTPResponse:
        """Have one user leave a topic."""
        owner = await self._authenticator.owner_or_service(request, user_id, SEND)
        user = owner or self._authenticator.user_in_path(user_id)
        await self._store.change(_key(topic_key), remove=[user])
        return _confirmation(request, LEFT)

    @schemas.described(
        "List the topics that a user follows",
        "By their keys. `Link: rel=\"next\"` has the next page. With the user's token, or with a service's.",
        {200: schemas.Answer("The topics", list[FollowedTopic])},
        errors=(400, 401, 403, 503),
        query=schemas.TOPICS_QUERY,
    )
    async def list_followed(self, request: Request, user_id: str) -> HTTPResponse:
        """List what a user follows, a page at a time."""
        owner = await self._authenticator.owner_or_service(request, user_id, SEND)
        user = owner or self._authenticator.user_in_path(user_id)
        limit = number(request, "limit", 1, MAX_PAGE_ROWS) or MAX_PAGE_ROWS
        found = await self._store.of_user(user, limit + 1, text(request, "after", MAX_TOPIC_KEY_CHARS) or "")
        return _page(request, found, limit, found[limit - 1].key if len(found) > limit else None)

    def _users(self, name: str, given: Sequence[str | int]) -> Sequence[UUID]:
        found = [self._user_ids.read(each) for each in given]
        users = [each for each in found if each is not None]
        if len(users) < len(found):
            raise bad_body(f"`{name}[{found.index(None)}]` must be the id of a user, a UUID")
        return users


def _key(quoted: str) -> str:
    key = unquote(quoted)
    if not is_topic_key(key):
        raise bad_parameter(
            N_(
                "The key of a topic has 1 to %(most)d characters of A-Z, a-z, 0-9 and . _ : -, and is not "
                "`users`."
            ),
            most=MAX_TOPIC_KEY_CHARS,
        )
    return key


def _check(joined: Joined) -> None:
    if joined is Joined.CLOSED:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "topic_closed",
            N_("Users cannot follow this topic themselves: it is not open, or there is no such topic."),
        )
    if joined is Joined.TOO_MANY:
        raise Problem(
            HTTPStatus.CONFLICT,
            "too_many_topics",
            N_("The user follows %(most)d topics already. Leave one first."),
            most=MAX_OWN_TOPICS,
        )


def _page(request: Request, found: Sequence[object], limit: int, last: str | None) -> HTTPResponse:
    """Up to `limit` of them, with a link to the next page if there are more."""
    headers = {}
    if last is not None:
        query = urlencode({"limit": limit, "after": last})
        headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    return json_answer([*found[:limit]], headers=headers)


def _confirmation(request: Request, done: Translatable) -> HTTPResponse:
    spoken = negotiate(accept_language(request), LOCALES[0])
    return json_answer(schemas.Confirmation(render(spoken, done, {})), headers={"Content-Language": spoken})
