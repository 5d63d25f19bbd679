"""The sections of providers that take mail over their HTTP API."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from app.settings.section import CommaSeparated, Seconds, Section, is_url


def _endpoint(value: str) -> str:
    """Without a final slash. Raises `ValueError` unless it is HTTPS, or HTTP to this machine."""
    url = value.rstrip("/")
    host = url.removeprefix("http://").partition("/")[0].partition(":")[0]
    if is_url(url, ("https",)) or (is_url(url, ("http",)) and host in ("127.0.0.1", "localhost")):
        return url
    raise ValueError(
        "the key must not go out in plain text; write it as https://host, or http:// of this machine for a "
        "stand-in"
    )


Endpoint = Annotated[str, AfterValidator(_endpoint)]


class MailApiSettings(Section):
    """What the sections of all such providers share."""

    timeout: Seconds = Field(
        default=10.0,
        gt=0,
        validation_alias="MAIL_API_TIMEOUT",
        description="Time limit of one call to SendGrid, Mailgun or Amazon SES.",
    )
    concurrency: int = Field(
        default=16,
        ge=1,
        le=200,
        validation_alias="MAIL_API_CONCURRENCY",
        description="Maximum number of concurrent calls to one of them for one-time codes, and again for "
        "all other mail.",
    )


class SendGridSettings(MailApiSettings):
    """Twilio SendGrid."""

    title: ClassVar = "Mail: SendGrid"

    api_key: SecretStr | None = Field(
        default=None,
        validation_alias="SENDGRID_API_KEY",
        description="API key with the permission Mail Send. Required if EMAIL_PROVIDERS names sendgrid.",
    )
    endpoint: Endpoint = Field(
        default="https://api.sendgrid.com",
        validation_alias="SENDGRID_ENDPOINT",
        description="Base URL of the API. For a subuser in the EU: https://api.eu.sendgrid.com.",
    )
    webhook_key: str | None = Field(
        default=None,
        validation_alias="SENDGRID_WEBHOOK_KEY",
        description="Verification key that SendGrid shows for its signed Event Webhook. If unset, the hub "
        "takes no events of SendGrid.",
    )


class MailgunSettings(MailApiSettings):
    """Mailgun."""

    title: ClassVar = "Mail: Mailgun"

    api_key: SecretStr | None = Field(
        default=None,
        validation_alias="MAILGUN_API_KEY",
        description="Sending key of MAILGUN_DOMAIN, or an API key of the account. Required if "
        "EMAIL_PROVIDERS names mailgun.",
    )
    domain: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9.-]+$",
        validation_alias="MAILGUN_DOMAIN",
        description="Sending domain at Mailgun, such as mg.example.com. If unset, it is the domain of "
        "MAIL_FROM.",
    )
    endpoint: Endpoint = Field(
        default="https://api.mailgun.net",
        validation_alias="MAILGUN_ENDPOINT",
        description="Base URL of the API. For domains in the EU: https://api.eu.mailgun.net.",
    )
    webhook_key: SecretStr | None = Field(
        default=None,
        validation_alias="MAILGUN_WEBHOOK_KEY",
        description="HTTP webhook signing key of the account. If unset, the hub takes no events of Mailgun.",
    )


class SesSettings(MailApiSettings):
    """Amazon SES, by its API v2."""

    title: ClassVar = "Mail: Amazon SES"

    region: str | None = Field(
        default=None,
        pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]+$",
        validation_alias="SES_REGION",
        description="AWS region, such as eu-central-1. Required if EMAIL_PROVIDERS names ses.",
    )
    access_key_id: str | None = Field(
        default=None,
        validation_alias="SES_ACCESS_KEY_ID",
        description="Access key with the permissions ses:SendEmail and ses:SendRawEmail. Required if "
        "EMAIL_PROVIDERS names ses.",
    )
    secret_access_key: SecretStr | None = Field(
        default=None,
        validation_alias="SES_SECRET_ACCESS_KEY",
        description="Secret of SES_ACCESS_KEY_ID.",
    )
    session_token: SecretStr | None = Field(
        default=None,
        validation_alias="SES_SESSION_TOKEN",
        description="Session token, where the access key is a temporary one.",
    )
    configuration_set: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        validation_alias="SES_CONFIGURATION_SET",
        description="Configuration set that mail is sent with. It says where events go.",
    )
    topic_arns: CommaSeparated = Field(
        default=(),
        validation_alias="SES_TOPIC_ARNS",
        description="ARNs of the SNS topics that the configuration set publishes to, separated by commas. If "
        "unset, the hub takes no events of SES.",
    )
    endpoint: Endpoint | None = Field(
        default=None,
        validation_alias="SES_ENDPOINT",
        description="Base URL of the API. If unset, it is that of SES_REGION.",
    )


MAIL_PROVIDERS = ("smtp", "sendgrid", "mailgun", "ses")
"""What EMAIL_PROVIDERS may name."""
