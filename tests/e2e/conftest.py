"""What several end-to-end tests run on, besides all that every test can have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from app.dev.mail import MailCatcher, run_mail
from tests.support.axe import Axe
from tests.support.browser import CHROMIUM, run_browser


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailCatcher]:
    """A mail server that keeps what it is sent."""
    with run_mail(tmp_path_factory.mktemp("mail")) as running:
        yield running


@pytest.fixture(scope="session")
def axe(package: Path) -> Axe:
    return Axe(package)


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One for all; each test has a separate context, which shares nothing with others."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: the browser tests are skipped")
    async with run_browser() as started:
        yield started
