"""Bookings and stock: from Kafka to a mailbox, and live and over REST where the event names users."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.dev import samples
from app.dev.mail import MailCatcher
from tests.support.hub import NO_TLS, REST, Hub, new_user, receive, running_hub, token
from tests.support.mailbox import mailed, new_address, text_of, with_mail

LIVE = {
    "title": "Booking BOOK-123 is confirmed",
    "content": "Movie Name, 2024-12-15 7:30 PM. Seats: A1, A2. Total: 25.50. Enjoy the movie!",
}
IN_LOCALES = {
    "vi": (
        "Đặt vé thành công: BOOK-123",
        "Movie Name, 2024-12-15 7:30 PM. Ghế: A1, A2. Tổng cộng: 25,50. Chúc bạn xem phim vui vẻ!",
    ),
    "en": (LIVE["title"], LIVE["content"]),
    "ru": (
        "Бронирование BOOK-123 подтверждено",
        "Movie Name, 2024-12-15 7:30 PM. Места: A1, A2. Итого: 25,50. Приятного просмотра!",
    ),
}


@pytest_asyncio.fixture(scope="module")
async def hub(
    environment: dict[str, str], mailbox: MailCatcher, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    """A hub that mails."""
    own = with_mail(environment, mailbox)
    async with running_hub(own, tmp_path_factory.mktemp("flat") / "log") as running:
        yield running


def sample(event_type: str, **changes: Any) -> dict[str, Any]:
    return {**samples.load(event_type).message, **changes}


async def test_a_booking_of_a_user_is_one_row_one_frame_and_one_mail(hub: Hub, mailbox: MailCatcher) -> None:
    user, address = new_user(), new_address()
    message = sample("booking.confirmed", event_id=address, user_id=user, user_email=address, locale="ru")
    last = sample("booking.cancelled", user_id=user, user_email=new_address())
    async with hub.socket(user) as socket:
        await hub.publish(message, message, last, key=b"same partition")
        frames = [await receive(socket) for _ in range(2)]
    assert [frame["event_type"] for frame in frames] == ["booking.confirmed", "booking.cancelled"]
    data = frames[0]["data"]
    row, _ = await hub.stored(user, 2)
    assert (row["template_code"], data["template_code"]) == ("BOOKING.CONFIRMED", "BOOKING.CONFIRMED")
    assert (row["group_id"], data["group_id"], data["group_name"]) == (None, None, None)
    assert {name: data[name] for name in LIVE} == LIVE
    assert data["raw_data"]["seats"] == ["A1", "A2"]
    assert address not in str(data)
    (mail,) = await mailed(mailbox, address)
    assert mail["Subject"] == IN_LOCALES["ru"][0]
    assert "25,50" in text_of(mail)
    assert "List-Unsubscribe" not in mail
    assert len(await hub.rows("select 1 from deliveries where address = $1", address)) == 1


async def test_a_foreign_user_id_and_fields_that_cannot_be_used_cost_no_mail(
    hub: Hub, mailbox: MailCatcher
) -> None:
    address = new_address()
    wrong: dict[str, Any] = {"total_amount": "NaN", "seats": None, "showtime": {}, "event_id": ""}
    await hub.publish(sample("booking.confirmed", user_email=address, user_id="user_123", **wrong))
    (mail,) = await mailed(mailbox, address)
    assert "Movie Name" in text_of(mail)
    assert "NaN" not in text_of(mail)
    headers = {"Authorization": f"Bearer {token('support', scope='deliveries:read')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as service:
        answer = await service.get("/deliveries", params={"user_id": "user_123"})
    [found] = [each for each in answer.json() if each["address"] == address]
    assert (found["user_id"], found["foreign_user_id"], found["status"]) == (None, "user_123", "sent")


async def test_a_booking_of_nobody_the_hub_knows_is_a_mail_only(hub: Hub, mailbox: MailCatcher) -> None:
    address = new_address()
    (before,) = await hub.rows("select count(*) as rows from notifications")
    await hub.publish(sample("booking.confirmed", user_email=address))
    (mail,) = await mailed(mailbox, address)
    assert mail["Subject"] == LIVE["title"]
    assert await hub.rows("select count(*) as rows from notifications") == [before]


async def test_the_notification_is_read_in_each_language_over_rest(hub: Hub) -> None:
    user = new_user()
    await hub.publish(sample("booking.confirmed", user_id=user, user_email=new_address()))
    await hub.stored(user, 1)
    for locale, texts in IN_LOCALES.items():
        async with hub.client(user, **{"Accept-Language": locale}) as client:
            answer = await client.get(f"/notifications/users/{user}")
        assert answer.headers["Content-Language"] == locale
        (found,) = answer.json()
        assert (found["title"], found["content"]) == texts
        assert found["group_id"] is found["group_name"] is None


async def test_low_stock_is_delivered_to_its_receivers_live(hub: Hub) -> None:
    user = new_user()
    async with hub.socket(user) as socket:
        await hub.publish(sample("low_stock", receivers=[user, user]))
        frame = await receive(socket)
    assert frame["event_type"] == "low_stock"
    assert frame["data"]["title"] == "Espresso beans 1 kg is running low"
    assert len(await hub.stored(user, 1)) == 1
    assert not await hub.rows("select 1 from deliveries where template = 'low_stock'")


async def test_a_payment_with_a_hostile_retry_url_is_mailed_without_it(
    hub: Hub, mailbox: MailCatcher
) -> None:
    address = new_address()
    await hub.publish(sample("payment.failed", user_email=address, retry_url="javascript:alert(1)"))
    (mail,) = await mailed(mailbox, address)
    assert "javascript" not in mail.as_string()
