"""One section for each channel that delivers outside the hub, and the look of its mail.

To add a channel: write its section here, add it to `ChannelSections` below, run `make settings`. The
channel's class in `app/outbox/` takes this section and no other. Give each field a default: a channel whose
provider isn't set is simulated.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from app.domain.addresses import mailbox
from app.domain.preferences import ALWAYS_ON, CATEGORIES
from app.settings.bounces import BounceSettings
from app.settings.mail_oauth import WithMailOauth
from app.settings.mail_providers import MAIL_PROVIDERS, MailgunSettings, SendGridSettings, SesSettings
from app.settings.section import CommaSeparated, Seconds, Section, WithPublicUrl, lower
from app.texts.brand import Brand
from app.texts.sms import MAX_SEGMENTS, SmsLimit


class ChannelSection(Section):
    """A section of a channel whose provider may not be set. Then its deliveries are simulated."""

    @property
    def missing(self) -> str | None:
        """What isn't sent, and what to set so that it is; None if the provider is set."""
        raise NotImplementedError


def _host_name(value: str | None) -> str | None:
    """Without white space around it. Raises `ValueError` if it is a URL or has a port."""
    if value is None or not re.search(r"[/@\s]|^[^:]*:[^:]*$", value := value.strip()):
        return value
    raise ValueError("it must be a host name alone, such as smtp.example.com; set its port as SMTP_PORT")


class SmtpSettings(ChannelSection, WithMailOauth, WithPublicUrl):
    """The mail server, and who mail is from."""

    title: ClassVar = "Mail"

    providers: CommaSeparated = Field(
        default=("smtp",),
        validation_alias="EMAIL_PROVIDERS",
        description="Who takes mail, in this order, separated by commas: smtp, sendgrid, mailgun, ses. The "
        "next is asked where one fails: an outage, a refused login, a quota. A refused recipient or mail is "
        "final.",
    )
    failover_after: Seconds = Field(
        default=20.0,
        gt=0,
        validation_alias="MAIL_FAILOVER_AFTER",
        description="Time that a provider of EMAIL_PROVIDERS has for one mail before the next is asked. The "
        "last one has the rest of DELIVERY_LEASE.",
    )
    host: Annotated[str | None, AfterValidator(_host_name)] = Field(
        default=None,
        validation_alias="SMTP_HOST",
        description="Host name of the mail server. If unset, mail is simulated: logged, and not sent.",
    )
    port: int = Field(
        default=587, ge=1, le=65535, validation_alias="SMTP_PORT", description="Port of the mail server."
    )
    security: Annotated[Literal["starttls", "tls", "none"], BeforeValidator(lower)] = Field(
        default="starttls",
        validation_alias="SMTP_SECURITY",
        description="Encryption of the connection. starttls: required, the hub refuses a server that "
        "doesn't offer it. tls: from the first byte; the default if SMTP_PORT is 465. none: everything is "
        "sent in plain text, including one-time codes. For a private certificate authority set "
        "SMTP_CA_FILE.",
    )
    ca_file: str | None = Field(
        default=None,
        validation_alias="SMTP_CA_FILE",
        description="PEM file with certificates of authorities that the mail server's may be from, beside "
        "the public ones.",
    )
    username: str | None = Field(
        default=None,
        validation_alias="SMTP_USERNAME",
        description="User name to log in with. If unset, the hub doesn't log in.",
    )
    password: SecretStr | None = Field(
        default=None, validation_alias="SMTP_PASSWORD", description="Password of SMTP_USERNAME."
    )
    timeout: Seconds = Field(
        default=10.0,
        gt=0,
        validation_alias="SMTP_TIMEOUT",
        description="Time limit of connecting, of TLS and of the login. If set, also of each other reply of "
        "the mail server, and six times that of the reply to the whole mail; if unset, those have the limits "
        "of RFC 5321, within DELIVERY_LEASE.",
    )
    connections: int = Field(
        default=4,
        ge=1,
        le=100,
        validation_alias="SMTP_CONNECTIONS",
        description="Maximum number of open connections to the mail server for one-time codes, and again "
        "for all other mail.",
    )
    sender: str = Field(
        default="Notification hub <no-reply@localhost>",
        validation_alias="MAIL_FROM",
        description="Name and address that mail is from. If unset, it is SMTP_USERNAME where that is an "
        "address.",
    )
    reply_to: str | None = Field(
        default=None,
        validation_alias="MAIL_REPLY_TO",
        description="Name and address that answers go to, as in MAIL_FROM, unless a message says so itself "
        "(`reply_to`). If unset, answers go to MAIL_FROM.",
    )
    return_path: str | None = Field(
        default=None,
        validation_alias="MAIL_RETURN_PATH",
        description="Address that reports of failed delivery go to (the envelope sender). With a `*`, such "
        "as bounces+*@example.com, each mail has an address with a signed token there, so that the hub can "
        "act on these reports. If unset, they go to MAIL_FROM. SendGrid and Mailgun use their own addresses.",
    )
    unsubscribe_url: str | None = Field(
        default=None,
        pattern="^https://",
        validation_alias="UNSUBSCRIBE_URL",
        description="HTTPS URL of yours for one-click unsubscription (RFC 8058) from mail that isn't "
        "transactional, instead of the hub's own (PUBLIC_URL). The id of the delivery is appended.",
    )

    opens: CommaSeparated = Field(
        default=(),
        validation_alias="MAIL_OPENS",
        description="Categories, separated by commas, whose mails have an image at PUBLIC_URL that records "
        "when they are opened. Off by default: inform your users before you set it. Not allowed: security.",
    )

    @field_validator("opens")
    @classmethod
    def _check_categories(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        allowed = [each for each in CATEGORIES if each != ALWAYS_ON]
        for each in categories:
            if each not in allowed:
                raise ValueError(f"{each!r} is no such category; use one or more of {', '.join(allowed)}")
        return categories

    @field_validator("providers")
    @classmethod
    def _check_providers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name.lower() for name in names)
        for name in names:
            if name not in MAIL_PROVIDERS:
                raise ValueError(f"{name!r} is no provider; use one or more of {', '.join(MAIL_PROVIDERS)}")
        return tuple(dict.fromkeys(names))

    @model_validator(mode="after")
    def _derive(self) -> SmtpSettings:
        """Defaults that depend on other settings."""
        if "smtp" in self.providers and self.host is None and len(self.providers) > 1:
            raise ValueError(
                "EMAIL_PROVIDERS names smtp, but SMTP_HOST isn't set. Set it, or name the other providers "
                "alone"
            )
        if self.username is not None and self.host is None:
            raise ValueError(
                "SMTP_USERNAME is set, but SMTP_HOST isn't, and without it no mail is sent. Set SMTP_HOST to "
                "the name of the mail server, or unset SMTP_USERNAME"
            )
        if self.port == 465 and "security" not in self.model_fields_set:
            object.__setattr__(self, "security", "tls")
        if self.username is not None and "sender" not in self.model_fields_set and _is_address(self.username):
            object.__setattr__(self, "sender", self.username)
        return self

    @property
    def missing(self) -> str | None:
        """As `ChannelSection.missing`."""
        if self.host is not None or "smtp" not in self.providers:
            return None
        return (
            "No mail is sent: set SMTP_HOST, and SMTP_USERNAME and SMTP_PASSWORD if the server wants a login."
        )


