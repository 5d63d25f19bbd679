"""Web push: which URLs and keys are accepted, how messages are encrypted, what they say, who gets them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key

from app.domain.deliveries import DeliveryDraft
from app.domain.details import Action, Details
from app.domain.devices import Subscription, auth_secret, device_id, public_key
from app.domain.effects import Effects
from app.domain.errors import ConfigurationError
from app.domain.notifications import NotificationDraft
from app.domain.outbound import https_url, is_public, origin
from app.domain.planning import Planner, PlanRequest, PushPlan, shown_details
from app.domain.preferences import Evaluator, Verdict
from app.outbox.failures import Deferred
from app.outbox.webpush.encryption import MAX_PLAINTEXT_BYTES, encrypted, point
from app.outbox.webpush.message import MAX_TEXT_CHARS, TOPIC_CHARS, PushMessage, rendered, topic
from app.outbox.webpush.pauses import PROBE_SECONDS, ServicePauses
from app.outbox.webpush.vapid import Vapid, new_private_key
from app.runtime.backoff import Backoff
from app.store.preferences import Profile
from app.testing import MemoryPeople
from handlers.registry import usual_details
from tests.support.push_service import VAPID_PRIVATE_KEY, VAPID_SUBJECT, Browser, check_vapid

NOON = 1_790_000_000.0


def b64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.31.255.255", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False),
        ("::127.0.0.1", False),
    ],
)
def test_an_address_is_public_or_not(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "url",
    [
        "http://push.example.com/a",
        "ftp://push.example.com/a",
        "//push.example.com/a",
        "push.example.com/a",
        "https://",
        "https:///a",
        "https://localhost/a",
        "https://LOCALHOST./a",
        "https://a.localhost/a",
        "https://printer.local/a",
        "https://metadata.google.internal/a",
        "https://intranet/a",
        "https://127.0.0.1/a",
        "https://127.1/a",
        "https://0x7f.1/a",
        "https://2130706433/a",
        "https://0x7f000001/a",
        "https://[::1]/a",
        "https://[::ffff:127.0.0.1]/a",
        "https://169.254.169.254/latest",
        "https://user@push.example.com/a",
        "https://user:password@push.example.com/a",
        "https://push.example.com:0/a",
        "https://push.example.com:99999/a",
        "https://push.example.com/a#b",
        "https://push.example.com/a b",
        "https://push.example.com\\@127.0.0.1/a",
        "https://push.example.com/\r\nX: y",
        "https://пуш.example.com/a",
        "https://push.example.com/" + "a" * 2000,
        "",
    ],
)
def test_what_is_no_public_https_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be|must have") as refused:
        https_url(url)
    assert len(url) < 10 or url not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://fcm.googleapis.com/fcm/send/abc:def",
        "https://updates.push.services.mozilla.com:443/wpush/v2/gAAA",
        "https://web.push.apple.com/QGu?x=1",
        "https://8.8.8.8/a",
    ],
)
def test_a_push_service_s_url_is_accepted(url: str) -> None:
    assert https_url(url) == url


def test_a_private_url_is_accepted_where_that_is_allowed() -> None:
    assert https_url("https://localhost:8443/a", allow_private=True)
    with pytest.raises(ValueError, match="https"):
        https_url("http://localhost:8443/a", allow_private=True)


def test_the_origin_has_a_port_only_where_it_is_not_the_usual_one() -> None:
    assert origin("https://push.example.com:443/a") == "https://push.example.com"
    assert origin("https://Push.example.com:8443/a") == "https://push.example.com:8443"
    assert origin("https://[2606:4700::1]/a") == "https://[2606:4700::1]"


KEY = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"


def test_keys_are_read_in_base64url_and_in_base64() -> None:
    assert public_key(KEY) == public_key(KEY.replace("-", "+").replace("_", "/") + "=") == b64(KEY)
    assert auth_secret(AUTH) == auth_secret(AUTH + "==") == b64(AUTH)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "A",
        AUTH,
        KEY[:-4],
        KEY + "AAAA",
        "BCVy" + KEY[4:],  # not on the curve
        "A" + KEY[1:],
        "B" + "A" * 86,
        urlsafe_b64encode(b"\4" + b"\xff" * 64).decode(),
        "é" * 87,
        KEY[:40] + "\n" + KEY[40:],
    ],
)
def test_what_is_no_point_of_the_curve_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="P-256"):
        public_key(key)


@pytest.mark.parametrize("auth", ["", KEY, AUTH[:-3], "!" * 22])
def test_what_is_no_auth_secret_is_refused(auth: str) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        auth_secret(auth)


def test_a_device_has_the_same_id_whenever_it_registers() -> None:
    one, again = (Subscription("https://push.example.com/a", b"", auth) for auth in (b"1", b"2"))
    assert one.device_id == again.device_id == device_id(str(one.device_id))
    assert Subscription("https://push.example.com/b", b"", b"1").device_id != one.device_id


def test_the_example_of_rfc_8291_is_encrypted_as_there() -> None:
    own_key = derive_private_key(
        int.from_bytes(b64("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), SECP256R1()
    )
    body = encrypted(
        b"When I grow up, I want to be a watermelon",
        b64(KEY),
        b64(AUTH),
        salt=b64("DGv6ra1nlYgDCS1FRnbzlw"),
        own_key=own_key,
    )
    assert body == b64(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6Tlz"
        "AC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_a_browser_decrypts_a_message_of_the_maximum_size() -> None:
    browser = Browser("https://push.example.com")
    plaintext = b"x" * MAX_PLAINTEXT_BYTES
    body = encrypted(plaintext, browser.public_key, browser.auth)
    assert len(body) == 4096
    assert browser.decrypted(body) == plaintext
    assert encrypted(plaintext, browser.public_key, browser.auth) != body, "no salt and no key twice"


def test_the_signature_is_valid_for_its_push_service_and_reused() -> None:
    vapid = Vapid(VAPID_PRIVATE_KEY, VAPID_SUBJECT)
    header = vapid.authorization("https://push.example.com/a")
    check_vapid(header, "https://push.example.com")
    assert vapid.authorization("https://push.example.com/b") == header
    assert vapid.authorization("https://other.example.com/b") != header
    own_key = derive_private_key(int.from_bytes(b64(VAPID_PRIVATE_KEY), "big"), SECP256R1())
    assert b64(vapid.public_key) == point(own_key)


def test_a_new_key_can_be_used_and_what_is_none_is_refused() -> None:
    Vapid(new_private_key(), VAPID_SUBJECT)
    for text in ("", "no key", "A" * 43, VAPID_PRIVATE_KEY[:-3], "-----BEGIN EC PRIVATE KEY-----"):
        with pytest.raises(ConfigurationError, match="VAPID_PRIVATE_KEY") as refused:
            Vapid(text, VAPID_SUBJECT)
        assert not text or text not in str(refused.value)


def test_a_message_shows_title_and_text() -> None:
    message = rendered("plain", "en", {"title": "Your kitchen", "message": "Two\nlines"}, 7)
    assert json.loads(message.encoded()) == {"title": "Your kitchen", "text": "Two\nlines", "notification": 7}


def test_a_message_without_a_title_has_its_first_line_as_one() -> None:
    message = rendered("plain", "en", {"title": "", "message": "First\nSecond"})
    assert json.loads(message.encoded()) == {"title": "First", "text": "Second"}


def test_a_template_of_mail_can_be_pushed() -> None:
    message = rendered("low_stock", "en", {"product_name": "Beans", "current_stock": 3, "threshold": 10})
    assert "Beans" in message.title


DETAILS = Details(
    category="payments",
    severity="critical",
    url="/orders/7",
    actions=(Action("retry", "Pay again", "https://shop.example.com/pay"), Action("later", "Later")),
    icon="https://cdn.example.com/i.png",
    image="/p.png",
    thread_key="order-7",
)


def test_a_message_carries_what_the_notification_does() -> None:
    data = {"title": "T", "message": "M", "details": shown_details(DETAILS)}
    assert json.loads(rendered("plain", "en", data).encoded()) == {
        "title": "T",
        "text": "M",
        "url": "/orders/7",
        "actions": [
            {"id": "retry", "label": "Pay again", "url": "https://shop.example.com/pay"},
            {"id": "later", "label": "Later"},
        ],
        "icon": "https://cdn.example.com/i.png",
        "image": "/p.png",
        "thread": "order-7",
        "severity": "critical",
    }


@pytest.mark.parametrize("details", [None, "", "words", ["url"], {"url": 7}, {"severity": "grave"}, 0])
def test_data_of_a_publisher_that_are_no_details_are_left_out(details: object) -> None:
    message = rendered("plain", "en", {"title": "T", "message": "M", "details": details})
    assert json.loads(message.encoded()) == {"title": "T", "text": "M"}


def test_an_icon_that_the_bell_draws_is_no_picture() -> None:
    message = rendered("plain", "en", {"title": "T", "message": "M", "details": {"icon": "bell"}})
    assert message.icon is None


def test_what_is_too_long_loses_its_pictures_before_its_buttons_its_text_and_its_url() -> None:
    url = "https://example.com/" + "u" * 1980
    details = {"url": url, "actions": [{"id": "a", "label": "A", "url": url}], "icon": url, "image": url}
    message = rendered("plain", "en", {"title": "T", "message": "M", "details": details})
    assert json.loads(message.encoded()).keys() == {"title", "text", "url"}
    small = rendered("plain", "en", {"title": "T", "message": "M", "details": details | {"url": "/a"}})
    assert json.loads(small.encoded()).keys() == {"title", "text", "url", "actions"}


def test_a_topic_is_of_the_thread_and_the_device_and_tells_nothing() -> None:
    one = topic("order-7", b"1" * 16)
    assert one == topic("order-7", b"1" * 16)
    assert len({one, topic("order-8", b"1" * 16), topic("order-7", b"2" * 16)}) == 3
    assert len(topic("ế" * 200, b"1" * 16)) == TOPIC_CHARS
    assert "order" not in one
    assert one.replace("-", "").replace("_", "").isalnum()


class Pauses:
    """Pauses of services, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses = ServicePauses(lambda: self.now, Backoff(first=10.0, cap=300.0, jitter=0.0))

    def wait(self, service: str = "a") -> float | None:
        """How long a message to the service is deferred; None if it may be sent."""
        try:
            self.pauses.check(service)
        except Deferred as deferred:
            return deferred.retry_after
        return None


