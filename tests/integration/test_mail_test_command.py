"""`run.py mail test`: each step is shown, and each error says how to fix it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.cli import mail_test
from app.domain.errors import ConfigurationError
from app.settings import Settings
from tests.support.certificates import DAYS, Authority
from tests.support.hub import ROOT
from tests.support.mail import LOGIN
from tests.support.mail_apis import DOMAIN, KEY, SES_KEY, run_mail_api
from tests.support.smtp_server import DROP, HANG, SmtpServer, Step, running

TO = "you@example.com"
STEPS = ["resolve", "connect", "TLS", "login", "sender", "recipient", "send"]


class Check:
    """Runs the check with settings that are there to be changed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._environment = monkeypatch
        self._capsys = capsys

    def set(self, server: SmtpServer, **changes: str) -> None:
        given = {
            "host": "127.0.0.1",
            "port": str(server.port),
            "username": LOGIN[0],
            "password": LOGIN[1],
            "timeout": "5",
            **changes,
        }
        for name, value in given.items():
            self._environment.setenv(f"SMTP_{name.upper()}", value)

    async def run(self) -> tuple[int, list[str]]:
        """The exit status and the lines."""
        status = await mail_test.run(TO)
        shown = self._capsys.readouterr().out
        assert LOGIN[1] not in shown
        return status, shown.splitlines()

    async def fails_at(self, step: str) -> tuple[str, str]:
        """The server's words and the advice; all steps before went well."""
        status, lines = await self.run()
        assert status == 1
        *before, wrong, advice = lines
        assert [line.split()[1] for line in before] == STEPS[: STEPS.index(step)]
        assert all(line[0] in "✓–" for line in before)
        assert wrong.startswith(f"✗ {step} ")
        return wrong.removeprefix(f"✗ {step} ").strip(), advice.partition("→ ")[2]


@pytest.fixture
def check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, authority: Authority
) -> Check:
    """No setting but those of mail: no database, no Kafka, no `.env`."""
    monkeypatch.chdir(tmp_path)
    for variable in Settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("MAIL_FROM", "Hub <no-reply@hub.example>")
    return Check(monkeypatch, capsys)


async def test_all_is_well(check: Check, server: SmtpServer) -> None:
    check.set(server)
    status, lines = await check.run()
    assert status == 0
    assert [re.sub(r"\d{4}-\d\d-\d\d", "DATE", line) for line in lines] == [
        "✓ resolve   127.0.0.1 is 127.0.0.1",
        f"✓ connect   127.0.0.1:{server.port} says: 220 mail.example.com ESMTP",
        f"✓ TLS       TLSv1.3, certificate for 127.0.0.1 by The tests' own CA, until DATE ({DAYS - 1} days)",
        "✓ login     as hub",
        "✓ sender    no-reply@hub.example",
        "✓ recipient you@example.com",
        "✓ send      250 2.0.0 Ok: queued as Q1",
    ]
    (received,) = server.messages
    assert received.secure
    assert received.parsed["To"] == TO
    assert server.commands[-1] == "QUIT"


async def test_tls_from_the_first_byte_and_a_certificate_that_ends_soon(
    check: Check, authority: Authority
) -> None:
    tls = authority.server("127.0.0.1", made=datetime.now(UTC) - timedelta(days=DAYS - 5))
    async with running(SmtpServer(tls, implicit_tls=True, login=LOGIN)) as server:
        check.set(server, security="tls")
        status, lines = await check.run()
        assert status == 0
        assert lines[2].endswith("(4 days, renew it)")


async def test_what_the_settings_leave_out_is_said(check: Check) -> None:
    async with running(SmtpServer()) as server:
        check.set(server, security="none", username="", password="")
        status, lines = await check.run()
        assert status == 0
        assert lines[2:4] == [
            "– TLS       SMTP_SECURITY=none: everything is sent in plain text",
            "– login     SMTP_USERNAME is not set",
        ]


async def test_no_such_host(check: Check, server: SmtpServer) -> None:
    check.set(server, host="no-such-host.invalid")
    _, advice = await check.fails_at("resolve")
    assert "SMTP_HOST" in advice


async def test_nobody_listens(check: Check, server: SmtpServer) -> None:
    check.set(server, port="1")
    said, advice = await check.fails_at("connect")
    assert "Error connecting to 127.0.0.1 on port 1" in said
    assert "SMTP_PORT" in advice


async def test_the_two_modes_of_tls_mistaken_for_each_other(
    check: Check, server: SmtpServer, authority: Authority
) -> None:
    check.set(server, security="tls")
    _, advice = await check.fails_at("TLS")
    assert "SMTP_SECURITY=starttls" in advice
    tls = authority.server("127.0.0.1")
    async with running(SmtpServer(tls, implicit_tls=True)) as implicit:
        check.set(implicit, security="starttls", timeout="0.3")
        _, advice = await check.fails_at("connect")
        assert "SMTP_SECURITY=tls" in advice


async def test_starttls_is_not_offered(check: Check, server: SmtpServer) -> None:
    server.offers_starttls = False
    check.set(server)
    said, advice = await check.fails_at("TLS")
    assert "no STARTTLS" in said
    assert "587" in advice


