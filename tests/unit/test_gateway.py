"""kong.yml, docker-compose.yml and Dockerfile say what they should and fit the hub's settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.api.request import MAX_BODY_BYTES
from app.settings import Settings, load
from app.settings.edge import ServerSettings, WebSocketSettings
from tests.support.kong_router import NoRouteError, match, normalised, routes, upstream_path

ROOT = Path(__file__).parents[2]
KONG: dict[str, Any] = yaml.safe_load((ROOT / "kong.yml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

REST = "/api/v2/notification-service"
USER = "0b5e0d8e-6a52-4a4e-9f0b-0f7a4c1f2d11"
SOCKET = f"/ws/v2/notification-service/notifications/users/{USER}"
EVENTS = f"{REST}/notifications/users/{USER}/events"
BROWSER = {"Sec-WebSocket-Protocol": "hub.v1, bearer.eyJhbGciOi.eyJzdWIi.c2ln"}

CALLS = [
    ("GET", f"{REST}/notifications/users/{USER}", {}, "hub-notifications"),
    ("GET", f"{REST}/notifications/users/{USER}?limit=20&before=7", {}, "hub-notifications"),
    ("HEAD", f"{REST}/notifications/users/{USER}", {}, "hub-notifications"),
    ("HEAD", f"{REST}/preferences/users/{USER}", {}, "hub-preferences"),
    ("HEAD", "/api/v1/notifications/", {}, "hub-compat"),
    ("HEAD", f"{REST}/ready", {}, "hub-open"),
    ("HEAD", EVENTS, {}, "hub-events"),
    ("PATCH", f"{REST}/notifications/7/users/{USER}/read", {}, "hub-notifications"),
    *(
        ("PATCH", f"{REST}/notifications/7/users/{USER}/{call}", {}, "hub-notifications")
        for call in (
            "unread",
            "clicked?action=ok",
            "archive",
            "unarchive",
            "snooze?until=2030-01-01T00:00:00Z",
        )
    ),
    ("POST", f"{REST}/notifications/users/{USER}/seen?up_to=7", {}, "hub-notifications"),
    ("PATCH", f"{REST}/notifications/users/{USER}/archive?up_to=7", {}, "hub-notifications"),
    ("DELETE", f"{REST}/notifications/users/{USER}", {}, "hub-notifications"),
    ("DELETE", f"{REST}/notifications/7/users/{USER}", {}, "hub-notifications"),
    ("GET", f"{REST}/users/{USER}/notifications?limit=5", {}, "hub-notifications"),
    ("OPTIONS", f"{REST}/notifications/users/{USER}?limit=20", {}, "hub-notifications"),
    ("OPTIONS", f"{REST}/notifications/7/users/{USER}/read", {}, "hub-notifications"),
    ("OPTIONS", f"{REST}/preferences/users/{USER}/food.email", {}, "hub-preferences"),
    ("GET", f"{REST}/preferences/users/{USER}", {}, "hub-preferences"),
    ("POST", f"{REST}/preferences/users/{USER}", {}, "hub-preferences"),
    ("PATCH", f"{REST}/preferences/users/{USER}", {}, "hub-preferences"),
    ("PUT", f"{REST}/preferences/users/{USER}/food.email", {}, "hub-preferences"),
    ("DELETE", f"{REST}/preferences/users/{USER}/profile", {}, "hub-preferences"),
    ("POST", f"{REST}/devices", {}, "hub-devices"),
    ("GET", f"{REST}/devices/key", {}, "hub-devices"),
    ("DELETE", f"{REST}/devices/{USER}", {}, "hub-devices"),
    ("POST", f"{REST}/addresses", {}, "hub-addresses"),
    ("POST", f"{REST}/addresses/{USER}/confirm", {}, "hub-addresses"),
    ("DELETE", f"{REST}/addresses/{USER}", {}, "hub-addresses"),
    ("PUT", f"{REST}/topics/news/followers/{USER}", {}, "hub-topics"),
    ("GET", f"{REST}/topics/users/{USER}?limit=5", {}, "hub-topics"),
    ("GET", f"{REST}/health", {}, "hub-open"),
    ("GET", f"{REST}/ready", {}, "hub-open"),
    ("GET", f"{REST}/docs", {}, "hub-open"),
    ("GET", f"{REST}/docs/openapi.json", {}, "hub-open"),
    ("GET", f"{REST}/redoc", {}, "hub-open"),
    ("GET", "/unsubscribe/gAAAAABm_x-Y", {}, "hub-unsubscribe"),
    ("POST", "/unsubscribe/gAAAAABm_x-Y", {}, "hub-unsubscribe"),
    ("POST", "/unsubscribe/gAAAAABm_x-Y/", {}, "hub-unsubscribe"),
    ("GET", f"/opened/{'a2' * 21}.gif", {}, "hub-opened"),
    ("POST", "/callbacks/sendgrid", {}, "hub-callbacks"),
    ("POST", "/callbacks/bounces", {}, "hub-callbacks"),
    ("POST", f"/callbacks/twilio?delivery={USER}", {}, "hub-callbacks"),
    ("POST", "/notifications", {}, "hub-compat"),
    ("GET", "/users/1/notifications", {}, "hub-compat"),
    ("POST", "/notify/email?wait=sent", {}, "hub-compat"),
    ("POST", "/notify/bulk", {}, "hub-compat"),
    ("GET", "/api/v1/notifications/", {}, "hub-compat"),
    ("POST", "/api/v1/notifications/mark-read/7", {}, "hub-compat"),
    ("PUT", "/api/v1/notifications/preferences/food.email", {}, "hub-compat"),
    ("OPTIONS", "/api/v1/notifications/unread", {}, "hub-compat"),
    ("GET", "/docs", {}, "hub-open"),
    ("GET", "/openapi.json", {}, "hub-open"),
    ("GET", "/api/v1/docs", {}, "hub-open"),
    ("GET", "/api/v1/redoc", {}, "hub-open"),
    ("PATCH", f"{REST}/notifications/7/users/{USER}/read/", {}, "hub-notifications"),
    ("DELETE", f"{REST}/notifications/7/users/{USER}/", {}, "hub-notifications"),
    ("GET", f"{REST}/notifications/users/{USER}/?limit=20", {}, "hub-notifications"),
    ("GET", f"{REST}/users/{USER}/notifications/", {}, "hub-notifications"),
    ("GET", f"{REST}/health/", {}, "hub-open"),
    ("GET", f"{REST}/redoc/", {}, "hub-open"),
    ("GET", "/docs/", {}, "hub-open"),
    ("GET", "/api/v1/docs/", {}, "hub-open"),
    ("POST", "/notify/bulk/", {}, "hub-compat"),
    ("GET", f"{EVENTS}/?jwt=a.b.c", {}, "hub-events"),
    ("GET", f"{SOCKET}/?jwt=a.b.c", {}, "hub-websocket"),
    ("GET", EVENTS, {}, "hub-events"),
    ("GET", f"{EVENTS}?jwt=a.b.c&after=7", {}, "hub-events"),
    ("OPTIONS", EVENTS, {}, "hub-events"),
    ("GET", SOCKET, {}, "hub-websocket"),
    ("GET", f"{SOCKET}?jwt=a.b.c", {}, "hub-websocket"),
    ("GET", SOCKET, {"Sec-WebSocket-Protocol": "hub.v1"}, "hub-websocket"),
    ("GET", SOCKET, BROWSER, "hub-websocket-browser"),
    ("GET", SOCKET, {"Sec-WebSocket-Protocol": "bearer.a.b.c,hub.v1"}, "hub-websocket-browser"),
]


@pytest.mark.parametrize(("method", "path", "headers", "route"), CALLS)
def test_a_client_call_takes_its_route_and_keeps_its_path(
    method: str, path: str, headers: dict[str, str], route: str
) -> None:
    taken = match(KONG, method, path, headers)
    assert (taken.route, taken.upstream_path) == (route, path)


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        f"{REST}/metrics",
        f"{REST}/metrics/",
        f"{REST}//metrics",
        f"{REST}/docs/../metrics",
        f"{REST}/docs/%2e%2E/metrics",
        f"{REST}/notifications/../metrics",
        f"{REST}/healthz",
        f"{REST}/notifications/bulk",
        f"{REST}/notifications/an-event",
        f"{REST}/notify/email",
        f"{REST}/deliveries",
        f"{REST}/topics",
        f"{REST}/topics/news/followers",
        f"{REST}/docsmetrics",
        "/ws/v2/notification-service/metrics",
        "/",
    ],
)
def test_nothing_else_has_a_public_route(path: str) -> None:
    for method in ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"):
        with pytest.raises(NoRouteError):
            upstream_path(KONG, method, path)


def test_no_route_leads_upstream_to_metrics() -> None:
    for method, path, headers, _ in CALLS:
        assert "metrics" not in upstream_path(KONG, method, path, headers)


def test_every_route_but_the_open_and_the_browsers_asks_for_a_token_that_has_not_expired() -> None:
    checked = {route["name"] for _, route, plugins in routes(KONG) if "jwt" in plugins}
    assert checked == {
        "hub-addresses",
        "hub-compat",
        "hub-devices",
        "hub-topics",
        "hub-events",
        "hub-notifications",
        "hub-preferences",
        "hub-websocket",
    }
    for _, _, plugins in routes(KONG):
        if "jwt" in plugins:
            assert plugins["jwt"]["claims_to_verify"] == ["exp"]
            assert "anonymous" not in plugins["jwt"]


def test_a_browser_may_ask_without_a_token_what_a_page_may_do() -> None:
    for _, route, plugins in routes(KONG):
        assert "cors" not in plugins  # its headers would stand beside the hub's
        if "OPTIONS" in route["methods"]:
            assert plugins["jwt"]["run_on_preflight"] is False
    allowed = {route["name"] for _, route, _ in routes(KONG) if "OPTIONS" in route["methods"]}
    assert allowed == {
        "hub-addresses",
        "hub-compat",
        "hub-devices",
        "hub-events",
        "hub-notifications",
        "hub-preferences",
        "hub-topics",
    }


def test_a_token_in_the_address_is_taken_for_live_connections_only() -> None:
    taken = {route["name"]: p["jwt"]["uri_param_names"] for _, route, p in routes(KONG) if "jwt" in p}
    assert taken.pop("hub-websocket") == taken.pop("hub-events") == ["jwt"]
    assert taken == {
        "hub-addresses": [],
        "hub-compat": [],
        "hub-devices": [],
        "hub-notifications": [],
        "hub-preferences": [],
        "hub-topics": [],
    }


def test_a_browsers_upgrade_is_left_to_the_hub() -> None:
    assert "jwt" not in match(KONG, "GET", SOCKET, BROWSER).plugins


def test_the_subprotocol_opens_no_rest_path() -> None:
    assert "jwt" in match(KONG, "GET", f"{REST}/notifications/users/{USER}", BROWSER).plugins


def test_a_quiet_connection_outlives_several_pings() -> None:
    ping_ms = WebSocketSettings.model_fields["ping_interval"].default * 1000
    for path, headers in ((SOCKET, {}), (SOCKET, BROWSER), (EVENTS, {})):
        taken = match(KONG, "GET", path, headers)
        service = next(service for service in KONG["services"] if service["name"] == taken.service)
        assert min(service["read_timeout"], service["write_timeout"]) >= 3 * ping_ms


def test_headers_that_claim_who_the_caller_is_are_removed_on_every_route() -> None:
    for _, _, plugins in routes(KONG):
        removed = {name.lower() for name in plugins["request-transformer"]["remove"]["headers"]}
        assert removed >= {"x-user-id", "x-consumer-id", "x-consumer-username", "x-consumer-custom-id"}


def test_every_route_bounds_the_size_of_a_request() -> None:
    for _, _, plugins in routes(KONG):
        assert plugins["request-size-limiting"]["allowed_payload_size"] <= 1024
        assert plugins["request-size-limiting"]["size_unit"] == "kilobytes"
        assert plugins["request-size-limiting"]["require_content_length"] is False
        limit = plugins["rate-limiting"]
        assert (limit["limit_by"], limit["policy"]) == ("ip", "local"), "all users are one consumer"
        assert 0 < limit["second"] * 60 / 10 <= limit["minute"] <= limit["second"] * 60


def test_what_an_old_service_sent_at_once_passes() -> None:
    for path in ("/notifications", "/notify/email", "/notify/bulk"):
        limit = match(KONG, "POST", path).plugins["request-size-limiting"]
        assert limit["allowed_payload_size"] * 1024 == MAX_BODY_BYTES


def test_kong_loads_every_plugin_it_is_asked_for() -> None:
    used = {name for _, _, plugins in routes(KONG) for name in plugins}
    assert set(SERVICES["kong"]["environment"]["KONG_PLUGINS"].split(",")) == used


def test_kong_refuses_its_file_while_no_secret_is_filled_in() -> None:
    (credential,) = KONG["consumers"][0]["jwt_secrets"]
    assert credential["algorithm"] == "${JWT_ALGORITHM}"  # one of a fixed list, for Kong
    assert credential["secret"] == "${JWT_SECRET}"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here, which Kong's image has")
@pytest.mark.parametrize(
    ("secret", "starts"),
    [("0123456789abcdef0123456789abcdef", True), (r'&\1/"$HOME"|#: %', True), ("it's", False), ("", False)],
)
def test_the_secret_reaches_kong_as_it_is(secret: str, starts: bool, tmp_path: Path) -> None:
    done, rendered = _render_kong(tmp_path, "HS256", JWT_SECRET=secret)
    assert (done.returncode == 0) == starts, done.stderr
    assert rendered.exists() == starts
    if starts:
        (credential,) = yaml.safe_load(rendered.read_text())["consumers"][0]["jwt_secrets"]
        assert credential == {"key": "https://users.example.com", "algorithm": "HS256", "secret": secret}
        assert rendered.stat().st_mode & 0o077 == 0
    else:
        assert "JWT_SECRET" in done.stderr
        assert not secret or secret not in done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here, which Kong's image has")
@pytest.mark.parametrize(
    ("line_end", "starts"), [("\\n", True), ("\n", True), ('"\n', False)], ids=["escaped", "lines", "quoted"]
)
def test_an_rsa_key_reaches_kong_as_it_is(line_end: str, starts: bool, tmp_path: Path) -> None:
    pem = "-----BEGIN PUBLIC KEY-----\nMIIBIjAN+/ab==\n-----END PUBLIC KEY-----\n"
    done, rendered = _render_kong(tmp_path, "RS256", JWT_PUBLIC_KEY=pem.strip().replace("\n", line_end))
    assert (done.returncode == 0) == starts, done.stderr
    if starts:
        (credential,) = yaml.safe_load(rendered.read_text())["consumers"][0]["jwt_secrets"]
        assert credential == {
            "key": "https://users.example.com",
            "algorithm": "RS256",
            "rsa_public_key": pem.strip(),
        }


def _render_kong(folder: Path, algorithm: str, **key: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run the script by which Kong's container starts, up to Kong."""
    script: str = SERVICES["kong"]["command"][0].replace("$$", "$")
    script = script.replace("/etc/kong/kong.yml", str(ROOT / "kong.yml"))
    script = script.replace("/docker-entrypoint.sh kong docker-start", "true")
    rendered = folder / "kong.yml"
    environment = {
        "PATH": os.environ["PATH"],
        "KONG_DECLARATIVE_CONFIG": str(rendered),
        "JWT_ISSUER": "https://users.example.com",
        "JWT_ALGORITHM": algorithm,
        **key,
    }
    done = subprocess.run(
        ["bash", "-euc", script], env=environment, capture_output=True, text=True, check=False
    )
    return done, rendered


