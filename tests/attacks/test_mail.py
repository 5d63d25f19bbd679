"""Mail that adds headers or addresses, and texts that want to be templates or HTML.

What the renderer makes of any text is tested in tests/unit/test_mail_rendering.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.dev.mail import MailCatcher
from tests.support.hub import NO_TLS, REST, Hub, added, eventually, new_user, receive, running_hub, token
from tests.support.mailbox import mailed, mails, new_address, text_of, with_mail

VICTIM = "victim@example.com"
BREAKS = ("\r\n", "\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029")
ADDRESSES = [
    *(f"user@example.com{end}Bcc: {VICTIM}" for end in BREAKS),
    *(f"user@example.com{end}" for end in BREAKS),
    *(f"{begin}user@example.com" for begin in BREAKS),
    f"user{BREAKS[0]}RCPT TO:<{VICTIM}>@example.com",
    f"user@example.com,{VICTIM}",
    f"user@example.com;{VICTIM}",
    f"user@example.com {VICTIM}",
    f"<user@example.com> <{VICTIM}>",
    f"user@example.com>\r\nRCPT TO:<{VICTIM}",
    f'"Name" <{VICTIM}>',
    "user@example.com\0",
    "user@[127.0.0.1]",
    "user@localhost..",
    "user%victim.example@",
    "@example.com",
]
TEMPLATES = ("{{ 7 * 191 }}", "{% raw %}", "{{ brand.__class__.__mro__ }}", "${7*191}", "%(title)s %s", "{0}")
HTML = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "</td></tr></table><form action=https://evil.example>",
    '"><a href="javascript:alert(1)">x</a>',
    "<style>*{display:none}</style>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
)
HOSTILE = (*TEMPLATES, *HTML)
ALLOWED_SCHEMES = ("https://", "http://", "mailto:")


def files_in(home: Path) -> Path:
    """A folder with one file that may be attached, and some beside it that may not."""
    folder, others = home / "files", home / "files-of-others"
    for each in (folder, others):
        each.mkdir()
    (folder / "a.txt").write_text("hello")
    for secret in (home / "secret.txt", others / "secret.txt"):
        secret.write_text("for nobody")
    (folder / "link.txt").symlink_to(home / "secret.txt")
    (folder / "linked").symlink_to(others)
    return folder


@pytest_asyncio.fixture(scope="module")
async def hub(
    environment: dict[str, str], mailbox: MailCatcher, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    home = tmp_path_factory.mktemp("mail")
    own = {**with_mail(environment, mailbox), "ATTACHMENTS_DIR": str(files_in(home))}
    async with running_hub(own, home / "log") as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def service(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {token('kitchen-service', scope='notifications:send')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as client:
        yield client


def message(**changes: Any) -> dict[str, Any]:
    return {"type": "email", "to": "user@example.com", "title": "Hello", "message": "Hi.", **changes}


async def refused(service: httpx.AsyncClient, body: dict[str, Any], path: str = "/notifications") -> None:
    answer = await service.post(path, json=body)
    assert answer.status_code == 400, (body, answer.text)


async def test_an_address_that_is_more_than_one_address_is_refused(
    service: httpx.AsyncClient, mailbox: MailCatcher
) -> None:
    for address in ADDRESSES:
        await refused(service, message(to=address))
        await refused(service, {"email": address, "subject": "Hello", "text": "Hi."}, "/notify/email")
    assert mails(mailbox, VICTIM) == []


async def test_such_an_address_is_no_address_of_a_profile(hub: Hub) -> None:
    user = new_user()
    async with hub.client(user) as owner:
        for address in ADDRESSES:
            answer = await owner.put(f"/preferences/users/{user}/profile", json={"email": address})
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_body"), repr(address)
        hours = {"quiet_from": "22:00\n", "quiet_until": "06:00", "time_zone": "Asia/Ho_Chi_Minh"}
        answer = await owner.put(f"/preferences/users/{user}/profile", json=hours)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")


async def test_such_an_address_in_an_event_is_dead_lettered(hub: Hub, mailbox: MailCatcher) -> None:
    """Be it a booking or a code that is to go there."""
    booking = {"event_type": "booking.confirmed", "booking_id": "B", "movie_title": "M", "showtime": "now"}
    booking |= {"seats": ["A1"], "total_amount": 1.0}  # type: ignore[dict-item]
    topic = hub.environment["REGISTRATION_EVENTS_TOPIC"]
    some = [address for address in ADDRESSES if "\r" in address or "\n" in address]
    await hub.publish(*({**booking, "user_email": address} for address in some))
    codes = [{"email": new_address(), "otp_code": "482913\n", "action": "register"}]
    codes += [{"email": address, "otp_code": "482913", "action": "register"} for address in some]
    await hub.publish(*codes, topic=topic)
    last = new_address()
    await hub.publish({"email": last, "otp_code": "482913", "action": "register"}, topic=topic)
    await mailed(mailbox, last)
    await hub.publish({**booking, "user_email": last})
    await mailed(mailbox, last, 2)
    assert len(await hub.records(f"{hub.topic}.dlq")) == len(some)
    assert len(await hub.records(f"{topic}.dlq")) == len(codes)
    assert mails(mailbox, VICTIM) == []


@pytest.mark.parametrize("end", BREAKS, ids=ascii)
async def test_a_subject_of_more_than_one_line_is_refused(service: httpx.AsyncClient, end: str) -> None:
    for subject in (f"Hello{end}Bcc: {VICTIM}", f"Hello{end}{end}<html>", f"{end}Hello", f"Hello{end}"):
        await refused(service, message(title=subject))
        await refused(
            service, {"email": "user@example.com", "subject": subject, "text": "Hi."}, "/notify/email"
        )


@pytest.mark.parametrize("end", BREAKS, ids=ascii)
async def test_an_attachments_name_and_type_add_no_header(
    service: httpx.AsyncClient, mailbox: MailCatcher, end: str
) -> None:
    for more in (
        {"name": f"a.txt{end}Bcc: {VICTIM}"},
        {"name": "a.txt", "content_type": f"text/plain{end}Bcc: {VICTIM}"},
    ):
        address, attachment = new_address(), {"content": "aGVsbG8=", **more}
        answer = await service.post("/notifications", json=message(to=address, attachments=[attachment]))
        assert answer.status_code == 202, answer.text
        (mail,) = await mailed(mailbox, address)
        for part in mail.walk():
            assert part["Bcc"] is None
            assert set(part.keys()) <= PART_HEADERS | MAIL_HEADERS, part.keys()


PART_HEADERS = {"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "MIME-Version"}
MAIL_HEADERS = {
    "Message-ID",
    "Date",
    "From",
    "To",
    "Subject",
    "Auto-Submitted",
    "X-Peer",
    "X-MailFrom",
    "X-RcptTo",
}


@pytest.mark.parametrize("header", ["From", "Bcc", "Reply-To", "Message-ID"])
async def test_no_field_sets_a_header(service: httpx.AsyncClient, header: str) -> None:
    body = {"email": "user@example.com", "subject": "Hello", "text": "Hi."}
    for name in (header, header.lower(), "headers"):
        await refused(service, {**body, name: VICTIM}, "/notify/email")


class Tags(HTMLParser):
    """What a mail program would make of a mail."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.dangerous: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "form", "iframe", "object", "embed", "base", "svg", "math"):
            self.dangerous.append(tag)
        for name, value in attrs:
            link = name in ("href", "src", "action", "background")
            if name.startswith("on") or (link and not (value or "").startswith(ALLOWED_SCHEMES)):
                self.dangerous.append(f"{tag} {name}={value}")


