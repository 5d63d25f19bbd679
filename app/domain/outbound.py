"""Where the hub may send requests that others ask it for: public HTTPS URLs, unless an operator allows more.

A name can lead anywhere, so `is_public` is asked again for each address that it resolves to. No I/O.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

MAX_URL_CHARS = 2000
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")
_URL = re.compile(r"[!-~]+")
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".home.arpa", ".intranet", ".lan")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A host whose last label is one is an IPv4 address in some spelling (WHATWG URL), such as 127.1."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also the IPv4 address that an IPv6 one stands for.

    Raises `ValueError` if it is no IP address.
    """
    ip = ip_address(address.partition("%")[0])
    while isinstance(ip, IPv6Address) and (embedded := _embedded(ip)) is not None:
        ip = embedded
    site_local = isinstance(ip, IPv6Address) and ip.is_site_local
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or site_local)


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    if ip in _NAT64 or ip in _IPV4_COMPATIBLE:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    teredo = ip.teredo
    return ip.ipv4_mapped or ip.sixtofour or (teredo and teredo[1])


def https_url(url: str, *, allow_private: bool = False) -> str:
    """Check a URL that the hub is to send requests to.

    With `allow_private` it may name a private address or a local host.

    Raises `ValueError`, whose text doesn't repeat the URL: it may be a secret.
    """
    if len(url) > MAX_URL_CHARS or not _URL.fullmatch(url) or "\\" in url:
        raise ValueError(f"it must be a URL of at most {MAX_URL_CHARS} characters of ASCII, without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("it must be a URL with a valid host and port") from None
    if parts.scheme != "https" or not host or port == 0:
        raise ValueError("it must be an https:// URL with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must have no user name or password")
    if parts.fragment:
        raise ValueError("it must have no fragment")
    if not allow_private and not _may_be_public(host.rstrip(".")):
        raise ValueError("its host must be a public one")
    return url


def origin(url: str) -> str:
    """Scheme, host and port of a URL, as the `aud` of a VAPID token has them (RFC 6454)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, 443) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _may_be_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:
        pass
    last = host.rpartition(".")[2]
    if "." not in host or _NUMERIC_LABEL.fullmatch(last):
        return False
    return not f".{host}".endswith(_LOCAL_NAMES)