def test_compose_hands_every_setting_on() -> None:
    example = re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    of_compose = {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "RABBITMQ_PASSWORD", "GATEWAY_PORT"}
    assert set(SERVICES["hub"]["environment"]) == set(example) - of_compose
    assert SERVICES["migrate"]["environment"] == SERVICES["hub"]["environment"]


def test_the_example_filled_in_makes_settings_that_the_hub_accepts() -> None:
    """Those of the hub's container, with the mail catcher's address; and with what .env changes."""
    key = rsa.generate_private_key(65537, 2048).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().strip()
    filled = {
        "JWT_SECRET": "0123456789abcdef0123456789abcdef",
        "JWT_ISSUER": "https://users.example.com",
        "USER_SERVICE_URL": "http://users:8000",
        **dict.fromkeys(("POSTGRES_PASSWORD", "REDIS_PASSWORD", "RABBITMQ_PASSWORD"), "letters"),
    }
    mail = load(_env_file="", **_hub_environment(filled)).smtp
    assert (mail.host, mail.port, mail.security) == ("mail", 1025, "none")
    assert "1025" not in str(SERVICES["mail"].get("environment")), "its port is its image's default"
    changed = filled | {
        "SMTP_HOST": "smtp.example.com",
        "SMTP_PORT": "465",
        "SMTP_SECURITY": "tls",
        "JWT_ALGORITHM": "RS256",
        "JWT_PUBLIC_KEY": pem.replace("\n", "\\n"),
    }
    settings = load(_env_file="", **_hub_environment(changed))
    mail = settings.smtp
    assert (mail.host, mail.port, mail.security) == ("smtp.example.com", 465, "tls")
    assert settings.auth.jwt_public_key == pem.replace("\n", "\\n")
    assert len(settings.auth.static_keys) == 1


