"""Settings of the login to the mail server by OAuth 2.0 (XOAUTH2)."""

from __future__ import annotations

from pydantic import Field, SecretStr

from app.settings.mail_providers import Endpoint
from app.settings.section import Section


class WithMailOauth(Section):
    """A section of a part that logs in with an access token in place of a password."""

    oauth_token_url: Endpoint | None = Field(
        default=None,
        validation_alias="SMTP_OAUTH_TOKEN_URL",
        description="URL that issues access tokens. If set, the hub logs in with one (XOAUTH2) in place of "
        "SMTP_PASSWORD, as Microsoft 365 and Gmail want it.",
    )
    oauth_client_id: str | None = Field(
        default=None,
        validation_alias="SMTP_OAUTH_CLIENT_ID",
        description="Client ID of the application. Required with SMTP_OAUTH_TOKEN_URL.",
    )
    oauth_client_secret: SecretStr | None = Field(
        default=None,
        validation_alias="SMTP_OAUTH_CLIENT_SECRET",
        description="Client secret of the application.",
    )
    oauth_refresh_token: SecretStr | None = Field(
        default=None,
        validation_alias="SMTP_OAUTH_REFRESH_TOKEN",
        description="Refresh token of SMTP_USERNAME. If unset, the grant is client credentials, which "
        "requires SMTP_OAUTH_CLIENT_SECRET.",
    )
    oauth_scope: str | None = Field(
        default=None,
        validation_alias="SMTP_OAUTH_SCOPE",
        description="Scope to ask for, such as https://outlook.office365.com/.default.",
    )

    @property
    def oauth_fault(self) -> str | None:
        """What is wrong with these settings; None if nothing is."""
        if self.oauth_token_url is None:
            return None
        if self.oauth_client_id is None:
            return "SMTP_OAUTH_TOKEN_URL is set, but SMTP_OAUTH_CLIENT_ID isn't"
        if self.oauth_refresh_token is None and self.oauth_client_secret is None:
            return (
                "SMTP_OAUTH_TOKEN_URL is set, but neither SMTP_OAUTH_REFRESH_TOKEN nor "
                "SMTP_OAUTH_CLIENT_SECRET is"
            )
        return None
