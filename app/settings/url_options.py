"""Options in the query of a URL: what would be without effect, or fail at each connection, is refused."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from app.settings.section import URL_ENCODING

_NUMBER = (r"[0-9]{1,9}", "a whole number")
_SECONDS = (r"[0-9]{1,9}(\.[0-9]{1,9})?", "a number of seconds")
_YES_OR_NO = (r"(?i)true|false|yes|no|1|0", "true or false")
_NAME = (".+", "a name")
_AUTH = (r"(?i)plain|amqplain|external", "plain, amqplain or external")
_PROTOCOL = (r"[23]", "2 or 3")


class UrlOptions(NamedTuple):
    """What the library of a broker reads."""

    values: dict[str, tuple[str, str]]
    """Options without TLS, with the pattern of their values, and its words."""
    scheme: str
    """Of a connection with TLS."""
    certificate: str
    key: str
    files: frozenset[str]
    """Options that name a file or a folder."""
    others: frozenset[str]


AMQP_OPTIONS = UrlOptions(
    {"heartbeat": _NUMBER, "timeout": _NUMBER, "name": _NAME, "auth": _AUTH},
    "amqps",
    "certfile",
    "keyfile",
    frozenset({"cafile", "capath", "certfile", "keyfile"}),
    frozenset({"cadata", "no_verify_ssl"}),
)
REDIS_OPTIONS = UrlOptions(
    {
        "db": _NUMBER,
        "protocol": _PROTOCOL,
        "client_name": _NAME,
        "health_check_interval": _NUMBER,
        "socket_timeout": _SECONDS,
        "socket_connect_timeout": _SECONDS,
        "socket_keepalive": _YES_OR_NO,
    },
    "rediss",
    "ssl_certfile",
    "ssl_keyfile",
    frozenset({"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"}),
    frozenset(
        {
            "ssl_ca_data",
            "ssl_cert_reqs",
            "ssl_check_hostname",
            "ssl_ciphers",
            "ssl_min_version",
            "ssl_password",
        }
    ),
)


def check_url_options(url: str, options: UrlOptions) -> None:
    """Raises `ValueError`, which names the option and repeats neither the URL nor other values."""
    parts = urlsplit(url)
    tls = options.files | options.others
    known = sorted(tls | options.values.keys())
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "@" in parts.query:  # what looks like options is a piece of a password
        raise ValueError(f"its query holds an @; {URL_ENCODING}")
    for name in given.keys() - set(known):
        nearest = difflib.get_close_matches(name.lower(), known, 1, 0) or known
        raise ValueError(f"?{name[:50]}= is no option of this URL; the nearest one is {nearest[0]}")
    for name, (pattern, words) in options.values.items():
        if name in given and not re.fullmatch(pattern, given[name]):
            raise ValueError(f"?{name}= must be {words}")
    used = sorted(given.keys() & tls)
    if used and parts.scheme != options.scheme:
        raise ValueError(f"?{used[0]}= is without effect with {parts.scheme}://; use {options.scheme}://")
    for name in used:
        if name in options.files and not Path(given[name]).exists():
            raise ValueError(f"?{name}= names a file that doesn't exist or can't be read")
    if options.key in given and options.certificate not in given:
        raise ValueError(f"?{options.key}= needs ?{options.certificate}=, the certificate of the key")