def _hub_environment(dotenv: dict[str, str]) -> dict[str, str]:
    """What the hub's container gets, by setting in lower case; an unset variable without a default is left
    out.
    """

    def value(found: re.Match[str]) -> str:
        if found["unset"] is not None:
            return dotenv.get(found["name"], found["unset"])
        return dotenv.get(found["name"]) or (found["default"] or "")

    pattern = r"\$\{(?P<name>[A-Z_]+)(?::-(?P<default>[^}]*)|-(?P<unset>[^}]*)|:\?[^}]*)?\}"
    given = {
        name: dotenv.get(name) if text is None else re.sub(pattern, value, text)
        for name, text in SERVICES["hub"]["environment"].items()
    }
    return {name.lower(): text for name, text in given.items() if text}


def test_each_page_is_at_the_port_that_the_documents_name() -> None:
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert ports["kong"] == ["127.0.0.1:${GATEWAY_PORT:-8000}:8000"]
    assert "127.0.0.1:15672:15672" in ports["rabbitmq"]
    assert SERVICES["rabbitmq"]["image"].endswith("-management")
    assert "127.0.0.1:8025:8025" in ports["mail"]


def test_the_example_environment_has_every_setting_and_no_secret() -> None:
    lines = re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    example = dict(lines)
    assert len(example) == len(lines)
    assert {variable.name for variable in Settings.variables()} <= example.keys()
    asked_for = set(re.findall(r"\$\{([A-Z_]+)[:}]", (ROOT / "docker-compose.yml").read_text()))
    assert asked_for <= example.keys()
    secrets = {name for name in example if re.search(r"SECRET|PASSWORD$|_TOKEN$|_KEYS?$|_URL$", name)}
    assert {name for name in secrets if example[name]} == set()


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for service in ("hub", "kong"):  # which refuse to start without the key of their algorithm
        assert {SERVICES[service]["environment"][name] for name in ("JWT_SECRET", "JWT_PUBLIC_KEY")} == {None}
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "RABBITMQ_PASSWORD"):
        uses = re.findall(r"\$\{" + name + r"([^}]*)\}", text)
        assert uses
        assert all(use.startswith(":?") and len(use) > 10 for use in uses), name