def test_a_service_that_refuses_us_gets_a_pause_and_then_one_call() -> None:
    at = Pauses()
    at.pauses.failed("a", refused=True, wanted=120.0)
    assert (at.wait(), at.wait("b")) == (120.0, None)
    at.now = 120.0
    assert (at.wait(), at.wait()) == (None, PROBE_SECONDS)
    at.pauses.failed("a")
    assert at.wait() == PROBE_SECONDS, "the second pause, of 20 s, ends before that"
    at.now = 150.0
    assert at.wait() is None
    at.pauses.answered("a")
    assert (at.wait(), at.wait()) == (None, None)


def test_a_service_that_fails_now_and_then_gets_no_pause() -> None:
    at = Pauses()
    for _ in range(2):
        at.pauses.failed("a")
        at.pauses.failed("a")
        assert at.wait() is None
        at.pauses.answered("a")
    for _ in range(3):
        at.pauses.failed("a")
    assert at.wait() == 10.0


@pytest.mark.parametrize("letter", ["x", "ế", "👨‍👩‍👧‍👦", '"'])
def test_a_long_message_fits_and_is_shortened_until_nothing_is_left(letter: str) -> None:
    message: PushMessage | None = rendered("plain", "en", {"title": letter * 300, "message": letter * 5000})
    assert message is not None
    assert len(message.text) <= MAX_TEXT_CHARS
    sizes = []
    while message is not None:
        encoded = message.encoded()
        assert len(encoded) <= MAX_PLAINTEXT_BYTES
        sizes.append(len(encoded))
        message = message.shorter()
    assert sizes == sorted(sizes, reverse=True)
    assert 3 <= len(sizes) < 12


