"""Return paths and Reply-To: signed, case-insensitive, one valid address each."""

from __future__ import annotations

from email import message_from_bytes, policy
from uuid import UUID

import msgspec
import pytest
from pydantic import SecretStr

from app.api.sending import NotifyEmail
from app.auth.delivery_tokens import OPENED, RETURN_PATH, DeliveryTokens
from app.auth.secrets import SecretBox
from app.domain.addresses import mailbox
from app.domain.errors import ConfigurationError
from app.outbox.email.message import build, sender, to_bytes
from app.outbox.email.return_path import ReturnPath
from app.texts.rendering import Mail
from handlers.messages import MessageRequest

DELIVERY, OTHER = UUID(int=0x1234_5678_9ABC << 64), UUID(int=7)
URL = SecretStr("postgresql://postgres/hub")
BOX, ELSE = (SecretBox((), SecretStr(secret * 40), URL) for secret in "ab")
PATHS = ("bounces+*@hub.example", "*@bounces.hub.example", "b-*-r@hub.example")


@pytest.mark.parametrize("setting", PATHS)
def test_an_address_names_its_delivery_in_any_case(setting: str) -> None:
    path = ReturnPath(setting, BOX)
    address = path.of(DELIVERY)
    assert str(mailbox(address)) == address
    assert address.islower()
    for text in (address, address.upper(), f"Mail <{address}>", f"for <{address}>; Mon, 30 Nov"):
        assert path.deliveries([text]) == [DELIVERY]
    assert path.deliveries([address, f"<{address}>", path.of(OTHER)]) == [DELIVERY, OTHER]


@pytest.mark.parametrize("setting", PATHS)
def test_a_forged_address_names_none(setting: str) -> None:
    path = ReturnPath(setting, BOX)
    address = path.of(DELIVERY)
    token = DeliveryTokens(BOX, RETURN_PATH).make(DELIVERY)
    assert token in address
    changed = [token[:n] + ("b" if token[n] == "a" else "a") + token[n + 1 :] for n in range(41)]
    of_others = [DeliveryTokens(ELSE, RETURN_PATH).make(DELIVERY), DeliveryTokens(BOX, OPENED).make(DELIVERY)]
    forged = [address.replace(token, each) for each in (*changed, *of_others, token[:-1], token + "a", "")]
    assert path.deliveries([*forged, address.replace("hub.example", "hub.example.evil.example")]) == []
    assert path.deliveries([f"x{address}", f"{address}.evil.example"]) == []


def test_without_a_wildcard_or_keys_nothing_is_signed() -> None:
    for path in (ReturnPath("bounces@hub.example", BOX), ReturnPath("bounces*@hub.example", None)):
        assert path.of(DELIVERY) == "bounces@hub.example"
        assert not path.signs
        assert path.deliveries(["bounces@hub.example"]) == []


@pytest.mark.parametrize(
    "setting",
    ["hub.example", "*+*@hub.example", "a@*.example", "é*@hub.example", f"{'b' * 30}+*@hub.example", "*@a b"],
)
def test_a_setting_that_is_no_address_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="MAIL_RETURN_PATH"):
        ReturnPath(setting, BOX)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("help@hub.example", ""),
        ("Hỗ trợ khách hàng, đội Hà Nội và các chi nhánh miền Bắc <help@hub.example>", "Hỗ trợ khách"),
        (f'"Help, {"and more help " * 6}" <help@hub.example>', "Help, and"),
    ],
)
def test_reply_to_is_one_address_whatever_its_name(given: str, name: str) -> None:
    message = build(
        Mail("s", "t", "<p>t</p>"),
        sender("Hub <no-reply@hub.example>"),
        mailbox("an@example.com"),
        message_id="1@hub.example",
        reply_to=sender(given),
    )
    (found,) = message_from_bytes(to_bytes(message), policy=policy.default)["Reply-To"].addresses
    assert found.addr_spec == "help@hub.example"
    assert found.display_name.startswith(name)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"type": "sms", "to": "+84912345678", "reply_to": "help@hub.example"}, "mail only"),
        ({"type": "email", "to": "an@example.com", "reply_to": "nobody"}, "`reply_to`: the address"),
        (
            {"type": "email", "to": "an@example.com", "reply_to": "a@b.example\r\nBcc: c@d.example"},
            "`reply_to`",
        ),
        ({"type": "email", "to": "an@example.com", "reply_to": "é@hub.example"}, "non-ASCII"),
    ],
)
def test_a_reply_to_that_no_mail_can_have_is_refused(body: dict[str, str], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.convert({"message": "M", **body}, MessageRequest)


def test_a_mail_of_post_notify_email_may_have_one() -> None:
    given = {"email": "an@example.com", "subject": "S", "text": "T", "reply_to": "help@hub.example"}
    event = msgspec.json.decode(msgspec.convert(given, NotifyEmail).event())
    assert event["reply_to"] == "help@hub.example"
    with pytest.raises(msgspec.ValidationError, match="reply_to"):
        msgspec.convert({**given, "reply_to": "nobody"}, NotifyEmail)