async def test_a_text_stays_text_in_mail_inbox_and_push(
    hub: Hub, service: httpx.AsyncClient, mailbox: MailCatcher
) -> None:
    user, address = new_user(), new_address()
    booking = {"event_type": "booking.confirmed", "user_email": address, "user_id": user, "locale": "en"}
    async with hub.socket(user) as socket:
        for hostile in HOSTILE:
            said = {"movie_title": hostile, "showtime": hostile, "seats": [hostile], "total_amount": 1.0}
            await hub.publish(added(user, hostile), {**booking, "booking_id": hostile, **said})
            for _ in range(2):
                assert hostile in (await receive(socket))["data"]["content"]
            plain = message(to=address, title=f"About {hostile}", message=hostile)
            for body in (plain, {**plain, "html": f"<p>{hostile}</p>"}):
                assert (await service.post("/notifications", json=body)).status_code == 202
    for mail in await mailed(mailbox, address, 3 * len(HOSTILE)):
        html = mail.get_body(("html",))
        assert html is not None
        assert Tags(html.get_content()).dangerous == []
        assert "1337" not in text_of(mail) + html.get_content() + mail["Subject"]
    async with hub.client(user) as owner:
        listed = (await owner.get(f"/notifications/users/{user}", headers={"Accept-Language": "en"})).json()
    assert len(listed) == 2 * len(HOSTILE)
    for hostile, two in zip(reversed(HOSTILE), batched(listed), strict=True):
        assert all(hostile in each["content"] for each in two)


def batched(listed: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Two by two."""
    for start in range(0, len(listed), 2):
        yield listed[start : start + 2]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../secret.txt",
        "a/../../secret.txt",
        "../files-of-others/secret.txt",
        "link.txt",
        "linked/secret.txt",
        "file:///etc/passwd",
        "\0",
        ".",
    ],
    ids=ascii,
)
async def test_no_file_outside_its_folder_is_attached(
    hub: Hub, service: httpx.AsyncClient, mailbox: MailCatcher, path: str
) -> None:
    address = new_address()
    answer = await service.post("/notifications", json=message(to=address, attachments=[{"path": path}]))
    if answer.status_code != 400:
        assert answer.status_code == 202

        async def given_up() -> bool:
            rows = await hub.rows("select status, error_code from deliveries where address = $1", address)
            return [tuple(row) for row in rows] == [("failed", "attachment")]

        await eventually(given_up, "the mail is given up for its attachment")
    assert mails(mailbox, address) == []


async def test_a_file_of_the_folder_is(service: httpx.AsyncClient, mailbox: MailCatcher) -> None:
    address = new_address()
    answer = await service.post("/notifications", json=message(to=address, attachments=[{"path": "a.txt"}]))
    assert answer.status_code == 202
    (mail,) = await mailed(mailbox, address)
    assert [part.get_filename() for part in mail.iter_attachments()] == ["a.txt"]


@pytest.mark.parametrize(
    "code", ["../../etc/passwd", "_layout.html", "otp_register", "plain.jinja", "{{7*191}}", ""]
)
async def test_no_other_file_is_a_template(service: httpx.AsyncClient, code: str) -> None:
    await refused(service, message(template_code=code))
