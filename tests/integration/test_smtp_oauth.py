"""The login by OAuth 2.0 (XOAUTH2), with a mail server and a token endpoint of the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest

from app.domain.errors import ConfigurationError, DeliveryFailed
from app.outbox.email import oauth
from app.outbox.email.channel import EmailChannel
from app.outbox.email.oauth import AccessTokens
from app.outbox.email.smtp import Server, abort
from app.outbox.email.smtp_provider import SmtpProvider
from app.outbox.failures import SetupFailed
from app.runtime.tls import client_context
from app.settings.channels import SmtpSettings
from tests.support.certificates import Authority
from tests.support.mail import PATIENCE, Texts, mail
from tests.support.mail_apis import FakeMailApi, run_mail_api
from tests.support.settings import settings_on
from tests.support.smtp_server import SmtpServer, running

USER, SECRET, REFRESH = "hub@example.com", "client-secret-hunter2", "refresh-token-hunter2"
FIRST, SECOND = "access-token-hunter2-first", "access-token-hunter2-second"


@pytest.fixture(scope="module")
def shared_endpoint() -> Iterator[FakeMailApi]:
    context = client_context()
    with run_mail_api("oauth") as endpoint, pytest.MonkeyPatch.context() as patch:
        patch.setattr(oauth, "client_context", lambda: context)  # made once: it takes 0.1 s
        yield endpoint


@pytest.fixture
def endpoint(shared_endpoint: FakeMailApi) -> FakeMailApi:
    shared_endpoint.bodies.clear()
    issue(shared_endpoint, FIRST)
    return shared_endpoint


def issue(endpoint: FakeMailApi, token: str, **more: Any) -> None:
    endpoint.fail(
        200, json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": 3600, **more})
    )


def settings(endpoint: FakeMailApi, **changes: Any) -> SmtpSettings:
    given = {
        "smtp_host": "127.0.0.1",
        "smtp_username": USER,
        "smtp_timeout": PATIENCE,
        "smtp_oauth_token_url": f"{endpoint.address}/token",
        "smtp_oauth_client_id": "client",
        "smtp_oauth_client_secret": SECRET,
        "mail_from": "hub@example.com",
    }
    return settings_on("redis://redis", **{**given, **changes}).smtp


def forms(endpoint: FakeMailApi) -> list[dict[str, str]]:
    return [dict(parse_qsl(body.decode())) for body in endpoint.bodies]


async def test_the_hub_logs_in_with_a_token_and_takes_another_once_it_is_refused(
    endpoint: FakeMailApi, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    stand = SmtpServer(authority.server("127.0.0.1"), login=(USER, FIRST))
    stand.by_token = True
    async with running(stand):
        server = Server(settings(endpoint, smtp_port=stand.port))
        channel = EmailChannel(SmtpSettings(), Texts(), [SmtpProvider(server, 1)])
        await channel.send(mail())
        abort(await server.open())
        assert (len(stand.messages), len(endpoint.bodies)) == (1, 1)
        stand.login = (USER, SECOND)  # the token was revoked
        issue(endpoint, SECOND)
        abort(await server.open())
        assert len(endpoint.bodies) == 2
        stand.login = (USER, "other")  # refused although it is new
        with pytest.raises(DeliveryFailed) as failed:
            await server.open()
        assert isinstance(failed.value, SetupFailed)
        await channel.close()
    for secret in (FIRST, SECOND, SECRET):
        assert secret not in caplog.text + str(failed.value)


async def test_the_grant_is_what_is_set(endpoint: FakeMailApi) -> None:
    tokens = AccessTokens(settings(endpoint, smtp_oauth_scope="https://outlook.office365.com/.default"))
    assert await tokens.get() == (FIRST, True)
    assert await tokens.get() == (FIRST, False)
    assert forms(endpoint) == [
        {
            "client_id": "client",
            "client_secret": SECRET,
            "grant_type": "client_credentials",
            "scope": "https://outlook.office365.com/.default",
        }
    ]


async def test_a_refresh_token_may_change_and_a_token_is_renewed_before_it_ends(
    endpoint: FakeMailApi,
) -> None:
    clock = [1000.0]
    given = settings(endpoint, smtp_oauth_refresh_token=REFRESH, smtp_oauth_client_secret=None)
    tokens = AccessTokens(given, lambda: clock[0])
    issue(endpoint, FIRST, refresh_token="rotated", expires_in="3600")
    await tokens.get()
    clock[0] += 3600 - oauth.RENEW_BEFORE_SECONDS - 1
    assert await tokens.get() == (FIRST, False)
    clock[0] += 2
    issue(endpoint, SECOND)
    assert await tokens.get() == (SECOND, True)
    tokens.drop(FIRST)  # an older one changes nothing
    assert await tokens.get() == (SECOND, False)
    assert [form["refresh_token"] for form in forms(endpoint)] == [REFRESH, "rotated"]
    assert "client_secret" not in forms(endpoint)[0]


@pytest.mark.parametrize(
    ("status", "body", "code", "setup"),
    [
        (
            400,
            {"error": "invalid_grant", "error_description": f"expired {REFRESH}"},
            "oauth_invalid_grant",
            True,
        ),
        (401, {"error": "invalid_client", "error_description": SECRET}, "oauth_invalid_client", True),
        (404, None, "oauth_404", True),
        (200, {"token_type": "Bearer"}, "oauth_200", True),
        (200, {"access_token": "two words\r\n"}, "oauth_200", True),
        (503, None, "oauth_503", False),
        (429, {"error": "anything"}, "oauth_429", False),
    ],
)
async def test_no_token_waits_for_an_operator_or_passes(
    endpoint: FakeMailApi, status: int, body: Any, code: str, setup: bool
) -> None:
    endpoint.fail(status, "<html></html>" if body is None else json.dumps(body))
    tokens = AccessTokens(settings(endpoint, smtp_oauth_refresh_token=REFRESH))
    with pytest.raises(DeliveryFailed) as failed:
        await tokens.get()
    assert (failed.value.code, isinstance(failed.value, SetupFailed)) == (code, setup)
    assert failed.value.retryable
    assert failed.value.of_provider
    assert not any(secret in str(failed.value) for secret in (REFRESH, SECRET))


@pytest.mark.parametrize(
    "changes",
    [
        {"smtp_oauth_client_id": None},
        {"smtp_oauth_client_secret": None},
        {"smtp_password": "too"},
        {"smtp_username": None},
        {"smtp_oauth_token_url": "http://login.example.com/token"},
        {"smtp_security": "none"},
    ],
)
def test_settings_that_are_incomplete_or_unsafe_are_refused(
    endpoint: FakeMailApi, changes: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        EmailChannel(settings(endpoint, **changes), Texts())
    assert "SMTP_" in str(refused.value)
    assert SECRET not in str(refused.value)