@pytest.mark.parametrize(
    ("names", "age", "own", "said", "advice"),
    [
        (("mail.example.com",), 0, True, "mismatch", "SMTP_HOST"),
        (("127.0.0.1",), DAYS + 1, True, "expired", "renew"),
        (("127.0.0.1",), -2, True, "not yet valid", "clock"),
        (("127.0.0.1",), 0, False, "issuer", "SMTP_CA_FILE"),
    ],
)
async def test_a_certificate_that_does_not_hold(
    check: Check,
    authority: Authority,
    tmp_path: Path,
    names: tuple[str, ...],
    age: int,
    own: bool,
    said: str,
    advice: str,
) -> None:
    issuer = authority if own else Authority(tmp_path)
    tls = issuer.server(*names, made=datetime.now(UTC) - timedelta(days=age))
    async with running(SmtpServer(tls, login=LOGIN)) as server:
        check.set(server)
        wrong, mend = await check.fails_at("TLS")
        assert said in wrong
        assert advice in mend
    async with running(SmtpServer(tls, implicit_tls=True, login=LOGIN)) as server:
        check.set(server, security="tls")
        assert (await check.fails_at("TLS"))[1] == mend


async def test_the_login_is_refused_or_not_offered(check: Check, server: SmtpServer) -> None:
    check.set(server, password=f"{LOGIN[1]}-not")
    said, advice = await check.fails_at("login")
    assert said == "535 5.7.8 bad username or password"
    assert "SMTP_PASSWORD" in advice
    server.login = None
    _, advice = await check.fails_at("login")
    assert "Unset SMTP_USERNAME" in advice


async def test_a_login_is_wanted_and_none_is_set(check: Check, server: SmtpServer) -> None:
    check.set(server, username="", password="")
    said, advice = await check.fails_at("sender")
    assert said == "530 5.7.0 log in first"
    assert "set SMTP_USERNAME" in advice


@pytest.mark.parametrize(
    ("step", "name", "advice"),
    [("mail", "sender", "MAIL_FROM"), ("rcpt", "recipient", "relay"), ("end", "send", "SPF")],
)
async def test_the_mail_is_refused(
    check: Check, server: SmtpServer, step: Step, name: str, advice: str
) -> None:
    check.set(server)
    server.answer(step, "550 5.7.1 not allowed")
    said, mend = await check.fails_at(name)
    assert said == "550 5.7.1 not allowed"
    assert advice in mend
    server.calm()
    server.answer(step, "451 4.7.1 greylisted")
    assert "transient" in (await check.fails_at(name))[1]


@pytest.mark.parametrize("fault", [DROP, HANG])
async def test_a_server_that_drops_or_hangs(check: Check, server: SmtpServer, fault: str) -> None:
    check.set(server, timeout="0.5")
    server.answer("end", fault)
    said, _ = await check.fails_at("send")
    assert "onnection" in said or "EOF" in said or "Timed out" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SMTP_HOST": ""}, "SMTP_HOST"),
        ({"SMTP_PORT": "70000"}, "SMTP_PORT"),
        ({"SMTP_SECURITY": "none"}, "plain text"),
        ({"SMTP_PASSWORD": ""}, "SMTP_PASSWORD"),
        ({"MAIL_FROM": "Hub"}, "MAIL_FROM"),
    ],
)
async def test_settings_that_can_not_work_are_named(
    check: Check, server: SmtpServer, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], said: str
) -> None:
    check.set(server)
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=said):
        await check.run()
    assert not server.connections


@pytest.mark.parametrize("to", ["you", "you@example.com, me@example.com", "người@example.com"])
async def test_an_address_that_will_not_do_is_refused(check: Check, server: SmtpServer, to: str) -> None:
    check.set(server)
    with pytest.raises(ConfigurationError, match="--to"):
        await mail_test.run(to)


async def test_the_command(check: Check, server: SmtpServer, tmp_path: Path) -> None:
    check.set(server)

    async def command() -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "run.py"),
            *("mail", "test", "--to", TO),
            cwd=tmp_path,
            env={**os.environ, "PYTHONWARNINGS": "error"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    status, said = await command()
    assert status == 0
    assert said.count("✓") == len(STEPS)
    server.answer("rcpt", "550 5.1.1 no such user")
    status, said = await command()
    assert status == 1
    assert "✗ recipient 550 5.1.1 no such user" in said
    assert LOGIN[1] not in said


API_SETTINGS = {
    "sendgrid": {"SENDGRID_API_KEY": KEY},
    "mailgun": {"MAILGUN_API_KEY": KEY, "MAILGUN_DOMAIN": DOMAIN},
    "ses": {"SES_REGION": "eu-west-1", "SES_ACCESS_KEY_ID": SES_KEY, "SES_SECRET_ACCESS_KEY": KEY},
}


@pytest.mark.parametrize("kind", API_SETTINGS)
async def test_a_provider_with_an_api_is_tried_too(
    check: Check, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with run_mail_api(kind) as api:
        settings = {"EMAIL_PROVIDERS": kind, f"{kind.upper()}_ENDPOINT": api.address, **API_SETTINGS[kind]}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        status, lines = await check.run()
        assert (status, lines) == (0, [f"✓ send      {kind} took the mail as id-1"])
        assert [each.to for each in api.arrived] == [TO]
        api.fail(401, f'{{"message": "the key {KEY} is wrong"}}')
        status, (wrong, advice) = await check.run()
    assert status == 1
    assert wrong.startswith("✗ send      401")
    assert KEY not in wrong
    assert "MAIL_FROM" in advice


async def test_each_of_several_providers_is_tried(
    check: Check, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    check.set(server)
    monkeypatch.setenv("EMAIL_PROVIDERS", "sendgrid,smtp")
    monkeypatch.setenv("SENDGRID_API_KEY", KEY)
    monkeypatch.setenv("SENDGRID_ENDPOINT", "http://127.0.0.1:9")
    status, lines = await check.run()
    assert status == 1
    assert [line.split()[1] for line in lines if line[0] in "✓✗"] == ["send", *STEPS]
    assert [line for line in lines if line.endswith(":")] == ["sendgrid:", "smtp:"]
