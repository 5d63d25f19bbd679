"""What the docs tell people to type: it does what they say, on the hub that `make run` starts."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.dev import demo
from app.dev.transports import service_token
from tests.e2e.demo.hub import DevHub
from tests.support.hub import NO_TLS, REST, ROOT, eventually

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXPECTED = {
    "README.md": ["accepted", "accepted"],
    "docs/how-to/sending.md": [
        *["accepted"] * 5,  # a notification, one with details, an event, a template, a mail
        *["accepted"] * 2,  # of many
        *["accepted"] * 2,  # the same again
        *["accepted", "scheduled", "cancelled"],
        *["accepted"] * 3,  # a test on each channel
    ],
    "docs/how-to/preferences.md": ["pending"],  # an address
}


def blocks(document: str, language: str, holds: str) -> str:
    """All code of this language in a document that holds this, one block after the other."""
    text = (ROOT / document).read_text("utf-8")
    found = [code for name, code in BLOCK.findall(text) if name == language and holds in code]
    assert found, f"no {language} with {holds} in {document}"
    return "\n".join(found)


async def run(hub: DevHub, *command: str, **environment: str) -> str:
    """Run it as a person would who has the hub's folder before them; what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, "HUB_HOME": str(hub.home), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        printed, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, (printed + complaints).decode()
    return printed.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("document", EXPECTED)
async def test_what_is_to_be_typed_into_a_shell_works(hub: DevHub, tmp_path: Path, document: str) -> None:
    (tmp_path / ".curlrc").write_text('silent\nshow-error\nfail-with-body\nwrite-out "\\n"\n')
    script = blocks(document, "sh", "AUTH").replace("http://localhost:8000", hub.address)
    script = "set -e\n" + script.replace(".venv/bin/python", sys.executable)
    printed = await run(hub, "bash", "-c", script, CURL_HOME=str(tmp_path))
    assert re.findall(r'"status":"(\w+)"', printed) == EXPECTED[document], printed


async def test_rabbitmq_publishers_stay_as_they_are(hub: DevHub) -> None:
    url = hub.dev["rabbitmq"]
    if url is None:
        pytest.skip("no RabbitMQ: install rabbitmq-server")
    known = len(await mails(hub))
    await run(
        hub,
        sys.executable,
        "-c",
        blocks("docs/how-to/coming-from.md", "python", "aio_pika"),
        RABBITMQ_URL=url,
    )

    async def mailed() -> bool:
        found = await mails(hub)
        return len(found) > known and "BOOK-123" in found[0]["text"]

    await eventually(mailed, "the booking is mailed")


async def test_redis_publishers_stay_as_they_are_and_the_stream_doubles_nothing(hub: DevHub) -> None:
    before = await hub.events()
    known = len(await hub.list(demo.MAI))
    code = blocks("docs/how-to/coming-from.md", "python", "import redis")
    await run(hub, sys.executable, "-c", code, REDIS_EVENTS_URL=hub.dev["redis_events"])

    async def both_came() -> bool:
        new = await hub.events()
        new.subtract(before)
        return new["redis stored"] + new["redis duplicate"] == 2

    await eventually(both_came, "the alert came by the channel and by the stream")
    assert len(await hub.list(demo.MAI)) == known + 1


async def test_a_mail_by_http_is_followed_to_its_delivery(hub: DevHub) -> None:
    token = service_token(hub.dev["jwt"]["secret"])
    code = blocks("docs/how-to/coming-from.md", "python", "httpx") + "\nprint(follow)"
    path = (await run(hub, sys.executable, "-c", code, HUB=hub.address + REST, TOKEN=token)).strip()
    async with httpx.AsyncClient(base_url=hub.address, verify=NO_TLS) as client:

        async def delivered() -> bool:
            answer = await client.get(path, headers={"Authorization": f"Bearer {token}"})
            return [each["status"] for each in answer.json()["deliveries"]] == ["sent"]

        await eventually(delivered, "the mail is sent")


async def mails(hub: DevHub) -> list[dict[str, Any]]:
    """The mail that was caught, newest first."""
    async with httpx.AsyncClient(base_url=hub.address, follow_redirects=True, verify=NO_TLS) as client:
        found: list[dict[str, Any]] = (await client.get("/dev/mails/")).json()
    return found
