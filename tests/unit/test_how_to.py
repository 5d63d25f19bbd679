"""The guides: each sample in docs/how-to does what its page says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from app.outbox.email.smtp import Server
from app.settings import Settings, load_section
from app.settings.channels import SmtpSettings

FOLDER = Path(__file__).parents[2] / "docs" / "how-to"
_ENV = re.compile(r"^```env\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def samples() -> list[Any]:
    """Each test in a page, as the reader would paste it. Other samples have to compile."""
    found = []
    for page in sorted(FOLDER.glob("*.md")):
        for code in _PYTHON.findall(page.read_text("utf-8")):
            compiled, namespace = compile(code, str(page), "exec"), dict[str, Any]()
            if "\ndef test_" in code or "\nasync def test_" in code:
                exec(compiled, namespace)
            tests = [value for name, value in namespace.items() if name.startswith("test_")]
            found += [pytest.param(test, id=f"{page.stem}-{test.__name__}") for test in tests]
    return found


@pytest.mark.parametrize("sample", samples())
async def test_a_sample_passes(sample: Any) -> None:
    result = sample()
    if inspect.isawaitable(result):
        await result


@pytest.mark.parametrize("block", _ENV.findall((FOLDER / "mail-providers.md").read_text("utf-8")))
def test_the_settings_of_a_mail_provider_are_accepted(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {variable.name for variable in Settings.variables()}
    for name in known:
        monkeypatch.delenv(name, raising=False)
    dotenv = tmp_path / ".env"
    dotenv.write_text(block)
    settings = load_section(SmtpSettings, _env_file=dotenv)
    given = dict(line.split("=", 1) for line in block.splitlines())
    assert given.keys() <= known
    assert ",".join(settings.providers) == given.get("EMAIL_PROVIDERS", "smtp")
    assert settings.host == given.get("SMTP_HOST")
    assert str(settings.port) == given.get("SMTP_PORT", "587")
    assert (settings.port, settings.security) in {(587, "starttls"), (465, "tls"), (25, "none")}
    if settings.password is not None:
        assert settings.password.get_secret_value() == given["SMTP_PASSWORD"].strip("'")
    assert str(Server(settings).sender.mailbox) in given["MAIL_FROM"]