ANNA, BORIS, CARLA = UUID(int=1), UUID(int=2), UUID(int=3)
PHONE, LAPTOP, TABLET = UUID(int=11), UUID(int=12), UUID(int=13)


class MemoryDevices:
    def __init__(self, devices: Mapping[UUID, Sequence[UUID]]) -> None:
        self.devices = devices
        self.asked: list[Collection[UUID]] = []

    async def of_users(self, users: Collection[UUID]) -> Mapping[UUID, Sequence[UUID]]:
        self.asked.append(users)
        return {user: self.devices[user] for user in users if user in self.devices}


class Scene:
    """A planner with people and devices."""

    def __init__(self, **devices: Sequence[UUID]) -> None:
        ids = {"anna": ANNA, "boris": BORIS, "carla": CARLA}
        self.devices = MemoryDevices({ids[name]: theirs for name, theirs in devices.items()})
        self.people = MemoryPeople()

    async def deliveries(
        self, effects: Effects, *, urgent: bool = False, off: Collection[str] = ()
    ) -> tuple[list[tuple[DeliveryDraft, Verdict, str]], list[str]]:
        """What is to be delivered, and why other offers were declined."""
        push = PushPlan(self.devices, 3600.0, usual_details)
        planner = Planner(self.people, Evaluator(off), "en", lambda: NOON, push)
        (plan,) = await planner.plan([PlanRequest(effects, "food", urgent, lambda _: effects)])
        return (
            [(draft, decision.verdict, decision.reason) for draft, decision, *_ in plan.deliveries],
            [decision.reason for _, decision, *_ in plan.declined],
        )


def inapp(*receivers: UUID) -> Effects:
    return Effects(NotificationDraft(None, None, receivers, "FOOD_EXPIRED", "{}", "Title", "Text " * 500))


