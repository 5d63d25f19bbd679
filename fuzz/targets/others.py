"""What the user service answers, what people prefer, what operators set."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import strategies as st

from app.domain.channels import CHANNELS, INAPP
from app.domain.errors import ConfigurationError, Unavailable
from app.domain.preferences import (
    ALWAYS_ON,
    CATEGORIES,
    CHOICES,
    Evaluator,
    Person,
    Verdict,
    choice_id,
)
from app.domain.quiet_hours import QuietHours
from app.ingest.user_service import read_group
from app.settings import Settings
from app.settings import load as load_settings
from fuzz.hostile import TEXTS, as_json, changed, json_words, spoiled
from fuzz.storable import check_text
from fuzz.target import CANARY, Target

MAX_GROUP_NAME = 500
_ZONES = sorted(available_timezones() - {"Factory", "localtime"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = sorted({variable.name.lower() for variable in Settings.variables()})
_REQUIRED = {
    "database_url": "postgresql://hub:pw@db/hub",
    "redis_url": "redis://redis",
    "user_service_url": "http://users",
    "kafka_bootstrap_servers": "kafka:9092",
    "jwt_algorithm": "HS256",
    "jwt_secret": "a secret for fuzzing, long enough to be accepted",
}
_SECRET = ("database_url", "redis_url", "redis_events_url", "rabbitmq_url", "jwt_secret", "delivery_keys")
SECRETS = (*_SECRET, "smtp_password", "twilio_auth_token")


def check_group(data: bytes) -> None:
    """A group whose name can be stored and whose members are there once, or `Unavailable`."""
    try:
        group = read_group(data)
    except Unavailable as error:
        check_text(str(error), 200)
        return
    assert group.name
    check_text(group.name, MAX_GROUP_NAME)
    assert len(set(group.members)) == len(group.members)
    assert set(group.head_chefs) <= set(group.members)


def check_preferences(data: bytes) -> None:
    """Bytes 0 to 15: quiet hours, moment, category, channel and choices."""
    if len(data) < 16:
        return
    begins, ends = (
        time(data[at] % 24, data[at + 1] % 60, data[at + 1] >> 7 and data[at] % 60) for at in (0, 2)
    )
    zone = ZoneInfo(_ZONES[int.from_bytes(data[4:6], "big") % len(_ZONES)])
    now = _EPOCH + timedelta(seconds=int.from_bytes(data[6:11], "big") % (130 * 366 * 86400))
    category, channel = CATEGORIES[data[11] % len(CATEGORIES)], CHANNELS[data[12] % len(CHANNELS)]
    choices = {
        choice: bool(data[14] >> (n % 8) & 1) for n, choice in enumerate(CHOICES) if data[13] >> (n % 8) & 1
    }
    quiet = QuietHours(begins, ends, zone)
    person = Person(quiet_hours=quiet if data[15] & 1 else None, choices=choices)
    decision = Evaluator(CHOICES[: data[15] >> 2]).decide(
        person, category, channel, now, urgent=bool(data[15] & 2)
    )
    assert decision.reason
    assert (decision.until is not None) == (decision.verdict is Verdict.WAIT)
    if category == ALWAYS_ON:
        assert decision.verdict is Verdict.SEND
    elif choices.get(choice_id(category, channel)) is False:
        assert decision.verdict is Verdict.SUPPRESS
    if channel == INAPP or data[15] & 2:
        assert decision.verdict is not Verdict.WAIT
    _check_quiet(quiet, now)


def _check_quiet(quiet: QuietHours, now: datetime) -> None:
    until = quiet.until(now)
    if until is None:
        assert not quiet._quiet(now)
        return
    assert until.tzinfo is UTC
    assert now < until <= now + timedelta(days=3), f"from {now} until {until}"
    assert not quiet._quiet(until), f"at {until} it is quiet still"
    for part in range(1, 8):
        between = now + (until - now) * part / 8
        assert quiet._quiet(between), f"at {between} it isn't quiet any more"


def check_settings(data: bytes) -> None:
    """Byte 0 names the setting, byte 1 another; the rest, cut at the first NUL, is what they hold."""
    if len(data) < 2:
        return
    texts = [part.decode("utf-8", "surrogateescape") for part in data[2:].split(b"\0", 1)]
    given = {_NAMES[byte % len(_NAMES)]: text for byte, text in zip(data, texts, strict=False)}
    secrets = [given[name] for name in SECRETS if name in given]
    try:
        loaded = load_settings(_env_file="", **{**_REQUIRED, **given})
    except ConfigurationError as error:
        for line in str(error).splitlines():
            assert line.isprintable(), "a sentence that could forge a line of the log"
        if all(CANARY not in text for text in given.values() if text not in secrets):
            assert CANARY not in str(error), "the error shows a secret"
        str(error).encode("utf-8", "backslashreplace")
        return
    if any(CANARY in text for text in secrets):
        open_texts = [text for name, text in given.items() if name not in SECRETS]
        assert CANARY not in repr(loaded) or any(CANARY in text for text in open_texts), "repr shows a secret"
    assert loaded.auth.static_keys or loaded.auth.jwks_url, "no token can be verified"


_MEMBERS: list[dict[str, Any]] = [
    {"data": {"group_name": "Nhà", "members": [{"user_id": "0" * 31 + "1", "role": "head_chef"}]}},
    {"data": {"group_name": "Nhà", "group_memberships": [{"user": {"id": "0" * 31 + "2"}}, {"userId": 1}]}},
]
_URLS = st.lists(
    st.sampled_from(
        ("postgresql", "redis", "amqp", "http", "https", "://", "hub", ":", CANARY, "@", "db", "/")
    )
    | st.sampled_from(
        ("℀", "[", "]", "::1", "%", "#", "?", "*", ",", ".", "0", "65536", "\n", "é", "\udcff")
    ),
    max_size=12,
).map(lambda parts: "".join(parts).encode("utf-8", "surrogateescape"))
TARGETS = (
    Target(
        "user service",
        "a group that can be stored, each member once, or `Unavailable`",
        check_group,
        spoiled(changed(_MEMBERS, ("members", "group_memberships", "group_name", "data")).map(as_json)),
        [*json_words(_MEMBERS), b'"user":{"id":', b'"role":"head_chef"', b"0" * 31 + b"1"],
        longest=1 << 20,
        weight=5,
    ),
    Target(
        "preferences",
        "what is chosen holds; quiet hours of any zone end within three days, at the first moment that isn't "
        "quiet",
        check_preferences,
        st.binary(min_size=16, max_size=16),
        largest=16,
        longest=16,
        weight=0.3,
    ),
    Target(
        "settings",
        "settings of any text, or `ConfigurationError`, which shows no secret and forges no line",
        check_settings,
        st.tuples(
            st.binary(min_size=2, max_size=2), _URLS | TEXTS.map(lambda t: t.encode("utf-8", "surrogatepass"))
        ).map(b"".join)
        | st.tuples(st.sampled_from([bytes([_NAMES.index(name), 255]) for name in SECRETS]), _URLS).map(
            b"".join
        ),
        [
            b"postgresql://",
            b"redis://",
            b"amqp://",
            b"https://",
            b"@",
            b":",
            CANARY.encode(),
            b"[",
            b"]",
            "℀".encode(),
            b"#0b6e99",
            b"\\n",
            b"-----BEGIN PUBLIC KEY-----",
        ],
        weight=0.05,
    ),
)
