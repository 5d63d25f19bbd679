"""One section for each channel that delivers outside the hub, and the look of its mail.

To add a channel: write its section here, add it to `ChannelSections` below, run `make settings`. The
channel's class in `app/outbox/` takes this section and no other. Give each field a default: a channel whose
provider isn't set is simulated.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, Field, SecretStr

from app.settings.section import Seconds, Section
from app.texts.brand import Brand


class SmtpSettings(Section):
    """The mail server, and who mail is from."""

    title: ClassVar = "Mail"

    host: str | None = Field(
        default=None,
        validation_alias="SMTP_HOST",
        description="Host name of the mail server. If unset, mail is simulated: logged, and not sent.",
    )
    port: int = Field(
        default=587, ge=1, le=65535, validation_alias="SMTP_PORT", description="Port of the mail server."
    )
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        validation_alias="SMTP_SECURITY",
        description="Encryption of the connection. starttls: required, the hub refuses a server that "
        "doesn't offer it. tls: from the first byte, usually on port 465. none: everything is "
        "sent in plain text, including one-time codes. For a private certificate authority set "
        "SSL_CERT_FILE, which OpenSSL reads.",
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
        description="Time limit of one reply from the mail server; six times that for the reply to the "
        "whole mail.",
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
        description="Name and address that mail is from.",
    )
    unsubscribe_url: str | None = Field(
        default=None,
        pattern="^https://",
        validation_alias="UNSUBSCRIBE_URL",
        description="HTTPS URL for one-click unsubscription (RFC 8058) from mail that isn't transactional. "
        "The id of the delivery is appended.",
    )


class SmsSettings(Section):
    """Twilio's Messaging Service."""

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
        description="SID of the Messaging Service that sends. Required with TWILIO_ACCOUNT_SID.",
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
    sms: SmsSettings
    brand: BrandSettings