def test_every_image_is_of_a_named_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for image in images:
        name, _, tag = image.partition(":")
        assert name
        assert re.search(r"\d", tag), image
        assert "latest" not in tag


def test_published_ports_are_open_to_this_machine_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "ports" not in SERVICES["hub"], "/metrics would be reachable past the gateway"


def test_services_start_when_what_they_need_is_ready() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            once = SERVICES[needed]["restart"] == "no"
            expected = "service_completed_successfully" if once else "service_healthy"
            assert how["condition"] == expected, f"{name} needs {needed}"
            # The hub's own check is in its Dockerfile.
            assert once or needed == "hub" or "test" in SERVICES[needed]["healthcheck"]


def test_data_outlives_its_container() -> None:
    for name in ("postgres", "redis", "kafka"):
        (volume,) = SERVICES[name]["volumes"]
        assert volume.partition(":")[0] in COMPOSE["volumes"]


def test_the_hub_is_given_time_to_stop() -> None:
    grace = ServerSettings.model_fields["shutdown_grace"].default
    assert int(SERVICES["hub"]["stop_grace_period"].removesuffix("s")) >= 2 * grace


def test_the_image_runs_the_hub_itself_and_not_as_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert text.rstrip().endswith('CMD ["python", "run.py"]')
    assert re.search(r"^USER [1-9]\d*$", text, re.MULTILINE)
    assert f"{REST}/health" in text
    assert "requirements-dev" not in text


