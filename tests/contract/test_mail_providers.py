"""One contract for each provider of mail: what arrives, and what its failures mean."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from app.domain.addresses import Mailbox, mailbox
from app.domain.deliveries import Status
from app.domain.errors import DeliveryFailed
from app.outbox import failures
from app.outbox.channel import Attachment, DeliveryCancelled, Outgoing, wanted
from app.outbox.email import api_provider
from app.outbox.email.message import Sender, build, sender
from app.outbox.email.provider import ComposedMail, MailProvider
from app.outbox.email.providers import make_providers
from app.outbox.failures import SetupFailed
from app.runtime.tls import client_context
from app.texts.rendering import Mail
from tests.support.mail import CODE
from tests.support.mail_apis import DOMAIN, KEY, SES_KEY, Arrived, FakeMailApi, arrived_mime, run_mail_api
from tests.support.settings import settings_on
from tests.support.smtp_server import HANG, SmtpServer, running

TO = "an@example.com"
TIMEOUT = 2.0
HURRY = 0.2  # where nobody answers
HOLDS = "smtp", "sendgrid", "mailgun", "ses"

_SENDGRID_TO = (
    '{"errors":[{"message":"Does not contain a valid address.","field":"personalizations.0.to.0.email"}]}'
)
FAULTS: dict[str, dict[str, tuple[int, str, dict[str, str]]]] = {
    "sendgrid": {
        "recipient": (400, _SENDGRID_TO, {}),
        "mail": (413, '{"errors":[{"message":"payload too large"}]}', {}),
        "setup": (403, '{"errors":[{"message":"The from address does not match a verified Sender"}]}', {}),
        "quota": (401, '{"errors":[{"message":"Maximum credits exceeded"}]}', {}),
        "busy": (429, '{"errors":[{"message":"too many requests"}]}', {"Retry_After": "17"}),
        "outage": (503, "<html>unavailable</html>", {}),
    },
    "mailgun": {
        "recipient": (
            400,
            '{"message":"to parameter is not a valid address."}',
            {},
        ),
        "mail": (413, '{"message":"Request Entity Too Large"}', {}),
        "setup": (403, '{"message":"Domain mg.hub.example is not allowed to send: Please activate it"}', {}),
        "quota": (402, '{"message":"Account disabled"}', {}),
        "busy": (429, '{"message":"Too many requests"}', {"Retry_After": "17"}),
        "outage": (500, "Internal Server Error", {}),
    },
    "ses": {
        "recipient": (
            400,
            '{"message":"Missing final \'@domain\'"}',
            {"x_amzn_ErrorType": "BadRequestException"},
        ),
        "mail": (400, '{"message":"Transaction failed: virus"}', {"x_amzn_ErrorType": "MessageRejected"}),
        "setup": (
            400,
            '{"message":"Email address is not verified. The following identities failed the check"}',
            {"x_amzn_ErrorType": "MessageRejected:http://internal.amazon.com/"},
        ),
        "quota": (
            429,
            '{"message":"Daily message quota exceeded."}',
            {"x_amzn_ErrorType": "TooManyRequestsException"},
        ),
        "busy": (
            429,
            '{"message":"Maximum sending rate exceeded."}',
            {"x_amzn_ErrorType": "TooManyRequestsException", "Retry_After": "17"},
        ),
        "outage": (503, "", {}),
    },
}
SMTP_FAULTS = {
    "recipient": ("rcpt", "550 5.1.1 no such user"),
    "mail": ("end", "554 5.6.0 a virus"),
    "setup": ("rcpt", "554 5.7.1 Relay access denied"),
    "quota": ("end", "550 5.4.5 Daily user sending limit exceeded"),
    "busy": ("mail", "451 4.7.1 slow down"),
    "outage": ("mail", "421 4.3.2 shutting down"),
}


class Stand(NamedTuple):
    """A provider and what stands in for its servers."""

    name: str
    provider: MailProvider
    server: SmtpServer | FakeMailApi

    def fail(self, kind: str) -> None:
        if isinstance(self.server, SmtpServer):
            step, answer = SMTP_FAULTS[kind]
            self.server.answer(step, answer)  # type: ignore[arg-type]
        else:
            status, body, headers = FAULTS[self.name][kind]
            self.server.fail(status, body, **headers)

    def hang(self) -> None:
        if isinstance(self.server, SmtpServer):
            self.server.answer("mail", HANG)
        else:
            self.server.awake.clear()

    def arrived(self) -> list[Arrived]:
        if isinstance(self.server, SmtpServer):
            return [arrived_mime(each.recipient, "", each.content) for each in self.server.messages]
        return self.server.arrived

    async def send(self, mail: ComposedMail) -> str | None:
        async with self.provider.slots:
            return await self.provider.send(mail, self.provider.encode(mail), wanted)


@pytest.fixture(scope="module")
def apis() -> Iterator[dict[str, FakeMailApi]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(run_mail_api(name)) for name in HOLDS[1:]}


@pytest.fixture(autouse=True, scope="module")
def one_tls_context() -> Iterator[None]:
    """Made once: no test here needs it, and it takes 0.1 s."""
    context = client_context()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_provider, "client_context", lambda: context)
        yield


@pytest_asyncio.fixture(params=HOLDS)
async def stand(request: pytest.FixtureRequest, apis: dict[str, FakeMailApi]) -> AsyncIterator[Stand]:
    name: str = request.param
    async with AsyncExitStack() as stack:
        server: SmtpServer | FakeMailApi
        if name == "smtp":
            server = await stack.enter_async_context(running(SmtpServer()))
            changes: dict[str, Any] = {
                "smtp_host": "127.0.0.1",
                "smtp_port": server.port,
                "smtp_security": "none",
                "smtp_timeout": HURRY if "in_time" in request.node.name else TIMEOUT,
            }
        else:
            server = apis[name]
            server.calm()
            server.arrived.clear()
            server.calls = 0
            changes = api_settings(name, server.address)
            if "in_time" in request.node.name:
                changes["mail_api_timeout"] = HURRY
        (provider,) = make_providers(settings_on("redis://redis", email_providers=name, **changes))
        stack.push_async_callback(provider.close)
        yield Stand(name, provider, server)


def api_settings(name: str, address: str) -> dict[str, Any]:
    own = {
        "sendgrid": {"sendgrid_api_key": KEY},
        "mailgun": {"mailgun_api_key": KEY, "mailgun_domain": DOMAIN},
        "ses": {
            "ses_region": "eu-central-1",
            "ses_access_key_id": SES_KEY,
            "ses_secret_access_key": KEY,
        },
    }
    return {f"{name}_endpoint": address, "mail_api_timeout": TIMEOUT, **own[name]}


def composed(to: str = TO, *, confidential: bool = False, **changes: Any) -> ComposedMail:
    outgoing = Outgoing(uuid4(), "plain", to, "vi", {"code": CODE}, confidential=confidential)
    mail = Mail("Chào bạn, 🥕", f"Mã: {CODE}\n.\n.. dòng\n", f"<p>Mã: {CODE}</p>\n")
    origin = sender("Bếp, Hub <no-reply@hub.example>")
    message = build(mail, origin, mailbox(to), message_id=f"{outgoing.id}@hub.example", **changes)
    return ComposedMail(outgoing, message, mailbox(to), str(origin.mailbox))


async def failure(stand: Stand, mail: ComposedMail | None = None) -> DeliveryFailed:
    """Why it can't be sent; nothing of it shows a secret."""
    with pytest.raises(DeliveryFailed) as failed:
        await stand.send(mail or composed())
    shown = "".join(traceback.format_exception(failed.value))
    assert not any(secret in shown for secret in (CODE, KEY))
    return failed.value


