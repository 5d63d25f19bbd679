"""One bad event never blocks its partition: it is dead-lettered with its reason, and the next one arrives."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.support.hub import Hub, added, event, new_user, reasons, receive

USER = new_user()
GOOD = added(USER)


def changed(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


BAD: dict[str, tuple[Any, str]] = {
    "not JSON": (b"{", "not_json"),
    "empty": (b"", "not_json"),
    "not an object": (b"[1, 2]", "not_an_object"),
    "no event_type": ({k: v for k, v in GOOD.items() if k != "event_type"}, "no_event_type"),
    "event_type is no text": (changed(event_type=5), "no_event_type"),
    "unknown event_type": (changed(event_type="group_exploded"), "unknown_event_type"),
    "missing field": (changed(data={"group_name": "G"}), "bad_field"),
    "wrong field": (changed(data={"group_name": "G", "requester_username": 7}), "bad_field"),
    "no data": ({k: v for k, v in GOOD.items() if k != "data"}, "bad_field"),
    "bad UUID of a receiver": (changed(receivers=["not-a-uuid"]), "bad_field"),
    "bad UUID of the group": (changed(group_id="123"), "bad_field"),
    "10,001 receivers": (changed(receivers=[new_user() for _ in range(10_001)]), "bad_field"),
    "2 MB": (changed(data={**GOOD["data"], "padding": "x" * 2_000_000}), "too_large"),
    "NUL in a name": (changed(data={**GOOD["data"], "requester_username": "a\0b"}), "nul_character"),
    "bad UTF-8": (json.dumps(GOOD).encode().replace(b"john_doe", b"john\xff\xfe"), "bad_encoding"),
    "lone surrogate": (json.dumps(GOOD).encode().replace(b"john_doe", rb"\ud800"), "not_json"),
    "nested too deeply": (b"[" * 100_000 + b"]" * 100_000, "not_json"),
    "a wrong day": (
        event("food_expiring_soon", [USER], unit_name="a", storage_name="b", expiration_date="2026-11-24"),
        "bad_field",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_it_is_dead_lettered_with_its_reason_and_the_next_event_arrives(hub: Hub, name: str) -> None:
    message, reason = BAD[name]
    before = await hub.records(f"{hub.topic}.dlq")
    async with hub.socket(USER) as socket:
        await hub.publish(message, GOOD, key=b"same partition")
        frame = await receive(socket)
        assert frame["data"]["receiver"] == USER
    [dead_letter] = await hub.dead_letters(before)
    assert reasons([dead_letter]) == [reason]
    headers = {name: value.decode() for name, value in dead_letter.headers}
    assert headers["dlq.topic"] == hub.topic
    assert headers["dlq.error"]
    assert headers["dlq.offset"].isdigit()
    assert dead_letter.key == b"same partition"


@pytest.mark.parametrize("name", ["{{7*7}}", "<script>alert(1)</script>", "%(group_name)s %s", "{0.a}"])
async def test_a_name_that_looks_like_code_is_stored_inert(hub: Hub, name: str) -> None:
    user = new_user()
    async with hub.socket(user) as socket:
        await hub.publish(added(user, name))
        notification = (await receive(socket))["data"]
    assert notification["content"].startswith(f"{name} đã thêm bạn vào nhóm")
    assert notification["raw_data"]["requester_username"] == name


async def test_ten_thousand_receivers_are_notified_and_the_next_event_arrives(hub: Hub) -> None:
    crowd = [USER, *(new_user() for _ in range(9_999))]
    async with hub.socket(USER) as socket:
        await hub.publish(event("group_user_left", crowd), GOOD, key=b"same partition")
        assert (await receive(socket))["data"]["template_code"] == "GROUP_USER_LEFT"
        assert (await receive(socket))["data"]["template_code"] == "GROUP_USER_ADDED"
    left = "select count(*) from notifications where template_code = 'GROUP_USER_LEFT' and receiver = any($1)"
    rows = await hub.rows(left, crowd)
    assert rows[0]["count"] == 10_000


async def test_a_group_nobody_knows_is_dead_lettered(hub: Hub) -> None:
    before = await hub.records(f"{hub.topic}.dlq")
    asked = event("food_expired", unit_name="Trứng", storage_name="Kho")
    await hub.publish({**asked, "group_id": new_user()})
    assert reasons(await hub.dead_letters(before)) == ["unknown_group"]


async def test_a_key_too_large_for_any_dead_letter_is_cut_and_the_next_event_arrives(hub: Hub) -> None:
    before = await hub.records(f"{hub.topic}.dlq")
    async with hub.socket(USER) as socket:
        await hub.publish(b"{}", key=b"k" * 2_097_000)
        [dead_letter] = await hub.dead_letters(before)
        assert reasons([dead_letter]) == ["no_event_type"]
        assert dict(dead_letter.headers)["dlq.cut_from"] == b"value 2, key 2097000 bytes"
        await hub.publish(GOOD)
        assert (await receive(socket))["data"]["receiver"] == USER


async def test_a_record_without_key_and_value_is_dead_lettered_and_the_next_event_arrives(hub: Hub) -> None:
    before = await hub.records(f"{hub.topic}.dlq")
    producer = Producer({"bootstrap.servers": hub.environment["KAFKA_BOOTSTRAP_SERVERS"]})
    producer.produce(hub.topic)
    await asyncio.to_thread(producer.flush)
    [dead_letter] = await hub.dead_letters(before)
    assert reasons([dead_letter]) == ["not_json"]
    assert dict(dead_letter.headers)["dlq.null_value"] == b"true"
    async with hub.socket(USER) as socket:
        await hub.publish(GOOD)
        assert (await receive(socket))["data"]["receiver"] == USER


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_publishers_may_compress(hub: Hub, compression: str) -> None:
    async with hub.socket(USER) as socket:
        await hub.publish(GOOD, compression=compression)
        assert (await receive(socket))["data"]["receiver"] == USER