async def test_a_notification_is_pushed_to_each_device_of_those_who_have_any() -> None:
    scene = Scene(anna=[PHONE, LAPTOP], carla=[TABLET])
    deliveries, declined = await scene.deliveries(inapp(ANNA, BORIS, CARLA))
    assert [(draft.channel, draft.user_id, draft.address) for draft, _, _ in deliveries] == [
        ("webpush", ANNA, str(PHONE)),
        ("webpush", ANNA, str(LAPTOP)),
        ("webpush", CARLA, str(TABLET)),
    ]
    draft, verdict, _ = deliveries[0]
    assert (verdict, draft.valid_for, draft.locale) == (Verdict.SEND, 3600.0, "en")
    assert draft.data["title"] == "Title"
    assert len(draft.data["message"]) == 1000
    assert "urgent" not in draft.data
    assert declined == []


async def test_a_push_carries_what_its_event_type_says_and_what_its_publisher_does() -> None:
    scene = Scene(anna=[PHONE])
    ((draft, *_),), _ = await scene.deliveries(inapp(ANNA))
    assert draft.data["details"] == {"severity": "warning", "icon": "food"}
    assert draft.expires_at is None
    until = datetime.fromtimestamp(NOON, UTC) + timedelta(seconds=90)
    given = Details(severity="critical", thread_key="pantry-7", expires_at=until)
    plain = inapp(ANNA).notification
    assert plain is not None
    effects = Effects(msgspec.structs.replace(plain, details=given))
    ((draft, *_),), _ = await scene.deliveries(effects)
    assert draft.data["details"] == {"severity": "critical", "icon": "food", "thread_key": "pantry-7"}
    assert draft.seconds_valid(until - timedelta(seconds=90)) == 90.0
    assert draft.seconds_valid(until - timedelta(days=1)) == 3600.0
    assert draft.seconds_valid(until + timedelta(seconds=1)) == 0.0


async def test_preferences_and_quiet_hours_hold_for_web_push() -> None:
    scene = Scene(anna=[PHONE], boris=[LAPTOP], carla=[TABLET])
    await scene.people.set_choice(ANNA, "food.webpush", False)
    await scene.people.set_profile(
        BORIS, Profile(time_zone="UTC", quiet_from=time(0, 0), quiet_until=time(23, 59))
    )
    deliveries, declined = await scene.deliveries(inapp(ANNA, BORIS, CARLA))
    assert {(draft.user_id, verdict) for draft, verdict, _ in deliveries} == {
        (BORIS, Verdict.WAIT),
        (CARLA, Verdict.SEND),
    }
    assert [reason for reason in declined if "food by webpush" in reason] == declined
    assert len(declined) == 1
    urgent, _ = await scene.deliveries(inapp(BORIS), urgent=True)
    assert [(draft.data["urgent"], verdict) for draft, verdict, _ in urgent] == [(True, Verdict.SEND)]
    assert await scene.deliveries(inapp(CARLA), off=["food.webpush"]) == (
        [],
        ["food by webpush is off by default"],
    )


async def test_who_gets_no_notification_gets_no_push_of_it() -> None:
    scene = Scene(anna=[PHONE])
    await scene.people.set_choice(ANNA, "food.inapp", False)
    assert await scene.deliveries(inapp(ANNA)) == ([], [])


async def test_a_message_by_web_push_goes_to_each_device_or_to_the_one_it_names() -> None:
    scene = Scene(anna=[PHONE, LAPTOP])

    def message(user: UUID | None, address: UUID | None = None) -> Effects:
        to = None if address is None else str(address)
        return Effects(deliveries=[DeliveryDraft("webpush", "plain", to, "en", user_id=user)])

    deliveries, _ = await scene.deliveries(message(ANNA))
    assert [draft.address for draft, _, _ in deliveries] == [str(PHONE), str(LAPTOP)]
    deliveries, _ = await scene.deliveries(message(None, TABLET))
    assert [(draft.address, verdict) for draft, verdict, _ in deliveries] == [(str(TABLET), Verdict.SEND)]
    deliveries, _ = await scene.deliveries(message(BORIS))
    assert [(draft.address, verdict, reason) for draft, verdict, reason in deliveries] == [
        (None, Verdict.SUPPRESS, "the user has no device for web push")
    ]


async def test_a_hub_without_web_push_asks_for_no_devices_and_says_why_a_message_is_not_sent() -> None:
    planner = Planner(MemoryPeople(), Evaluator(()), "en", lambda: NOON)
    draft = DeliveryDraft("webpush", "plain", str(uuid4()), "en", user_id=ANNA)
    (plan,) = await planner.plan(
        [PlanRequest(Effects(deliveries=[draft]), "messages", False, lambda _: Effects())]
    )
    ((_, decision, *_),) = plan.deliveries
    assert (decision.verdict, decision.reason) == (Verdict.SUPPRESS, "this hub sends no web push")