# The model itself, where kong.yml does not exercise it.


def _one_route(service_url: str, **route: object) -> dict[str, Any]:
    return {"services": [{"name": "s", "url": service_url, "routes": [{"name": "r", **route}]}]}


@pytest.mark.parametrize(
    ("url", "strip", "path", "expected"),
    [
        ("http://h", True, "/a/b", "/b"),
        ("http://h", True, "/a", "/"),
        ("http://h/s", True, "/a/b", "/s/b"),
        ("http://h/s", True, "/a", "/s"),
        ("http://h/s/", True, "/a/", "/s/"),
        ("http://h/s/", True, "/ab", "/s/b"),
        ("http://h/s", False, "/a/b", "/s/a/b"),
        ("http://h", False, "/a/b", "/a/b"),
    ],
)
def test_model_joins_paths_as_kong_documents_it(url: str, strip: bool, path: str, expected: str) -> None:
    assert upstream_path(_one_route(url, paths=["/a"], strip_path=strip), "GET", path) == expected


def test_model_prefers_criteria_then_regex_then_the_longer_prefix() -> None:
    def route(name: str, **criteria: object) -> dict[str, object]:
        return {"name": name, "strip_path": False, **criteria}

    listed = [
        route("short", paths=["/a"]),
        route("long", paths=["/a/b"]),
        route("regex", paths=["~/a/b/\\d+"]),
        route("method", paths=["/a"], methods=["DELETE"]),
    ]
    kong = {"services": [{"name": "s", "url": "http://h", "routes": listed}]}
    taken = [match(kong, *call).route for call in (("GET", "/a/c"), ("GET", "/a/b"), ("GET", "/a/b/7"))]
    assert taken == ["short", "long", "regex"]
    assert match(kong, "DELETE", "/a/b/7").route == "method"


def test_model_refuses_what_it_does_not_know_and_what_is_left_to_chance() -> None:
    with pytest.raises(NotImplementedError, match="hosts"):
        upstream_path(_one_route("http://h", paths=["/a"], hosts=["x"]), "GET", "/a")
    twice = _one_route("http://h", paths=["/a"])
    twice["services"][0]["routes"].append({"name": "again", "paths": ["/a"]})
    with pytest.raises(AssertionError, match="left to chance"):
        upstream_path(twice, "GET", "/a")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a//b/", "/a/b/"),
        ("/a/./b/../c", "/a/c"),
        ("/%61/%2e%2e/b", "/b"),
        ("/a%2fb", "/a%2Fb"),
        ("/..", "/"),
    ],
)
def test_model_normalises_paths(path: str, expected: str) -> None:
    assert normalised(path) == expected