class SmsSettings(ChannelSection, WithPublicUrl):
    """Twilio's Programmable Messaging."""

    title: ClassVar = "SMS"

    account_sid: str | None = Field(
        default=None,
        validation_alias="TWILIO_ACCOUNT_SID",
        description="Account SID at Twilio. If unset, SMS is simulated: logged, and not sent.",
    )
    auth_token: SecretStr | None = Field(
        default=None,
        validation_alias="TWILIO_AUTH_TOKEN",
        description="Auth token of the account. Required with TWILIO_ACCOUNT_SID.",
    )
    messaging_service_sid: str | None = Field(
        default=None,
        validation_alias="TWILIO_MESSAGING_SERVICE_SID",
        description="SID of the Messaging Service that sends. With TWILIO_ACCOUNT_SID, either this or "
        "TWILIO_FROM is required; if both are set, the service sends.",
    )
    sender: str | None = Field(
        default=None,
        validation_alias="TWILIO_FROM",
        pattern=r"^(\+[1-9][0-9]{6,14}|[0-9]{3,8}|[A-Za-z0-9 ]{1,11})$",
        description="Number that SMS is from, such as +15005550006; or a short code, or an alphanumeric "
        "sender ID where the receiver's country allows one.",
    )
    max_segments: int = Field(
        default=MAX_SEGMENTS,
        ge=1,
        le=MAX_SEGMENTS,
        validation_alias="SMS_MAX_SEGMENTS",
        description=(
            "Maximum number of segments of one SMS: 160 characters of GSM-7, or 70 with any other "
            "character; a few less per segment if there are several."
        ),
    )
    too_long: Annotated[Literal["refuse", "cut"], BeforeValidator(lower)] = Field(
        default="refuse",
        validation_alias="SMS_TOO_LONG",
        description="What happens to a longer SMS. refuse: it is not sent, and its sender gets the number of "
        "segments. cut: it ends behind the last word that fits.",
    )
    endpoint: str = Field(
        default="https://api.twilio.com",
        validation_alias="TWILIO_ENDPOINT",
        description="Base URL of Twilio's API.",
    )
    concurrency: int = Field(
        default=16,
        ge=1,
        validation_alias="TWILIO_CONCURRENCY",
        description="Maximum number of concurrent calls.",
    )
    timeout: Seconds = Field(
        default=10.0, gt=0, validation_alias="TWILIO_TIMEOUT", description="Time limit of one call."
    )

    @property
    def callback_url(self) -> str | None:
        """Where Twilio reports what became of an SMS; None where it can't reach the hub."""
        if self.public_url is None or not self.public_url.startswith("https://"):
            return None
        return f"{self.public_url.rstrip('/')}/callbacks/twilio"

    @property
    def limit(self) -> SmsLimit:
        """How long an SMS may be."""
        return SmsLimit(self.max_segments, self.too_long == "cut")

    @property
    def missing(self) -> str | None:
        """As `ChannelSection.missing`."""
        if self.account_sid is not None:
            return None
        return (
            "No SMS is sent: set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, and TWILIO_MESSAGING_SERVICE_SID or "
            "TWILIO_FROM."
        )


