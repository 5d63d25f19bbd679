"""Every event type: what it needs, who is told, and what they read."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from babel.messages.catalog import Catalog

import handlers
from app.dev import catalogues, samples
from app.errors import InvalidEvent
from app.i18n import LOCALES
from app.notifications import Group, NotificationDraft
from handlers.base import MAX_DATA_BYTES, MAX_RECEIVERS, BaseMessageHandler, GroupEventHandler
from handlers.registry import HANDLERS, text_in

GROUP_TYPES = sorted(HANDLERS.keys() - {"account_logged_out"})
TOLD_BY_NAME = {
    "group_user_added",
    "group_user_removed",
    "group_user_left",
    "plan_assigned",
    "plan_reported",
    "plan_expired",
}
TOLD_BY_GROUP = {"group_head_chef_updated", "food_expiring_soon", "food_expired"}
WRONG_FIELDS = [
    *((event_type, "requester_username", 5) for event_type in ("group_user_added", "group_user_removed")),
    ("group_head_chef_updated", "new_head_chef_username", None),
    ("group_head_chef_updated", "requester_username", ["mai"]),
    ("food_expiring_soon", "unit_name", 5),
    ("food_expiring_soon", "storage_name", {}),
    ("food_expiring_soon", "expiration_date", 20261124),
    ("food_expired", "unit_name", None),
    ("food_expired", "storage_name", "x" * 501),
    *((event_type, "plan_id", "41") for event_type in ("plan_assigned", "plan_reported", "plan_expired")),
    *((event_type, "deadline", 5) for event_type in ("plan_assigned", "plan_expired")),
    *((event_type, "assignee_username", True) for event_type in ("plan_assigned", "plan_reported")),
    *(("daily_meal", meal, "Phở gà") for meal in ("breakfast", "lunch", "dinner")),
]
MEMBERS = (uuid4(), uuid4(), uuid4())
GROUP = Group("Nhà mình", MEMBERS, (MEMBERS[1],))


def body_of(event_type: str, /, **data: Any) -> dict[str, Any]:
    """The sample, with `data` changed."""
    message: dict[str, Any] = json.loads(json.dumps(samples.load(event_type).message))
    if data:
        message["data"] |= data
    return message


def group_needed(body: Mapping[str, Any]) -> UUID | None:
    handler = HANDLERS[body["event_type"]]
    return handler.group_needed(handler.parse(body))


def draft_of(body: Mapping[str, Any], locale: str = "en", group: Group = GROUP) -> NotificationDraft:
    """What the pipeline would store."""
    handler = HANDLERS[body["event_type"]]
    message = handler.parse(body)
    needed = handler.group_needed(message)
    draft = handler.handle(message, body, group if needed else None, locale).notification
    assert draft is not None
    return draft


def reason_of(body: Mapping[str, Any], group: Group = GROUP) -> tuple[str, str]:
    with pytest.raises(InvalidEvent) as refused:
        draft_of(body, group=group)
    return refused.value.reason, str(refused.value)


# Adding an event type


def gaps(
    classes: Collection[type[BaseMessageHandler[Any]]],
    registry: Mapping[str, BaseMessageHandler[Any]],
    sampled: Collection[str],
    texts: Mapping[str, Catalog],
) -> list[str]:
    """What is missing until each event type has its class, its registry line, its texts and its sample."""
    registered = {type(handler) for handler in registry.values()}
    named = [f"registry.py: no line for {c.__name__}" for c in classes if c not in registered]
    named += [f"handlers/: no class for the sample {name}.json" for name in sampled if name not in registry]
    named += [f"app/dev/events: no sample {name}.json" for name in registry if name not in sampled]
    for handler in registry.values():
        if isinstance(handler, GroupEventHandler):
            for locale, catalogue in texts.items():
                for text in (handler.title, handler.content):
                    found = catalogue.get(text.singular)
                    if found is None or not found.string:
                        named.append(f"locales/{locale}: no text for {handler.event_type}: {text.singular}")
    return named


def classes() -> Iterator[type[BaseMessageHandler[Any]]]:
    """Every handler class in `handlers/` that has an event type."""
    for module in pkgutil.iter_modules(handlers.__path__):
        for found in vars(importlib.import_module(f"handlers.{module.name}")).values():
            if isinstance(found, type) and hasattr(found, "event_type"):
                yield found


def catalogues_now() -> dict[str, Catalog]:
    return {locale: catalogues.read(locale) for locale in LOCALES}


def test_no_event_type_misses_its_class_registry_line_texts_or_sample() -> None:
    assert gaps(set(classes()), HANDLERS, samples.event_types(), catalogues_now()) == []


def test_what_an_added_event_type_still_misses_is_named() -> None:
    class Invented(type(HANDLERS["group_user_left"])):  # type: ignore[misc]
        event_type = "invented"
        title = handlers.base.N_("Invented!") if hasattr(handlers.base, "N_") else ("Invented!", None)

    found = gaps({Invented}, HANDLERS, samples.event_types(), {})
    assert found == ["registry.py: no line for Invented"]


@pytest.mark.parametrize("event_type", samples.event_types())
def test_a_sample_is_of_the_type_its_file_is_named_after(event_type: str) -> None:
    assert samples.load(event_type).message["event_type"] == event_type
