"""Origins of pages, in the form in which browsers send them."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv6Address
from urllib.parse import SplitResult, urlsplit

import idna

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NEVER_SENT = ("ws", "wss", "blob", "data", "javascript", "about")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_NAME = re.compile(r"[a-z0-9._-]+")
_OPAQUE_HOST = re.compile(r"[a-z0-9._~!$&'()+,;=-]*")
_ANY_PORT = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\]):\*/?")
_BRACKETED = re.compile(r"\[([^\]]*)\](?::[0-9]*)?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
EXAMPLE = "write each as https://app.example.com, without wildcards"


def serialised_origin(text: str) -> str:
    """The origin as browsers serialise it (RFC 6454, 6.2; WHATWG URL).

    It is in lower case, a name in ASCII (IDNA), an IPv6 address in brackets and shortened, without a default
    port. Schemes of apps are accepted, and
    `http://localhost:*` for any port of this machine. Raises `ValueError`, with what is accepted.
    """
    text = text.strip()
    if text.lower() == "null":
        raise ValueError(
            "'null' is not an origin: every sandboxed frame of every site sends it. Serve the page over HTTP "
            "or from a custom scheme"
        )
    if _ANY_PORT.fullmatch(text.lower()):
        return text.lower().rstrip("/")
    parts = _parts(text)
    if parts is None:
        raise ValueError(f"{text.rpartition('@')[2]!r} is not an origin; {EXAMPLE}")
    try:
        host, port = _host(parts), parts.port
    except ValueError as error:  # idna's errors are subclasses
        raise ValueError(f"{text.rpartition('@')[2]!r} is not an origin; {EXAMPLE}") from error
    shown = "" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def _parts(text: str) -> SplitResult | None:
    """The parts of an origin; None where the text has others or lacks the scheme."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    empty = parts.path in ("", "/") and not parts.query and not parts.fragment and "*" not in text
    named = _SCHEME.fullmatch(parts.scheme) and parts.scheme not in _NEVER_SENT
    begins = text[: len(parts.scheme) + 3].lower() == f"{parts.scheme}://"
    return parts if empty and named and begins and text.isprintable() else None


def _host(parts: SplitResult) -> str:
    """The host as browsers serialise it. Raises `ValueError`."""
    given = parts.netloc.rpartition("@")[2]
    if bracketed := _BRACKETED.fullmatch(given):
        return f"[{_ipv6(bracketed[1])}]"
    name = given.partition(":")[0].lower()
    if parts.scheme not in _DEFAULT_PORTS:
        return _matching(_OPAQUE_HOST, name)
    name = _matching(_NAME, name if name.isascii() else _to_ascii(name))
    if _NUMERIC_LABEL.fullmatch(name.removesuffix(".").rpartition(".")[2]):
        return _ipv4(name.removesuffix("."))
    return name


def _to_ascii(name: str) -> str:
    """As UTS 46 says for names in URLs, which has fewer rules than `idna.encode`: emoji are names, too."""
    mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
    labels = (
        label if label.isascii() else f"xn--{label.encode('punycode').decode()}"
        for label in mapped.split(".")
    )
    return ".".join(labels)


def _ipv4(name: str) -> str:
    try:
        return socket.inet_ntoa(socket.inet_aton(name))  # "127.1" and "0x7f.1", too
    except OSError:
        raise ValueError("not an IPv4 address") from None


def _ipv6(text: str) -> str:
    if "%" in text:
        raise ValueError("an origin has no zone")
    address = IPv6Address(text)
    if address.ipv4_mapped is None:
        return address.compressed
    mapped = int(address.ipv4_mapped)
    return f"::ffff:{mapped >> 16:x}:{mapped & 0xFFFF:x}"


def _matching(pattern: re.Pattern[str], host: str) -> str:
    if not pattern.fullmatch(host):
        raise ValueError("not a host")
    return host
