"""Settings of reading the mails that mail servers send back."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SecretStr

from app.settings.mail_oauth import WithMailOauth
from app.settings.section import Seconds, lower


class BounceSettings(WithMailOauth):
    """Where mails that come back arrive: a mailbox that `run.py bounces` reads, or calls of a server."""

    title: ClassVar = "Mail: bounces"

    hook_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        validation_alias="BOUNCE_HOOK_TOKEN",
        description="Bearer token with which a mail server may pass them on to POST /callbacks/bounces. If "
        "unset, the hub takes none there.",
    )
    host: str | None = Field(
        default=None,
        validation_alias="BOUNCE_IMAP_HOST",
        description="Host name of the IMAP server with the mailbox of MAIL_RETURN_PATH.",
    )
    port: int = Field(
        default=993,
        ge=1,
        le=65535,
        validation_alias="BOUNCE_IMAP_PORT",
        description="Port of the IMAP server.",
    )
    security: Annotated[Literal["tls", "starttls", "none"], BeforeValidator(lower)] = Field(
        default="tls",
        validation_alias="BOUNCE_IMAP_SECURITY",
        description="Encryption of the connection, as SMTP_SECURITY. none is for servers on this machine.",
    )
    ca_file: str | None = Field(
        default=None,
        validation_alias="BOUNCE_IMAP_CA_FILE",
        description="PEM file with certificates of authorities that the IMAP server's may be from, beside "
        "the public ones.",
    )
    username: str | None = Field(
        default=None,
        validation_alias="BOUNCE_IMAP_USERNAME",
        description="User name of the mailbox. Required with BOUNCE_IMAP_HOST.",
    )
    password: SecretStr | None = Field(
        default=None,
        validation_alias="BOUNCE_IMAP_PASSWORD",
        description="Password of the mailbox. If unset, the login is by SMTP_OAUTH_TOKEN_URL (XOAUTH2).",
    )
    folder: str = Field(
        default="INBOX",
        pattern=r'^[^"\\\r\n]+$',
        validation_alias="BOUNCE_IMAP_FOLDER",
        description="Folder that is read. What is unread there is read once, and marked as read.",
    )
    delete: bool = Field(
        default=False,
        validation_alias="BOUNCE_IMAP_DELETE",
        description="Whether mails that were reports about deliveries of the hub are deleted. Others stay.",
    )
    interval: Seconds = Field(
        default=60.0,
        ge=1,
        validation_alias="BOUNCE_INTERVAL",
        description="Time between two looks at the mailbox.",
    )
    timeout: Seconds = Field(
        default=30.0, gt=0, validation_alias="BOUNCE_IMAP_TIMEOUT", description="Time limit of one answer."
    )