async def test_a_mail_arrives_whole(stand: Stand) -> None:
    pdf = Attachment("vé số 1.pdf", "application/pdf", b"%PDF\r\n.\r\n" * 100)
    url = "https://hub.example/unsubscribe/" + "x" * 200
    mail = composed(attachments=(pdf,), unsubscribe=url)
    assert await stand.send(mail)
    (arrived,) = stand.arrived()
    assert (arrived.to, arrived.subject) == (TO, "Chào bạn, 🥕")
    assert arrived.text == f"Mã: {CODE}\n.\n.. dòng\n"
    assert arrived.html == f"<p>Mã: {CODE}</p>\n"
    assert arrived.headers["Message-ID"] == f"<{mail.outgoing.id}@hub.example>"
    assert arrived.headers["List-Unsubscribe"] == f"<{url}>"
    assert arrived.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert arrived.headers["Auto-Submitted"] == "auto-generated"
    assert "no-reply@hub.example" in arrived.headers["From"]
    assert arrived.files == [("vé số 1.pdf", "application/pdf", pdf.content)]
    if stand.name != "smtp":  # events about it name the delivery
        assert UUID(arrived.delivery) == mail.outgoing.id


async def test_what_is_no_longer_wanted_is_not_handed_over(stand: Stand) -> None:
    async def unwanted() -> None:
        raise DeliveryCancelled(Status.EXPIRED, "")

    mail = composed()
    with pytest.raises(DeliveryCancelled):
        await stand.provider.send(mail, stand.provider.encode(mail), unwanted)
    assert stand.arrived() == []


