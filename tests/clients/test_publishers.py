"""The publishers of the services that the hub replaces, with their messages as they are and as they vary.

Everything is published once; each test looks at what arrived: a frame, the list, a mail.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from app.settings.sources import KafkaSettings, RabbitMqSettings, RedisStreamsSettings
from tests.clients import contract
from tests.clients.mails import assert_whole, mail_to, mails_to, readable
from tests.clients.published import (
    CHEF,
    GROUP,
    LEFT,
    LITERAL,
    MARIA,
    literal,
    publish,
)
from tests.clients.varied import (
    AMOUNT,
    BOOKINGS,
    ENCODED,
    FILM,
    GROUP_EVENTS,
    INBOXES,
    MAILED,
    PAYMENT,
    PAYMENTS,
    Mailed,
    booking,
    rabbitmq_message,
)
from tests.support.hub import ISSUER, NO_TLS, REST, SECRET, WEBSOCKET, Hub, close_code, eventually, token
from tests.support.rabbitmq_server import MISSING, RabbitMQ
from tests.support.smtp_server import SmtpServer
from tests.support.user_service import FakeUserService

SECTIONS = (KafkaSettings, RabbitMqSettings, RedisStreamsSettings)


@dataclass
class Arrived:
    """What came in answer to all that was published."""

    hub: Hub
    mail_server: SmtpServer
    rabbitmq: RabbitMQ | None
    mark: str
    frames: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By user."""

    def address(self, name: str) -> str:
        return f"{uuid.uuid5(uuid.NAMESPACE_URL, self.mark + name).hex}@example.com"

    def user(self, name: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.mark + name))

    async def frame(self, user: str, event_type: str, raw_data: dict[str, Any]) -> dict[str, Any]:
        """The frame of this event to this user, which the list has as well."""

        async def came() -> dict[str, Any] | None:
            found = [each for each in self.frames[user] if each["event_type"] == event_type]
            return next(
                (each for each in found if raw_data.items() <= each["data"]["raw_data"].items()), None
            )

        frame = await eventually(came, f"{event_type} of {raw_data} to {user}", within=10)
        data: dict[str, Any] = frame["data"]
        assert data["receiver"] == user
        async with self.hub.client(user) as client:
            listed = (await client.get(f"/notifications/users/{user}")).json()
        assert [each for each in listed if each["id"] == data["id"]] == [data]
        return data

    async def read(self, user: str) -> None:
        """Keep the frames of this user."""
        frames = self.frames.setdefault(user, [])
        connected = asyncio.Event()

        async def keep() -> None:
            async with self.hub.socket(user) as socket:
                connected.set()
                async for message in socket:
                    frames.append(contract.frame(message))

        self.tasks.append(asyncio.create_task(keep()))
        await connected.wait()

    tasks: list[asyncio.Task[None]] = field(default_factory=list)


@pytest_asyncio.fixture(scope="module")
async def arrived(
    hub: Hub,
    rabbitmq: RabbitMQ | None,
    redis_events_url: str,
    mail_server: SmtpServer,
    user_service: FakeUserService,
) -> AsyncIterator[Arrived]:
    """Publish all, over the transports that the publishers use."""
    user_service.add_group(GROUP, "Family Group", [CHEF, LEFT], CHEF)
    found = Arrived(hub, mail_server, rabbitmq, uuid.uuid4().hex)
    await asyncio.gather(*map(found.read, (MARIA, CHEF, LEFT, *map(found.user, INBOXES))))
    messages = [literal(name) for name in LITERAL if name != "account_logged_out"]
    for name, mailed in MAILED.items():
        messages.append(rabbitmq_message({**mailed.body, "user_email": found.address(name)}))
    for name, (encode, properties) in ENCODED.items():
        body = booking("booking.confirmed", user_email=found.address(name), **FILM)
        messages.append(rabbitmq_message(encode(body), **properties))
    for name in INBOXES:
        body = booking("payment.success", user_id=INBOXES[name](found.user(name)), **PAYMENT)
        messages.append(rabbitmq_message({**body, "user_email": found.address(name)}))
    messages += [each for each, *_ in GROUP_EVENTS.values()]
    await publish(hub, rabbitmq, redis_events_url, messages)
    yield found
    for task in found.tasks:
        task.cancel()
    await asyncio.gather(*found.tasks, return_exceptions=True)


# The documented messages.

FRAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "group_user_added": ((MARIA,), ("Family Group", "john_doe")),
    "group_user_added.documented": ((MARIA,), ("Family Group", "john_doe")),
    "group_user_removed": ((MARIA,), ("Family Group", "john_doe")),
    "group_user_left": ((MARIA,), ("Family Group",)),
    "group_head_chef_updated": ((CHEF, LEFT), ("Family Group", "mai")),
    "food_expiring_soon": ((CHEF, LEFT), ("Sữa tươi", "Tủ lạnh", "24", "2026")),
    "food_expired": ((CHEF, LEFT), ("Trứng gà", "Storage #7")),
    "plan_assigned": ((CHEF,), ("18:30 22/11/2026",)),
    "plan_reported": ((CHEF,), ("mai",)),
    "plan_expired": ((CHEF,), ("18:30 22/11/2026",)),
    "daily_meal": ((CHEF,), ("Phở gà", "Cơm tấm", "Canh chua")),
    "low_stock": ((CHEF,), ("Espresso beans 1 kg", "3", "10")),
}
"""To whom each goes, and what its title and content say."""
MAILS: dict[str, tuple[tuple[str | re.Pattern[str], ...], str]] = {
    "booking.confirmed": (("BOOK-123", "Movie Name", "A1", "A2", AMOUNT), "đặt vé thành công"),
    "booking.cancelled": (("BOOK-123", "Movie Name", "A1", "A2", AMOUNT), "h[uủ][ỷy]"),
    "payment.success": (("BOOK-123", "TXN-456", AMOUNT), "đã nhận thanh toán"),
    "payment.failed": (
        ("BOOK-123", "TXN-456", AMOUNT, "https://example.com/pay/BOOK-123"),
        "thất bại|không thành công",
    ),
    "payment.refund": (("BOOK-123", "TXN-456", AMOUNT), "hoàn"),
    "otp_register": (("482913",), "đăng ký|tài khoản"),
    "otp_reset_password": (("482913",), "mật khẩu"),
    "otp_change_email": (("482913",), "email|thư"),
}
"""What each says, and a word of its subject."""


def test_each_documented_message_is_judged() -> None:
    assert set(LITERAL) == {*FRAMES, *MAILS, "account_logged_out"}


def test_the_documented_places_are_the_defaults() -> None:
    defaults = {type_.model_fields[name].default for type_ in SECTIONS for name in type_.model_fields}
    for place in (
        *("service_notifications", "user_service.user.register_account", "user_service.user.reset_password"),
        *("user_service.user.change_email", "user_service.user.logout_account", "notification_service_group"),
        *(BOOKINGS, PAYMENTS, "inventory:low-stock", "inventory:low-stock:stream"),
    ):
        assert place in defaults


@pytest.mark.parametrize("name", FRAMES)
async def test_a_documented_event_arrives_as_a_frame_and_in_the_list(arrived: Arrived, name: str) -> None:
    receivers, says = FRAMES[name]
    message = literal(name).body
    for user in receivers:
        data = await arrived.frame(
            user, message["event_type"], message.get("data", {"product_id": message.get("product_id")})
        )
        shown = f"{data['title']}\n{data['content']}"
        assert all(value in shown for value in says), shown
        assert not re.search(r"None|null|\{", shown), shown
        assert data["group_id"] == message.get("group_id")
        assert data["group_name"] == ("Family Group" if "group_id" in message else None)


async def test_the_documented_text_is_said_to_the_letter(arrived: Arrived) -> None:
    data = await arrived.frame(
        MARIA, "group_user_added", {"requester_id": "789e0123-e89b-12d3-a456-426614174002"}
    )
    assert data["title"] == "Chào mừng bạn gia nhập nhóm Family Group!"
    assert data["content"] == (
        "john_doe đã thêm bạn vào nhóm Family Group. Hãy bắt đầu lên thực đơn ngay nhé!"
    )


async def test_an_alert_over_channel_and_stream_is_one_notification(arrived: Arrived) -> None:
    message = literal("low_stock").body
    await arrived.frame(CHEF, "low_stock", {"product_id": message["product_id"]})
    await arrived.frame(CHEF, "low_stock", {"product_name": "Last one"})  # published later
    of_it = [
        f for f in arrived.frames[CHEF] if f["data"]["raw_data"].get("product_id") == message["product_id"]
    ]
    assert len(of_it) == 1


@pytest.mark.parametrize("name", MAILS)
async def test_a_documented_event_is_mailed(arrived: Arrived, name: str) -> None:
    if not name.startswith("otp") and arrived.rabbitmq is None:
        pytest.skip(MISSING)
    says, word = MAILS[name]

    async def came() -> Any:
        mails = mails_to(arrived.mail_server, "user@example.com")
        return next((mail for mail in mails if re.search(word, str(mail["Subject"]), re.IGNORECASE)), None)

    mail = await eventually(came, f"a mail whose subject says {word}", within=10)
    assert_says(mail, says)
    assert_whole(mail)