class WebPushSettings(Section):
    """Web push (RFC 8030, 8291, 8292) to browsers, by the push services of their makers."""

    title: ClassVar = "Web push"

    private_key: SecretStr | None = Field(
        default=None,
        validation_alias="VAPID_PRIVATE_KEY",
        description="Private key that signs web push messages (VAPID), as `python run.py vapid` prints it. "
        "If unset, there is no web push. Browsers subscribe to its public key: with another one they have to "
        "subscribe again.",
    )
    subject: str | None = Field(
        default=None,
        pattern="^(mailto:[^@ ]+@[^@ ]+|https://.+)$",
        validation_alias="VAPID_SUBJECT",
        description="Where push services reach the operator, as mailto:name@example.com or an https:// URL. "
        "Required with VAPID_PRIVATE_KEY.",
    )
    ttl: Seconds = Field(
        default=24 * 3600.0,
        gt=0,
        le=28 * 24 * 3600,
        validation_alias="WEBPUSH_TTL",
        description="Time after its event during which a web push may be delivered, also by the push service "
        "to a browser that is offline.",
    )
    when: Annotated[Literal["disconnected", "always"], BeforeValidator(lower)] = Field(
        default="disconnected",
        validation_alias="WEBPUSH_WHEN",
        description="When notifications are sent by web push. disconnected: only while the user has no "
        "live connection. always: to users with a live connection, too.",
    )
    max_devices: int = Field(
        default=10,
        ge=1,
        le=100,
        validation_alias="WEBPUSH_MAX_DEVICES",
        description="Maximum number of devices of one user. One more replaces the device that was registered "
        "the longest time ago.",
    )
    allow_private: bool = Field(
        default=False,
        validation_alias="WEBPUSH_ALLOW_PRIVATE",
        description="Whether the push service of a device may be in a private network. Browsers name its "
        "URL, so that anyone with a token could otherwise send requests into yours.",
    )
    concurrency: int = Field(
        default=16,
        ge=1,
        validation_alias="WEBPUSH_CONCURRENCY",
        description="Maximum number of concurrent calls to push services.",
    )
    timeout: Seconds = Field(
        default=10.0, gt=0, validation_alias="WEBPUSH_TIMEOUT", description="Time limit of one call."
    )


class BrandSettings(Section):
    """The look of mail."""

    title: ClassVar = "Brand"

    name: str = Field(
        default="Notification hub", validation_alias="BRAND_NAME", description="Name in the header of mail."
    )
    color: str = Field(
        default="#0b6e99",
        pattern="^#[0-9a-fA-F]{6}$",
        validation_alias="BRAND_COLOR",
        description="Color of the header and of buttons, as #rrggbb.",
    )
    logo_url: str | None = Field(
        default=None,
        pattern="^https://",
        validation_alias="BRAND_LOGO_URL",
        description="HTTPS URL of a logo that is shown instead of the name.",
    )
    footer: str = Field(
        default="",
        validation_alias="BRAND_FOOTER",
        description="Last line of every mail, such as the sender's postal address.",
    )

    def brand(self) -> Brand:
        """The value that templates are rendered with."""
        return Brand(self.name, self.color, self.logo_url, self.footer)


class ChannelSections(BaseModel):
    """The sections of all channels, from which each `make_channel` in `app.outbox` takes its own."""

    smtp: SmtpSettings
    sendgrid: SendGridSettings
    mailgun: MailgunSettings
    ses: SesSettings
    bounces: BounceSettings
    sms: SmsSettings
    webpush: WebPushSettings
    brand: BrandSettings

    @property
    def simulated(self) -> list[str]:
        """For each channel whose provider isn't set, what to set."""
        sections = (getattr(self, name) for name in ChannelSections.model_fields)
        missing = (each.missing for each in sections if isinstance(each, ChannelSection))
        return [each for each in missing if each is not None]


def _is_address(text: str) -> bool:
    try:
        return mailbox(text).ascii
    except ValueError:
        return False
