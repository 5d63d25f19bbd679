"""Sections of what clients reach: the server process, REST, the WebSocket endpoint, authentication."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from app.settings.jwt_keys import ALGORITHMS, MIN_SECRET_BYTES, VerificationKey, pem_keys
from app.settings.origins import serialised_origin
from app.settings.section import Bytes, CommaSeparated, Seconds, Section, WithShutdownGrace, lower


class ServerSettings(WithShutdownGrace):
    """The server process."""

    title: ClassVar = "Server"

    host: str = Field(
        default="127.0.0.1",
        validation_alias="HOST",
        description="Address that the hub listens on; 0.0.0.0 for all addresses.",
    )
    port: int = Field(
        default=8000, ge=1, le=65535, validation_alias="PORT", description="Port that the hub listens on."
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=256,
        validation_alias="WORKERS",
        description="Number of processes on this machine, at most one a core. Each process is a node. Any "
        "number of machines can serve one hub.",
    )
    proxies_count: int = Field(
        default=0,
        ge=0,
        validation_alias="PROXIES_COUNT",
        description="Number of proxies in front of the hub that append to X-Forwarded-For. 0 if clients "
        "connect directly.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = Field(
        default="info", validation_alias="LOG_LEVEL", description="Lowest level of messages that are logged."
    )


class WithAllowedOrigins(Section):
    """A section of a part that browsers call."""

    allowed_origins: CommaSeparated = Field(
        default=(),
        validation_alias="ALLOWED_ORIGINS",
        description="Origins of pages that may open a WebSocket and read REST responses (CORS), separated "
        "by commas, such as https://app.example.com,https://beta.example.com or capacitor://localhost. If "
        "unset, no page may open a WebSocket; clients that send no Origin header still can.",
    )

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(serialised_origin(origin) for origin in origins)


Envelope = Literal["none", "jsend"]
COMPAT_SERVICES = ("message-service", "mail-service", "in-app-service")
"""The services whose paths the hub can serve; `app.api.compat` has them."""
ALL_SERVICES = "all"


class HttpSettings(WithAllowedOrigins):
    """The REST API."""

    title: ClassVar = "REST"

    envelope: Envelope = Field(
        default="none",
        validation_alias="REST_ENVELOPE",
        description="Envelope around the answers of the calls that list, mark read and delete notifications, "
        "and around their errors: none (a bare list or object, and application/problem+json), or jsend "
        "(an object with status, message and data). The browser library needs none.",
    )
    compat_routes: CommaSeparated = Field(
        default=(),
        validation_alias="COMPAT_ROUTES",
        description="Services whose paths the hub serves beside its own, separated by commas: "
        "message-service (/notifications, /users/{id}/notifications), mail-service (/notify/email, "
        "/notify/bulk), in-app-service (/api/v1/notifications); or all.",
    )

    @field_validator("compat_routes")
    @classmethod
    def _check_compat_routes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = (*COMPAT_SERVICES, ALL_SERVICES)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"unknown service {', '.join(map(repr, unknown))}; known are {', '.join(known)}")
        return COMPAT_SERVICES if ALL_SERVICES in names else tuple(dict.fromkeys(names))

    wait: Seconds = Field(
        default=10.0,
        gt=0,
        le=25,
        validation_alias="HTTP_WAIT",
        description="Time that a request which publishes events waits for Postgres or the user service "
        "before it is answered with 503; and that POST /notify/email?wait=sent waits for the outcome.",
    )
    max_bodies: Bytes = Field(
        default=32 * 1024 * 1024,
        ge=1024 * 1024,
        validation_alias="HTTP_MAX_BODIES",
        description="Total size of the request bodies that one node holds at a time. Further requests get "
        "503 with Retry-After.",
    )
    max_in_flight: int = Field(
        default=8,
        ge=1,
        validation_alias="HTTP_MAX_IN_FLIGHT",
        description="Maximum number of requests of one user that a node handles at a time. A request is in "
        "flight until its response was read. Further requests wait, for HTTP_WAIT at most, then get 429.",
    )
    rate_per_user: int = Field(
        default=50,
        ge=0,
        validation_alias="HTTP_RATE_PER_USER",
        description="Requests a second that one user may send to one node, over ten seconds. Further "
        "requests get 429 with Retry-After. 0 if a gateway limits them. Services aren't limited.",
    )
    rate_per_address: int = Field(
        default=500,
        ge=0,
        validation_alias="HTTP_RATE_PER_ADDRESS",
        description="The same for the users of one IPv4 address or IPv6 /64 network, and for requests from "
        "it whose token is refused. Loopback addresses aren't limited. Behind a proxy, set PROXIES_COUNT.",
    )


class WebSocketSettings(WithAllowedOrigins):
    """WebSocket connections."""

    title: ClassVar = "WebSocket"

    ping_interval: Seconds = Field(
        default=20.0,
        gt=0,
        validation_alias="WS_PING_INTERVAL",
        description="Time between pings. A connection that leaves one unanswered is closed. Kong's idle "
        "timeout is 120 s, so stay well below it.",
    )
    answer_timeout: Seconds = Field(
        default=4.0,
        gt=0,
        validation_alias="WS_ANSWER_TIMEOUT",
        description="Time limit to answer the ping that is sent with notifications, plus one second for "
        "each 64 KB before it. A client that stopped reading is detected within twice that "
        "time.",
    )
    write_buffer: Bytes = Field(
        default=1024 * 1024,
        ge=4096,
        validation_alias="WS_WRITE_BUFFER",
        description="Size of the write buffer of one connection. A slow consumer that exceeds it is "
        "disconnected.",
    )
    max_message: Bytes = Field(
        default=16 * 1024,
        ge=125,
        validation_alias="WS_MAX_MESSAGE",
        description="Maximum size of one message from a client.",
    )
    max_frames: int = Field(
        default=200,
        ge=1,
        validation_alias="WS_MAX_FRAMES",
        description="Maximum number of frames from one client in one ping interval.",
    )
    max_per_user: int = Field(
        default=20,
        ge=1,
        validation_alias="WS_MAX_PER_USER",
        description="Maximum number of connections of one user on one node.",
    )
    max_per_address: int = Field(
        default=1000,
        ge=1,
        validation_alias="WS_MAX_PER_ADDRESS",
        description="Maximum number of connections from one IPv4 address or IPv6 /64 network on one node. "
        "Loopback addresses aren't limited.",
    )
    max_upgrades: int = Field(
        default=500,
        ge=1,
        validation_alias="WS_MAX_UPGRADES",
        description="Maximum number of concurrent upgrades. Further upgrades wait for up to 8 s, then get "
        "503 with Retry-After.",
    )
    max_connections: int = Field(
        default=15_000,
        ge=1,
        validation_alias="WS_MAX_CONNECTIONS",
        description="Maximum number of connections of one node. Further upgrades get 503 with Retry-After.",
    )


class AuthSettings(Section):
    """How access tokens are verified."""

    title: ClassVar = "Authentication"

    jwt_algorithm: str = Field(
        validation_alias="JWT_ALGORITHM",
        description="The signature algorithm of access tokens: RS256, ES256 or EdDSA (with JWT_PUBLIC_KEY or "
        "JWT_JWKS_URL), or HS256 (with JWT_SECRET); several are separated by commas. A key verifies the one "
        "algorithm of its kind.",
    )
    jwt_secret: SecretStr | None = Field(
        default=None,
        validation_alias="JWT_SECRET",
        description="HS256: the secret that the user service signs tokens with, at least 32 bytes, without "
        "single quotation marks.",
    )
    jwt_public_key: str | None = Field(
        default=None,
        validation_alias="JWT_PUBLIC_KEY",
        description="RS256, ES256, EdDSA: the public key in PEM format, on one line with \\n between its "
        "lines; several keys are several PEM blocks, one after the other.",
    )
    jwks_url: str | None = Field(
        default=None,
        validation_alias="JWT_JWKS_URL",
        description="RS256, ES256, EdDSA: URL or file of the issuer's JSON Web Key Set, such as "
        "https://users.example.com/.well-known/jwks.json. Its keys are used beside JWT_PUBLIC_KEY.",
    )
    jwks_refresh: Seconds = Field(
        default=300.0,
        gt=0,
        validation_alias="JWT_JWKS_REFRESH",
        description="Time between two reads of JWT_JWKS_URL. A token with an unknown key id causes a read as "
        "well, at most every 5 s.",
    )
    jwt_issuer: str | None = Field(
        default=None,
        validation_alias="JWT_ISSUER",
        description="Required iss claim of tokens. Optional for the hub, but Kong selects the key by it "
        "and needs it.",
    )
    jwt_audience: str | None = Field(
        default=None,
        validation_alias="JWT_AUDIENCE",
        description="Required aud claim of tokens. If unset, aud is not checked.",
    )
    jwt_type_claim: str = Field(
        default="token_type",
        min_length=1,
        validation_alias="JWT_TYPE_CLAIM",
        description=(
            "Claim that contains the purpose of a token. A token whose claim has another value than "
            "JWT_TYPE, such as a refresh token, is refused."
        ),
    )
    jwt_type: str = Field(
        default="access",
        min_length=1,
        validation_alias="JWT_TYPE",
        description="Value of the claim JWT_TYPE_CLAIM in access tokens. Tokens without the claim are "
        "accepted.",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        validation_alias="METRICS_TOKEN",
        description="Bearer token that grants access to /metrics, such as `openssl rand -hex 32` prints. "
        "It works while Redis is unavailable, too. If unset, callers need a token with the "
        "scope metrics:read.",
    )

    @field_validator("metrics_token")
    @classmethod
    def _check_metrics_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[!-~]{32,}", token.get_secret_value()):
            raise ValueError(
                "use at least 32 printable ASCII characters, no spaces, such as `openssl rand -hex 32` prints"
            )
        return token

    @field_validator("jwt_algorithm")
    @classmethod
    def _check_algorithm(cls, text: str) -> str:
        names = [name.strip() for name in text.split(",")]
        unknown = [name for name in names if name not in ALGORITHMS]
        if unknown:
            known = ", ".join(ALGORITHMS)
            raise ValueError(f"unknown algorithm {', '.join(map(repr, unknown))}; known are {known}")
        return ",".join(dict.fromkeys(names))

    @field_validator("jwks_url")
    @classmethod
    def _check_jwks_url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        remote = parts.scheme in ("http", "https")
        if url and (parts.scheme not in ("", "file", "http", "https") or (remote and not parts.hostname)):
            raise ValueError("it must be an http or https URL, or the path of a file")
        return url

    @model_validator(mode="after")
    def _check_keys(self) -> AuthSettings:
        has_file = self.jwks_url is not None and not self.jwks_url.startswith(("http://", "https://"))
        if "HS256" in self.algorithms and not has_file:
            if self.jwt_secret is None:
                raise ValueError("JWT_SECRET is not set. HS256 requires the secret that signs the tokens")
            if len(self.jwt_secret.get_secret_value().encode()) < MIN_SECRET_BYTES:
                raise ValueError(f"JWT_SECRET is too short. Use at least {MIN_SECRET_BYTES} bytes")
        public = [name for name in self.algorithms if name != "HS256"]
        found = {key.algorithm for key in self.static_keys}  # raises for a key that can't be used
        if public and self.jwks_url is None:
            if self.jwt_public_key is None:
                raise ValueError(
                    f"JWT_PUBLIC_KEY is not set. {public[0]} requires the PEM public key of the issuer"
                )
            missing = [name for name in public if name not in found]
            if missing:
                raise ValueError(f"JWT_PUBLIC_KEY has no key for {missing[0]}, which JWT_ALGORITHM lists")
        return self

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms that tokens may be signed with."""
        return tuple(self.jwt_algorithm.split(","))

    @property
    def static_keys(self) -> tuple[VerificationKey, ...]:
        """The keys of the settings. Raises `ValueError` for one that can't be used."""
        keys: tuple[VerificationKey, ...] = ()
        if "HS256" in self.algorithms and self.jwt_secret is not None:
            keys = (VerificationKey(self.jwt_secret.get_secret_value().encode(), "HS256"),)
        if self.jwt_public_key is not None and self.algorithms != ("HS256",):
            keys += pem_keys(self.jwt_public_key, self.algorithms)
        return keys
