"""Topics: what people follow. No I/O."""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

MAX_TOPIC_KEY_CHARS = 200
TOPIC_KEY_PATTERN = rf"^[A-Za-z0-9._:-]{{1,{MAX_TOPIC_KEY_CHARS}}}$"
RESERVED_TOPIC_KEY = "users"
"""No topic has it: its path is that of what a user follows."""
MAX_OWN_TOPICS = 1_000
"""Topics that a user can follow with their token. Services may add more."""
_KEY = re.compile(TOPIC_KEY_PATTERN.removesuffix("$") + r"\Z")


def is_topic_key(text: str) -> bool:
    """Whether a topic may have this key."""
    return _KEY.match(text) is not None and text != RESERVED_TOPIC_KEY


class Topic(msgspec.Struct, frozen=True):
    """A subject that people follow. `open`: whether users may follow it with their tokens."""

    key: Annotated[str, Meta(pattern=TOPIC_KEY_PATTERN, examples=["release-notes"])]
    open: bool
    created_at: Annotated[datetime, Meta(tz=True)]


class Follower(msgspec.Struct, frozen=True):
    """A person who follows a topic, and since when."""

    user_id: UUID
    followed_at: Annotated[datetime, Meta(tz=True)]


class FollowedTopic(msgspec.Struct, frozen=True):
    """A topic that a person follows, and since when. Users can follow it again only if it is `open`."""

    key: str
    open: bool
    followed_at: Annotated[datetime, Meta(tz=True)]


class TopicDeletion(msgspec.Struct, frozen=True):
    """What a call that deletes a topic has done. Unless it is `deleted`, followers are left: call again."""

    removed: Annotated[int, Meta(ge=0, description="followers that this call removed")]
    deleted: bool


class Joined(Enum):
    """What came of a user's wish to follow a topic."""

    FOLLOWS = "follows"
    CLOSED = "the topic is not open, or there is none"
    TOO_MANY = "the user follows the maximum number of topics"
