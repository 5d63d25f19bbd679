"""The JSON Schemas of events say what the hub accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from app.api.openapi import components
from app.api.schemas import EVENT_COMPONENTS, TYPES
from app.dev import asyncapi, samples
from app.domain.errors import InvalidEvent
from app.sources.broker import EventInput
from app.sources.check import EventChecker
from fuzz.hostile import as_json, changed
from handlers.registry import ALIASES, HANDLERS, handlers
from handlers.schemas import event_schema

CHECKER = EventChecker(handlers(600.0), "en")
SCHEMAS = {event_type: event_schema(handler, typed=False) for event_type, handler in HANDLERS.items()}
VALIDATORS = {event_type: Draft202012Validator(schema) for event_type, schema in SCHEMAS.items()}
BODIES = {event_type: samples.load(event_type).message for event_type in samples.event_types()}
EVENTS = st.sampled_from([*HANDLERS]).flatmap(lambda each: st.tuples(st.just(each), changed([BODIES[each]])))
LIMITS = {"data_too_large", "nul_character", "not_json", "too_large"}


def is_beyond_schemas(event_type: str, refused: InvalidEvent) -> bool:
    """Whether a schema can't say it: that a day exists, an address is one, the parts of a message fit."""
    text = str(refused)
    parts_fit = ("message", "notification_updated", "notification_retracted")
    of_a_message = event_type in parts_fit and " - at `$." not in text
    return refused.reason in LIMITS or of_a_message or "dd/mm/yyyy" in text or "email: " in text


def place_of(event_type: str) -> EventInput:
    return EventInput("kafka", "topic", "", "", event_type)


@pytest.mark.parametrize("event_type", HANDLERS)
def test_a_sample_is_valid_and_so_is_its_schema(event_type: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[event_type])
    assert [error.message for error in VALIDATORS[event_type].iter_errors(BODIES[event_type])] == []


@given(EVENTS)
def test_what_is_valid_is_accepted(made: tuple[str, dict[str, Any]]) -> None:
    event_type, body = made
    refused = CHECKER.refusal(as_json(body), place_of(event_type))
    assume(refused is None or not is_beyond_schemas(event_type, refused))
    assert refused is None or not VALIDATORS[event_type].is_valid(body), str(refused)


@given(EVENTS)
def test_what_is_accepted_is_valid_but_for_what_the_check_warns_of(made: tuple[str, dict[str, Any]]) -> None:
    event_type, body = made
    problems = CHECKER.check(as_json(body), place_of(event_type))
    if any(each.fatal for each in problems):
        return
    warned = {re.sub(r"\[.*", "", each.path).removeprefix("$.") for each in problems}
    for error in VALIDATORS[event_type].iter_errors(body):
        place = ".".join(str(each) for each in error.path if isinstance(each, str))
        assert place == "event_type" or place in warned, (place, error.message)


@pytest.mark.parametrize(
    ("event_type", "changes", "valid"),
    [
        ("booking.confirmed", {"booking_id": 123, "total_amount": "25.50", "seats": "A1, A2"}, True),
        ("booking.confirmed", {"total_amount": None, "seats": None, "movie_title": 7, "more": 1}, True),
        ("booking.confirmed", {"total_amount": "25,50"}, False),
        ("booking.confirmed", {"booking_id": None}, False),
        ("payment.refund", {"event_type": "booking.refunded", "refund_amount": 3}, True),
        ("plan_expired", {"receivers": None}, False),
        ("plan_expired", {"receivers": None, "receiver_is_head_chef": True}, True),
        ("group_user_left", {"receivers": None, "data": None}, True),
        ("low_stock", {"event_type": "other"}, False),
    ],
)
def test_the_tolerant_rules_are_in_the_schemas(event_type: str, changes: dict[str, Any], valid: bool) -> None:
    assert VALIDATORS[event_type].is_valid({**BODIES[event_type], **changes}) is valid


def test_each_alias_is_a_value_of_its_type() -> None:
    for alias, meant in ALIASES.items():
        assert alias in SCHEMAS[meant]["properties"]["event_type"]["enum"]


def test_openapi_has_the_events_that_http_takes_told_apart_by_their_type() -> None:
    events = EVENT_COMPONENTS["Event"]
    discriminator = events["discriminator"]
    assert discriminator["propertyName"] == "event_type"
    taken = {name for name, handler in HANDLERS.items() if handler.only_from is None}
    assert set(discriminator["mapping"]) == taken | ALIASES.keys()
    for event_type, ref in discriminator["mapping"].items():
        component = EVENT_COMPONENTS[ref.rpartition("/")[2]]
        assert event_type in component["properties"]["event_type"]["enum"]
        assert "event_type" in component["required"]
    document = {
        "openapi": "3.0.3",
        "info": {"title": "events", "version": "1"},
        "paths": {},
        "components": {"schemas": {**components(TYPES), **EVENT_COMPONENTS}},
    }
    as_served = msgspec.json.decode(msgspec.json.encode(document))
    assert [error.message for error in OpenAPIV30SpecValidator(as_served).iter_errors()] == []


def test_asyncapi_has_each_input_of_the_hub_and_refers_to_what_is_there() -> None:
    document = asyncapi.document()
    assert {channel["address"] for channel in document["channels"].values()} >= {
        *("service_notifications", "user_service.user.register_account", "user_service.user.logout_account"),
        *("notification.booking_events", "notification.payment_events", "notifications"),
        *("inventory:low-stock", "inventory:low-stock:stream"),
    }
    for ref in references(document):
        found = document
        for name in ref.removeprefix("#/").split("/"):
            found = found[name]


def test_its_examples_are_valid() -> None:
    components = asyncapi.document()["components"]
    for name, message in components["messages"].items():
        for example in message.get("examples", ()):
            validator = Draft202012Validator(components["schemas"][name])
            assert [error.message for error in validator.iter_errors(example["payload"])] == [], name


def references(value: Any) -> Iterator[str]:
    match value:
        case {"$ref": ref}:
            yield ref
        case dict():
            for each in value.values():
                yield from references(each)
        case list():
            for each in value:
                yield from references(each)
