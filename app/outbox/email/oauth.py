"""Access tokens for the login to the mail server: OAuth 2.0, by refresh token or client credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

import httpx
import msgspec
from pydantic import SecretStr

from app.domain.errors import DeliveryFailed
from app.outbox.failures import SetupFailed, retry_after, safe_words
from app.runtime.tls import client_context, tls_fault, tls_words
from app.settings.bounces import BounceSettings
from app.settings.channels import SmtpSettings

RENEW_BEFORE_SECONDS = 60.0
DEFAULT_LIFE_SECONDS = 300.0  # of a token whose answer names none
MAX_ANSWER_BYTES = 256 * 1024


class OauthAnswer(msgspec.Struct):
    """What is read of a token endpoint's JSON: a token, or an error."""

    access_token: str | None = None
    expires_in: float | str | None = None
    refresh_token: str | None = None
    error: str | None = None
    error_description: str | None = None


class AccessTokens:
    """Keeps one access token, and asks for the next before it expires. No failure shows a secret."""

    def __init__(self, settings: SmtpSettings | BounceSettings, now: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._now = now
        self._refresh_token = _plain(settings.oauth_refresh_token)
        self._token: str | None = None
        self._until = 0.0
        self._asking = asyncio.Lock()

    @property
    def secrets(self) -> Sequence[str]:
        """What must be in no text that is kept."""
        secret = _plain(self._settings.oauth_client_secret)
        return [each for each in (self._token, self._refresh_token, secret) if each]

    async def get(self) -> tuple[str, bool]:
        """A token, and whether it was just issued. Raises `DeliveryFailed`."""
        async with self._asking:
            if self._token is not None and self._now() < self._until:
                return self._token, False
            answer = await self._ask()
            assert answer.access_token is not None
            self._token = answer.access_token
            self._refresh_token = answer.refresh_token or self._refresh_token  # some change it at each use
            self._until = self._now() + max(0.0, _life(answer.expires_in) - RENEW_BEFORE_SECONDS)
            return self._token, True

    def drop(self, token: str) -> None:
        """The mail server refused it: ask for another."""
        if token == self._token:
            self._until = 0.0

    async def _ask(self) -> OauthAnswer:
        settings = self._settings
        form = {"client_id": settings.oauth_client_id or ""}
        if self._refresh_token is not None:
            form |= {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        else:
            form |= {"grant_type": "client_credentials"}
        if settings.oauth_client_secret is not None:
            form["client_secret"] = settings.oauth_client_secret.get_secret_value()
        if settings.oauth_scope is not None:
            form["scope"] = settings.oauth_scope
        try:
            async with (
                asyncio.timeout(settings.timeout),
                httpx.AsyncClient(verify=client_context(), timeout=settings.timeout) as client,
            ):
                response = await client.post(settings.oauth_token_url or "", data=form)
        except (TimeoutError, httpx.TimeoutException):
            raise DeliveryFailed(
                "timeout", "the token endpoint didn't answer in time", retryable=True, of_provider=True
            ) from None
        except (httpx.HTTPError, OSError) as error:
            if (of_tls := tls_fault(error)) is not None:
                raise SetupFailed(*tls_words(of_tls)) from None
            words = f"no connection to the token endpoint ({type(error).__name__})"
            raise DeliveryFailed("connect", words, retryable=True, of_provider=True) from None
        return self._read(response)

    def _read(self, response: httpx.Response) -> OauthAnswer:
        try:
            answer = msgspec.json.decode(response.content[:MAX_ANSWER_BYTES], type=OauthAnswer)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            answer = OauthAnswer()
        if response.is_success and _is_token(answer.access_token):
            return answer
        status = response.status_code
        error = answer.error if answer.error in _ERRORS else None
        words = f"{status} {answer.error_description or answer.error or ''}".strip()
        said = safe_words(words, None, self.secrets)
        words = f"no access token: {said}"
        if status == 429 or status >= 500 or error == "temporarily_unavailable":
            pause = retry_after(response.headers.get("Retry-After", ""))
            raise DeliveryFailed(
                f"oauth_{error or status}", words, retryable=True, retry_after=pause, of_provider=True
            )
        raise SetupFailed(f"oauth_{error or status}", words)


_ERRORS = frozenset(
    (
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "invalid_scope"),
        *("unsupported_grant_type", "temporarily_unavailable", "interaction_required", "consent_required"),
    )
)


def _is_token(token: str | None) -> bool:
    return bool(token) and token is not None and token.isascii() and token.isprintable() and " " not in token


def _life(given: float | str | None) -> float:
    """The seconds that a token is valid; some write the number as a text."""
    try:
        return DEFAULT_LIFE_SECONDS if given is None else float(given)
    except ValueError:
        return DEFAULT_LIFE_SECONDS


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
