"""Which pages may open a socket, and how the list of them is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.auth.origins import origin_allowed
from app.dev.mail import MailCatcher
from app.dev.run import ONLY_THESE, dev_settings
from app.dev.services import Services
from app.settings import load
from app.settings.origins import serialised_origin

ALLOWED = ("https://app.example.com", "http://localhost:8000")


@pytest.mark.parametrize("origin", [None, *ALLOWED, "HTTPS://APP.Example.com", "https://app.example.com:443"])
def test_clients_without_an_origin_and_the_listed_pages_may(origin: str | None) -> None:
    assert origin_allowed(origin, ALLOWED)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "*",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com/",
        "https://app.example.com.evil.example",
        "https://evil.example/https://app.example.com",
        "https://x.app.example.com",
        "https://app.example.com, https://app.example.com",
        "http://localhost",
        "https://app.example.com:80",
        "https://app.example.com:0443",
        ":443",
        "https://:443",
        "https://\u212app.example.com",
        "https://app.example.com\udce9",
    ],
)
def test_any_other_origin_may_not(origin: str) -> None:
    assert not origin_allowed(origin, ALLOWED)


def test_without_a_list_no_page_may() -> None:
    assert not origin_allowed(ALLOWED[0], ())
    assert origin_allowed(None, ())


# As Chromium, Firefox and Safari send them.
WRITTEN = {
    "https://App.Example.com:443/": "https://app.example.com",
    "http://app.example.com:80": "http://app.example.com",
    "http://app.example.com:443": "http://app.example.com:443",
    "http://localhost:03000": "http://localhost:3000",
    "https://münchen.example": "https://xn--mnchen-3ya.example",
    "https://MÜNCHEN.example:8443": "https://xn--mnchen-3ya.example:8443",
    "https://mu\u0308nchen.example": "https://xn--mnchen-3ya.example",
    "https://faß.example": "https://xn--fa-hia.example",
    "https://пример.рф": "https://xn--e1afmkfd.xn--p1ai",
    "https://例え。テスト": "https://xn--r8jz45g.xn--zckzah",
    "https://☕.example": "https://xn--53h.example",
    "https://xn--mnchen-3ya.example": "https://xn--mnchen-3ya.example",
    "https://my_app.example.com": "https://my_app.example.com",
    "http://[::1]:3000": "http://[::1]:3000",
    "http://[0:0:0:0:0:0:0:1]": "http://[::1]",
    "https://[2001:DB8:0:0:1::1]:443": "https://[2001:db8::1:0:0:1]",
    "http://[::ffff:10.0.0.1]:8080": "http://[::ffff:a00:1]:8080",
    "http://192.168.1.20:5173": "http://192.168.1.20:5173",
    "http://127.1": "http://127.0.0.1",
    "http://0x7f.0.0.1": "http://127.0.0.1",
    "http://localhost:*": "http://localhost:*",
    "http://LOCALHOST:*/": "http://localhost:*",
    "http://[::1]:*": "http://[::1]:*",
    "capacitor://localhost": "capacitor://localhost",
    "Capacitor://LocalHost/": "capacitor://localhost",
    "ionic://localhost": "ionic://localhost",
    "tauri://localhost": "tauri://localhost",
    "http://tauri.localhost": "http://tauri.localhost",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop": "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://a1b2c3d4-0000-4000-8000-000000000000": "moz-extension://a1b2c3d4-0000-4000-8000-000000000000",
    "app://.": "app://.",
    "app://obsidian.md": "app://obsidian.md",
    "app://": "app://",
    "file://": "file://",
    "file:///": "file://",
    "vscode-webview://1a2b3c": "vscode-webview://1a2b3c",
    "custom.scheme+1://host:1234": "custom.scheme+1://host:1234",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_an_origin_is_kept_as_browsers_send_it(text: str) -> None:
    assert serialised_origin(text) == WRITTEN[text]
    assert serialised_origin(WRITTEN[text]) == WRITTEN[text]
    if "*" not in text:
        assert origin_allowed(WRITTEN[text], (serialised_origin(text),))


@pytest.mark.parametrize(
    "text",
    [
        *("null", "NULL", "*", "", "https://", "https:///", "https:app.example.com", "//app.example.com"),
        *("app.example.com", "localhost:3000", "capacitor:localhost", "1app://x", "a b://x"),
        *(
            "http://example.com:*",
            "http://*:*",
            "https://localhost:*",
            "http://localhost.example.com:*",
            "https://*.example.com",
            "capacitor://*",
            "https://app.example.com/path",
            "https://app.example.com//",
        ),
        *("https://app.example.com?x", "https://app.example.com#x", "https://app.example.com:99999"),
        *("https://app.example.com:port", "https://[::1", "https://[::1]x", "https://[fe80::1%eth0]"),
        *("https://1.2.3.4.5", "https://256.1.1.1", "https://a b.example", "https://a\u2100b.example"),
        *(
            "wss://app.example.com",
            "ws://localhost",
            "javascript://x",
            "https://\u202eexample",
            "http://a\nb",
        ),
    ],
    ids=ascii,
)
def test_what_no_page_can_have_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        serialised_origin(text)


def test_any_port_of_this_machine_may_be_allowed() -> None:
    allowed = ("http://localhost:*", "http://[::1]:*")
    for origin in ("http://localhost", "http://localhost:5173", "http://LOCALHOST:80", "http://[::1]:3000"):
        assert origin_allowed(origin, allowed), origin
    for origin in (
        *("http://127.0.0.1:3000", "https://localhost:5173", "http://localhost.evil.example:5173", "null"),
        *(
            "http://localhost:5173.evil.example",
            "http://localhost:*",
            "http://localhost:x",
            "http://localhost:",
        ),
    ):
        assert not origin_allowed(origin, allowed), origin


def test_make_run_allows_pages_of_this_machine_and_those_that_are_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://app.example.com, capacitor://localhost")
    services = Services("postgresql://127.0.0.1/hub", "redis://127.0.0.1", "127.0.0.1:9092", ())
    settings = load(**ONLY_THESE, **dev_settings(services, MailCatcher(2525, tmp_path), 8000, tmp_path))
    for origin in (
        "http://localhost:8000",
        "http://127.0.0.1:5173",
        "https://app.example.com",
        "capacitor://localhost",
    ):
        assert origin_allowed(origin, settings.websocket.allowed_origins), origin
        assert origin_allowed(origin, settings.http.allowed_origins), origin
    assert not origin_allowed("https://evil.example", settings.websocket.allowed_origins)
