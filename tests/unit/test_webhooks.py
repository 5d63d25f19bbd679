"""The signature of outbound webhooks."""

from __future__ import annotations

from base64 import b64encode
from uuid import UUID

import pytest

from app.domain.webhooks import message_id, new_secret, record_place, secret_key, signature


def test_the_example_of_standard_webhooks_is_signed_as_there() -> None:
    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_is_rotated_both_sign() -> None:
    old, new = secret_key(new_secret()), secret_key(new_secret())
    both = signature([new, old], "msg_1", 1, b"{}")
    assert both.split() == [signature([new], "msg_1", 1, b"{}"), signature([old], "msg_1", 1, b"{}")]


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_AAAA", "whsec_" + "!" * 44, "whsec_" + b64encode(b"x" * 65).decode(), "é"]
)
def test_what_is_no_secret_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes") as refused:
        secret_key(secret)
    assert len(secret) < 7 or secret not in str(refused.value)


def test_secrets_differ_and_ids_are_stable() -> None:
    assert len({new_secret() for _ in range(10)}) == 10
    assert message_id(UUID(int=7)) == message_id(UUID(int=7)) == f"msg_{7:032x}"


def test_a_url_may_name_a_broker_and_a_topic() -> None:
    assert record_place("kafka:hub-events.v1") == ("kafka", "hub-events.v1")
    for url in (
        *("https://kafka:9092/", "kafka:", "kafka:a/b", "kafka://broker/topic", "kafka:..", "kafka:é"),
        *("kafka:" + "x" * 250, "Kafka:x", "kafka:x\n"),
    ):
        assert record_place(url) is None