async def test_a_refused_recipient_is_final_and_a_bad_address(stand: Stand) -> None:
    stand.fail("recipient")
    failed = await failure(stand)
    assert (failed.retryable, failed.bad_address, failed.of_provider) == (False, True, False)


async def test_a_refused_mail_is_final_and_says_nothing_of_the_address(stand: Stand) -> None:
    stand.fail("mail")
    failed = await failure(stand)
    assert (failed.retryable, failed.bad_address, failed.of_provider) == (False, False, False)


@pytest.mark.parametrize("kind", ["setup", "quota"])
async def test_a_fault_of_the_set_up_waits_for_an_operator(
    stand: Stand, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    stand.fail(kind)
    failed = [await failure(stand) for _ in range(5)]
    assert all(isinstance(each, SetupFailed) and each.of_provider and each.retryable for each in failed)
    logged = [record for record in caplog.records if record.message == "setup_failed"]
    assert [(record.name, record.levelname) for record in logged] == [("hub.mail", "ERROR")]
    assert KEY not in caplog.text


async def test_a_login_that_is_refused_is_not_tried_for_each_mail(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(stand.server, SmtpServer):
        return  # tests/integration/test_email_channel.py has those of SMTP
    monkeypatch.setattr(failures, "PAUSE_SECONDS", 0.2)
    stand.server.fail(401, "Forbidden")
    failed = [await failure(stand) for _ in range(4)]
    assert all(isinstance(each, SetupFailed) for each in failed)
    assert stand.server.calls == 1
    stand.server.calm()
    await asyncio.sleep(0.25)
    await stand.send(composed())
    assert len(stand.arrived()) == 1


@pytest.mark.parametrize("kind", ["busy", "outage"])
async def test_an_outage_is_retryable_and_the_provider_s(stand: Stand, kind: str) -> None:
    stand.fail(kind)
    failed = await failure(stand)
    assert (failed.retryable, failed.of_provider, failed.bad_address) == (True, True, False)
    assert not isinstance(failed, SetupFailed)
    if stand.name != "smtp":
        assert failed.retry_after == (17.0 if kind == "busy" else None)
    if not isinstance(stand.server, SmtpServer):
        stand.server.calm()
        await stand.send(composed())
        assert len(stand.arrived()) == 1


async def test_no_answer_in_time_is_retryable(stand: Stand) -> None:
    stand.hang()
    failed = await failure(stand)
    assert (failed.code, failed.retryable, failed.of_provider) == ("timeout", True, True)


async def test_an_answer_that_quotes_a_code_is_not_kept(stand: Stand) -> None:
    if isinstance(stand.server, SmtpServer):
        stand.server.answer("end", f"554 5.6.0 {CODE} looks like spam")
    else:
        stand.server.fail(400, f'{{"message":"{CODE} and {KEY}", "errors":[{{"message":"{CODE} {KEY}"}}]}}')
    for confidential in (False, True):
        await failure(stand, composed(confidential=confidential))


async def test_letters_before_the_at_that_no_api_takes_are_the_provider_s_limit(stand: Stand) -> None:
    mail = composed("ân@example.com")
    if stand.name == "smtp":
        assert isinstance(stand.server, SmtpServer)
        await stand.send(mail)
        return
    failed = await failure(stand, mail)
    assert (failed.code, failed.retryable, failed.of_provider) == ("smtputf8_not_offered", False, True)


@pytest.mark.parametrize("body", ["", "[]", "<html></html>", '{"id": 7, "MessageId": []}'])
async def test_what_can_not_be_read_of_a_success_is_no_failure(stand: Stand, body: str) -> None:
    """The provider has the mail: another attempt would send it twice."""
    if not isinstance(stand.server, SmtpServer):
        stand.server.fail(200, body)
        assert await stand.send(composed()) is None


async def test_nobody_listens() -> None:
    for name in HOLDS[1:]:
        settings = settings_on(
            "redis://redis", email_providers=name, **api_settings(name, "http://127.0.0.1:1")
        )
        (provider,) = make_providers(settings)
        with pytest.raises(DeliveryFailed) as failed:
            await provider.send(composed(), b"", wanted)
        assert (failed.value.code, failed.value.of_provider) == ("connect", True)
        await provider.close()


def test_a_name_with_a_comma_is_one_sender() -> None:
    assert composed().message.origin == Sender("Bếp, Hub", Mailbox("no-reply", "hub.example"))
