"""Sections of what the hub does with events: ingest, outbox, retention."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from cryptography.fernet import Fernet
from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from app.domain.channels import CHANNELS, DELIVERY_CHANNELS, EMAIL, SMS
from app.domain.preferences import CATEGORIES, CHOICES
from app.domain.user_ids import UserIds
from app.settings.section import (
    Bytes,
    CommaSeparated,
    Days,
    PeoplePerSecond,
    Seconds,
    Section,
    WithBatchSize,
    WithPublicUrl,
    lower,
    split,
)
from app.texts.i18n import LOCALES
from handlers.inventory import StockReceivers


def _channel_of(receiver: str) -> str | None:
    """The channel of an address; None for a user id."""
    return EMAIL if "@" in receiver else SMS if receiver.startswith("+") else None


class IngestSettings(WithBatchSize):
    """How events become notifications."""

    title: ClassVar = "Notifications"

    default_locale: str = Field(
        default=LOCALES[0],
        validation_alias="DEFAULT_LOCALE",
        description=f"Language that notifications are stored in: one of {', '.join(LOCALES)}.",
    )
    preferences_off: CommaSeparated = Field(
        default=("inventory.email", "inventory.sms"),
        validation_alias="PREFERENCES_OFF",
        description="What is off unless a user switches it on, as category.channel, such as food.email, "
        "separated by commas. Everything else is on. The category security is always on.",
    )

    confirm_addresses: bool = Field(
        default=False,
        validation_alias="CONFIRM_ADDRESSES",
        description="Whether the profile takes only addresses that the user has confirmed by a code "
        "(`POST /addresses`). If not, users can also set addresses directly, and your page confirms them.",
    )
    image_hosts: CommaSeparated = Field(
        default=(),
        validation_alias="IMAGE_HOSTS",
        description="Hosts that the images of notifications may come from, separated by commas: "
        "cdn.example.com, or *.example.com for all below it. If unset, `icon` takes no image, and `image` "
        "and `actor.avatar` take any https URL.",
    )
    low_stock_receivers: CommaSeparated = Field(
        default=(),
        validation_alias="LOW_STOCK_RECEIVERS",
        description="Who is notified of low stock where the event names no receivers: user ids, mail "
        "addresses and phone numbers (E.164), separated by commas. If unset, such events are only recorded.",
    )
    foreign_user_ids: Annotated[Literal["reject", "map"], BeforeValidator(lower)] = Field(
        default="reject",
        validation_alias="FOREIGN_USER_IDS",
        description="What is done with user ids that aren't UUIDs where an inbox is needed: `reject`, or "
        "`map`, which derives a UUID (v5) from each.",
    )
    foreign_user_id_namespace: UUID | None = Field(
        default=None,
        validation_alias="FOREIGN_USER_ID_NAMESPACE",
        description="UUID from which those of foreign user ids are derived, the same on all nodes. Required "
        "if FOREIGN_USER_IDS is `map`. Never change it: users would get other, empty inboxes.",
    )

    @property
    def user_ids(self) -> UserIds:
        """What reads the ids of users."""
        return UserIds(self.foreign_user_id_namespace if self.foreign_user_ids == "map" else None)

    @property
    def stock_receivers(self) -> StockReceivers:
        """Whom LOW_STOCK_RECEIVERS names."""
        addresses = [(_channel_of(each), each) for each in self.low_stock_receivers]
        return StockReceivers(
            [user for channel, each in addresses if channel is None and (user := self.user_ids.read(each))],
            [(channel, each) for channel, each in addresses if channel is not None],
        )

    @model_validator(mode="after")
    def _check_user_ids(self) -> Self:
        if self.foreign_user_ids == "map" and self.foreign_user_id_namespace is None:
            raise ValueError(
                "FOREIGN_USER_IDS=map needs FOREIGN_USER_ID_NAMESPACE. Set it to a UUID that is used for "
                "nothing else, such as the output of uuidgen, and keep it"
            )
        for each in self.low_stock_receivers:
            channel = _channel_of(each)
            try:
                if channel is not None:
                    DELIVERY_CHANNELS[channel](each)
                elif self.user_ids.read(each) is None:
                    raise ValueError("it is no user id (a UUID), mail address or phone number")
            except ValueError as error:
                raise ValueError(f"LOW_STOCK_RECEIVERS: {each!r}: {error}") from None
        return self

    @field_validator("default_locale")
    @classmethod
    def _check_locale(cls, locale: str) -> str:
        if locale not in LOCALES:
            raise ValueError(f"{locale!r} is not supported; use one of {', '.join(LOCALES)}")
        return locale

    @field_validator("preferences_off")
    @classmethod
    def _check_choices(cls, choices: tuple[str, ...]) -> tuple[str, ...]:
        for choice in choices:
            if choice not in CHOICES:
                raise ValueError(
                    f"{choice!r} is not a preference; use category.channel, with one of "
                    f"{', '.join(CATEGORIES)}, "
                    f"and one of {', '.join(CHANNELS)}"
                )
        return choices


class OutboxSettings(WithPublicUrl):
    """Deliveries by the channels, one-time codes, attachments."""

    title: ClassVar = "Deliveries and one-time codes"

    in_process: bool = Field(
        default=True,
        validation_alias="OUTBOX_IN_PROCESS",
        description=(
            "Whether each node sends mail and SMS itself. If not, run `run.py outbox` as a separate "
            "process: mail then does not delay live notifications."
        ),
    )
    otp_ttl: Seconds = Field(
        default=600.0,
        gt=0,
        validation_alias="OTP_TTL",
        description="Time after its event during which a one-time code may be sent.",
    )
    otp_cooldown: Seconds = Field(
        default=30.0,
        ge=0,
        validation_alias="OTP_COOLDOWN",
        description="Minimum time between two one-time codes to the same address.",
    )
    otp_hourly_cap: int = Field(
        default=10,
        ge=1,
        validation_alias="OTP_HOURLY_CAP",
        description="Maximum number of one-time codes to one address in an hour. Further codes are "
        "suppressed.",
    )
    delivery_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(split)] = Field(
        default=(),
        validation_alias="DELIVERY_KEYS",
        description="Fernet keys, separated by commas, that encrypt one-time codes until they are sent: "
        "the first key encrypts, all keys decrypt. If unset, the key is derived from "
        "JWT_SECRET, or from DATABASE_URL with its password. To rotate keys, append the new "
        "key on all nodes, then move it to the front, and remove the old key after OTP_TTL.",
    )
    lease: Seconds = Field(
        default=120.0,
        gt=0,
        validation_alias="DELIVERY_LEASE",
        description="Time after which a delivery that a crashed node had claimed is retried. Set it to "
        "more than one attempt can take.",
    )
    retry_deadline: Seconds = Field(
        default=24 * 3600.0,
        gt=0,
        validation_alias="DELIVERY_GIVE_UP",
        description="Retry deadline: a delivery that still fails after this time is not retried again.",
    )
    attachments_dir: str | None = Field(
        default=None,
        validation_alias="ATTACHMENTS_DIR",
        description="Directory whose files events may attach to mail by their path. If unset, none can be.",
    )
    attachments_max_bytes: Bytes = Field(
        default=5 * 1024 * 1024,
        ge=0,
        validation_alias="ATTACHMENTS_MAX_BYTES",
        description="Maximum size of all attachments of one mail together.",
    )

    unsubscribe_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(split)] = Field(
        default=(),
        validation_alias="UNSUBSCRIBE_KEYS",
        description="Fernet keys, separated by commas, of the tokens in unsubscribe links: the first makes "
        "them, all read them. If unset, they are derived from the keys that DELIVERY_KEYS describes, and end "
        "with those.",
    )

    @field_validator("delivery_keys", "unsubscribe_keys")
    @classmethod
    def _check_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            try:
                Fernet(key.get_secret_value())
            except ValueError:
                raise ValueError(
                    "each key must be 32 bytes in URL-safe base64, as Fernet.generate_key() of the Python "
                    "package cryptography returns"
                ) from None
        return keys


class BroadcastSettings(Section):
    """Events for an audience: the followers of a topic, or everyone."""

    title: ClassVar = "Broadcasts"

    rate: PeoplePerSecond = Field(
        default=2000.0,
        ge=0,
        le=1_000_000,
        validation_alias="BROADCAST_RATE",
        description="Maximum number of people a second that one broadcast passes. 0 sets no limit; other "
        "events are still written first.",
    )


class WebhookSettings(Section):
    """Outbound webhooks: endpoints that are notified of deliveries (`run.py webhooks`)."""

    title: ClassVar = "Outbound webhooks"

    timeout: Seconds = Field(
        default=15.0,
        gt=0,
        le=300,
        validation_alias="WEBHOOK_TIMEOUT",
        description="Time limit of one request to a webhook endpoint.",
    )
    concurrency: int = Field(
        default=4,
        ge=1,
        le=100,
        validation_alias="WEBHOOK_CONCURRENCY",
        description="Maximum number of concurrent requests of a node to one webhook endpoint.",
    )
    retry_for: Seconds = Field(
        default=3 * 24 * 3600.0,
        gt=0,
        validation_alias="WEBHOOK_RETRY_DEADLINE",
        description="How long a webhook message is retried. An endpoint that fails for as long is disabled.",
    )
    allow_private: bool = Field(
        default=False,
        validation_alias="WEBHOOK_ALLOW_PRIVATE",
        description="Whether webhook endpoints may be in a private network.",
    )


class RetentionSettings(Section):
    """How long data is kept."""

    title: ClassVar = "Retention"

    event_ids_days: Days = Field(
        default=30,
        ge=1,
        validation_alias="EVENT_IDS_KEPT",
        description="Deduplication window: an event that arrives again within it, with the same event_id "
        "or position in its source, is ignored.",
    )
    days: Days = Field(
        default=0,
        ge=0,
        le=36500,
        validation_alias="RETENTION_DAYS",
        description="How long notifications and deliveries are kept, such as 90. 0 keeps them indefinitely.",
    )

    @property
    def event_ids(self) -> timedelta:
        """The deduplication window."""
        return timedelta(days=self.event_ids_days)

    @property
    def notifications(self) -> timedelta | None:
        """How long notifications and deliveries are kept; None: indefinitely."""
        return timedelta(days=self.days) if self.days else None
