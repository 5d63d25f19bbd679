"""TLS options in the query of a URL: what would be without effect, or fail at each connection, is refused."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

_ABOUT_TLS = re.compile(r"(?i)ssl|tls|cert|verify|^ca|key")


class TlsOptions(NamedTuple):
    """What the library of a broker reads."""

    scheme: str
    """Of a connection with TLS."""
    certificate: str
    key: str
    files: frozenset[str]
    """Options that name a file or a folder."""
    others: frozenset[str]


AMQP_TLS = TlsOptions(
    "amqps",
    "certfile",
    "keyfile",
    frozenset({"cafile", "capath", "certfile", "keyfile"}),
    frozenset({"cadata", "no_verify_ssl"}),
)
REDIS_TLS = TlsOptions(
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


def check_tls_options(url: str, options: TlsOptions) -> None:
    """Raises `ValueError`, which names the option and repeats neither the URL nor other values."""
    parts = urlsplit(url)
    known = options.files | options.others
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in given.keys() - known:
        if _ABOUT_TLS.search(name):
            nearest = difflib.get_close_matches(name.lower(), sorted(known), 1, 0) or sorted(known)
            raise ValueError(f"?{name[:50]}= is no option of this URL; the nearest one is {nearest[0]}")
    used = sorted(given.keys() & known)
    if used and parts.scheme != options.scheme:
        raise ValueError(f"?{used[0]}= is without effect with {parts.scheme}://; use {options.scheme}://")
    for name in used:
        if name in options.files and not Path(given[name]).exists():
            raise ValueError(f"?{name}= names a file that doesn't exist or can't be read")
    if options.key in given and options.certificate not in given:
        raise ValueError(f"?{options.key}= needs ?{options.certificate}=, the certificate of the key")