async def test_a_logout_ends_the_session_of_its_token(hub: Hub) -> None:
    """The token is the one that the message names."""
    message = literal("account_logged_out").body
    issued = min(int(time.time()), 1_795_244_400 - 3600)  # before the logout
    claims = {"sub": message["user_id"], "jti": message["access_token_id"], "iat": issued, "iss": ISSUER}
    bearer = jwt.encode({**claims, "exp": int(time.time()) + 3600}, SECRET, algorithm="HS256")
    url = f"{hub.ws}{WEBSOCKET}/notifications/users/{message['user_id']}?jwt={bearer}"
    async with connect(url) as socket:
        await hub.publish(message, topic=hub.logout_topic)
        assert await close_code(socket) == 4500


# What varies.


def assert_says(mail: Any, says: tuple[str | re.Pattern[str], ...]) -> None:
    shown = readable(mail)
    for value in says:
        assert re.search(value if isinstance(value, re.Pattern) else re.escape(value), shown), (
            f"{value} in {shown}"
        )


@pytest.mark.parametrize("name", [*MAILED, *ENCODED])
async def test_a_message_is_mailed_whatever_its_optional_fields_hold(arrived: Arrived, name: str) -> None:
    if arrived.rabbitmq is None:
        pytest.skip(MISSING)
    mailed = MAILED.get(name, Mailed({}, ("BOOK-123", "Movie Name", "A1", AMOUNT)))
    mail = await mail_to(arrived.mail_server, arrived.address(name))
    assert_says(mail, mailed.says)
    assert_whole(mail)
    assert not any(value in readable(mail) for value in mailed.never)


@pytest.mark.parametrize("name", INBOXES)
async def test_a_user_of_the_hub_has_a_booking_in_the_inbox_as_well(arrived: Arrived, name: str) -> None:
    if arrived.rabbitmq is None:
        pytest.skip(MISSING)
    data = await arrived.frame(arrived.user(name), "payment.success", {"booking_id": "BOOK-123"})
    assert "BOOK-123" in data["title"] + data["content"]
    assert_whole(await mail_to(arrived.mail_server, arrived.address(name)))


@pytest.mark.parametrize("name", [name for name, (_, user, *_) in GROUP_EVENTS.items() if user])
async def test_an_event_arrives_whatever_its_optional_fields_hold(arrived: Arrived, name: str) -> None:
    _, user, event_type, raw_data, says = GROUP_EVENTS[name]
    data = await arrived.frame(user, event_type, raw_data)
    shown = f"{data['title']}\n{data['content']}"
    assert all(value in shown for value in says), shown
    assert not re.search(r"None|null|\{", shown), shown


async def test_who_left_is_not_told_what_the_group_is_told(arrived: Arrived) -> None:
    to_group = await arrived.frame(CHEF, "group_user_left", {"n": 1})
    to_leaver = await arrived.frame(LEFT, "group_user_left", {"n": 2})
    assert to_group["title"] != to_leaver["title"] or to_group["content"] != to_leaver["content"]
    assert not [f for f in arrived.frames[LEFT] if f["data"]["raw_data"].get("n") == 1]


async def test_an_alert_for_nobody_is_recorded_with_its_reason(arrived: Arrived) -> None:
    await arrived.frame(CHEF, "low_stock", {"product_name": "Last one"})
    headers = {"Authorization": f"Bearer {token('audit', scope='deliveries:read')}"}
    async with httpx.AsyncClient(verify=NO_TLS, base_url=arrived.hub.http + REST, headers=headers) as client:
        listed = (await client.get("/deliveries?status=suppressed")).json()
    assert any("LOW_STOCK_RECEIVERS" in (each["reason"] or "") for each in listed), listed
    assert "event_reaches_nobody" in arrived.hub.log.read_text()


async def test_an_event_over_http_arrives_as_over_a_broker(
    hub: Hub, mail_server: SmtpServer, address: str
) -> None:
    bearer = token("booking-service", scope="notifications:send")
    body = {**literal("booking.confirmed").body, "user_email": address, "user_id": "user_123"}
    async with httpx.AsyncClient(verify=NO_TLS, base_url=hub.http + REST) as client:
        answer = await client.post("/notifications", json=body, headers={"Authorization": f"Bearer {bearer}"})
    assert answer.status_code == 202, answer.text
    mail = await mail_to(mail_server, address)
    assert_says(mail, MAILS["booking.confirmed"][0])
    assert_whole(mail)
