"""AWS Signature Version 4 of a request (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


class AwsKey(NamedTuple):
    """An access key, and where it is used."""

    access_key_id: str
    secret_access_key: str
    region: str
    service: str
    session_token: str | None = None


def signed_headers(
    key: AwsKey, method: str, url: str, headers: Mapping[str, str], body: bytes, now: datetime
) -> dict[str, str]:
    """`headers` with those that sign the request: Host, X-Amz-Date, Authorization, and the session's token.

    The path of `url` is without a query and needs no encoding; `now` is in UTC.
    """
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "Host": parts.netloc, "X-Amz-Date": stamp}
    if key.session_token is not None:
        sent["X-Amz-Security-Token"] = key.session_token
    canonical = sorted((name.lower(), " ".join(value.split())) for name, value in sent.items())
    names = ";".join(name for name, _ in canonical)
    request = "\n".join(
        (
            method,
            quote(parts.path or "/", safe="/-_.~"),
            parts.query,
            *(f"{name}:{value}" for name, value in canonical),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{stamp[:8]}/{key.region}/{key.service}/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    signature = hmac.new(_key(key, stamp[:8]), f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}".encode(), "sha256")
    return {
        **sent,
        "Authorization": f"{ALGORITHM} Credential={key.access_key_id}/{scope}, SignedHeaders={names}, "
        f"Signature={signature.hexdigest()}",
    }


def _key(key: AwsKey, date: str) -> bytes:
    derived = f"AWS4{key.secret_access_key}".encode()
    for part in (date, key.region, key.service, "aws4_request"):
        derived = hmac.digest(derived, part.encode(), "sha256")
    return derived
