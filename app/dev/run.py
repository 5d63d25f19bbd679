"""`make run`: the hub, the demo page and all services embedded. Nothing keeps running when it ends."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvloop

from app.dev import demo, gallery, mails, tokens
from app.dev.home import DEMO_USER, DEV_JSON, home
from app.dev.loopback import only_loopback
from app.dev.mail import MailCatcher, run_mail
from app.dev.process import make_folder
from app.dev.services import Services, run_services
from app.domain.errors import ConfigurationError
from app.runtime import log
from app.server.app import create_app
from app.server.serve import bind, serve
from app.settings import Settings, load
from app.settings.edge import ALL_SERVICES
from app.settings.sources import TOPIC_VARIABLES
from app.store import migrations

# librdkafka's mock broker answers a fetch only when its wait is over, and a join when the session would end.
SHOWN_EVENT = "group_user_added"  # to the user whose token is shown
MOCK_BROKER_WAIT_MS = 30  # at 10 an idle hub uses 15 % of a core, at 30 half of that
MOCK_BROKER_SESSION_MS = 3000
ONLY_THESE = {"_env_file": (), "_aliases": False}  # an operator's .env doesn't apply to development
ANY_LOCAL_PAGE = ("http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*")  # of any development server


def run() -> None:
    """Run everything until SIGTERM or Ctrl-C."""
    port = _port()
    folder = make_folder(home())
    topics = [*TOPIC_VARIABLES.values()]
    progress = _Progress()
    _say(f"Starting Postgres, Redis, a Kafka broker, a mail catcher and the hub. Data and logs: {folder}")
    with run_services(folder, topics, started=progress) as services, run_mail(folder) as mailbox:
        (folder / DEV_JSON).unlink(missing_ok=True)  # of a run that was killed
        progress(f"mail catcher on port {mailbox.port}: nothing is sent")
        given = dev_settings(services, mailbox, port, folder)
        settings = load(**ONLY_THESE, **given)
        migrations.upgrade(services.database_url)
        progress("database schema")
        log.configure(settings.server.log_level)
        app = create_app(
            settings,
            only_loopback(demo.Demo(settings).blueprint()),
            only_loopback(mails.make_blueprint(mailbox.folder)),
            only_loopback(gallery.make_blueprint(settings)),
        )
        listener = bind(settings.server.host, port)

        def ready() -> None:
            _write(folder / DEV_JSON, _description(settings, services, mailbox, given))
            progress(f"hub on port {port}")
            _say(_welcome(settings))

        try:
            uvloop.run(serve(app, listener, app.ctx.repeat_offenders, ready))
        finally:
            (folder / DEV_JSON).unlink(missing_ok=True)
    _say(f"Stopped. The data stays in {folder}")


class _Progress:
    """Prints a line for each part that is ready, with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, ready: str) -> None:
        _say(f"  {time.monotonic() - self._began:5.1f} s  {ready}")


def _port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ConfigurationError(f"PORT is {text!r}. Set it to a number from 1 to 65535.")
    return int(text)


def dev_settings(services: Services, mailbox: MailCatcher, port: int, folder: Path) -> dict[str, Any]:
    """The settings of the embedded hub as `load` takes them, with what the environment adds to them.

    Commands for operators load the same.
    """
    base = f"http://127.0.0.1:{port}"
    return {
        "port": port,
        "database_url": services.database_url,
        "redis_url": services.redis_url,
        "redis_events_url": os.environ.get("REDIS_EVENTS_URL") or services.redis_url,
        "rabbitmq_url": os.environ.get("RABBITMQ_URL"),
        "kafka_bootstrap_servers": services.kafka_bootstrap,
        "kafka_fetch_max_wait_ms": MOCK_BROKER_WAIT_MS,
        "kafka_session_timeout_ms": MOCK_BROKER_SESSION_MS,
        "user_service_url": os.environ.get("USER_SERVICE_URL") or base + demo.STAND_IN,
        "otp_cooldown": 0,  # for repeated clicks on the demo page
        "otp_hourly_cap": 1000,
        "smtp_host": "127.0.0.1",
        "smtp_port": mailbox.port,
        "smtp_security": "none",
        "jwt_algorithm": "HS256",
        "jwt_secret": _secret(folder),
        "jwt_issuer": tokens.ISSUER,
        "allowed_origins": ",".join((*ANY_LOCAL_PAGE, os.environ.get("ALLOWED_ORIGINS", ""))),
        "compat_routes": os.environ.get("COMPAT_ROUTES") or ALL_SERVICES,
    }


def _secret(folder: Path) -> str:
    path = folder / "jwt-secret"
    if not path.exists():
        _write(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def _description(
    settings: Settings, services: Services, mailbox: MailCatcher, given: Mapping[str, Any]
) -> str:
    assert settings.auth.jwt_secret is not None
    assert settings.redis_streams.url is not None
    return json.dumps(
        {
            "http": f"http://127.0.0.1:{settings.server.port}",
            "ws": f"ws://127.0.0.1:{settings.server.port}",
            "kafka": services.kafka_bootstrap,
            "database": services.database_url,
            "redis": services.redis_url,
            "redis_events": settings.redis_streams.url.get_secret_value(),
            "rabbitmq": settings.rabbitmq.url.get_secret_value() if settings.rabbitmq.url else None,
            "jwt": {
                "algorithm": settings.auth.jwt_algorithm,
                "secret": settings.auth.jwt_secret.get_secret_value(),
                "issuer": settings.auth.jwt_issuer,
            },
            "topics": settings.kafka.topics,
            "mail": str(mailbox.folder),
            "settings": given,
        },
        indent=2,
    )


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, all at once."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)


def _welcome(settings: Settings) -> str:
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    where = f"HUB_HOME={os.environ['HUB_HOME']} " if os.environ.get("HUB_HOME") else ""
    assert settings.auth.jwt_secret is not None
    token = tokens.sign(DEMO_USER, settings.auth.jwt_secret.get_secret_value())
    return f"""
The hub runs.

  Demo page      http://localhost:{settings.server.port}/
  Mail gallery   http://localhost:{settings.server.port}/gallery/
  REST docs      http://localhost:{settings.server.port}/api/v2/notification-service/docs
  Demo user      {DEMO_USER} (John)
  User's token   {token}
  Publish        {where}{shown} run.py publish {SHOWN_EVENT}

Ctrl-C stops the hub and all services.
"""


def _say(text: str) -> None:
    print(text, flush=True)
