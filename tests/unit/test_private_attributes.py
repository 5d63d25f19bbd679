"""What the hub relies on in libraries beyond their documented interfaces: one table, checked against them.

When a test here fails after an update, read the library's change and the code that `where` names.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher
from pamqp.header import ContentHeader
from prometheus_client.metrics import MetricWrapperBase
from sanic import Request, Sanic
from sanic.http import Http
from sanic.http.constants import Stage
from sanic.server.async_server import AsyncioServer
from sanic.server.protocols.http_protocol import HttpProtocol

APP = Path(__file__).parents[2] / "app"
PROTOCOL, SERVE, HANDSHAKE = "app/server/protocol.py", "app/server/serve.py", "app/api/handshake.py"
DIRECT = "app/server/direct_upgrades.py"
PENDING = "app/server/pending_connection.py"
REFERENCE = "app/dev/reference_pages.py"
PACED = "app/sources/kafka/paced_consumer.py"
HEADERS = "app/sources/rabbitmq/lenient_headers.py"
DOCUMENTED = {"_asdict", "_replace", "_make", "_fields", "_exit"}  # of named tuples and of os


class Use(NamedTuple):
    owner: type
    attribute: str
    where: str
    why: str


USES = [
    Use(HttpProtocol, "_time", PROTOCOL, "when the request began, by which Sanic times it out"),
    Use(HttpProtocol, "_callback_check_timeouts", PROTOCOL, "unchanged when Sanic will not check again"),
    Use(HttpProtocol, "check_timeouts", PROTOCOL, "is called regularly, and called for upgrades too"),
    Use(HttpProtocol, "HTTP_CLASS", PROTOCOL, "the class that reads requests is replaced"),
    Use(HttpProtocol, "_can_write", PROTOCOL, "set while the client has read most of what was written"),
    Use(HttpProtocol, "http", PROTOCOL, "the reader of the requests of a connection"),
    Use(HttpProtocol, "loop", PROTOCOL, "schedules the end of a connection whose time is up"),
    Use(HttpProtocol, "abort", PROTOCOL, "ends a connection whose time is up"),
    Use(HttpProtocol, "data_received", PENDING, "gets the head that PendingConnection has read"),
    Use(HttpProtocol, "connection_made", PENDING, "is called once the head is complete, not earlier"),
    Use(HttpProtocol, "connection_lost", PROTOCOL, "is called in its turn"),
    Use(HttpProtocol, "close_if_idle", SERVE, "is called on each connection while the hub stops"),
    Use(HttpProtocol, "connections", PROTOCOL, "a WebSocket connection leaves the set"),
    Use(HttpProtocol, "recv_buffer", PROTOCOL, "frames that came with the handshake"),
    Use(HttpProtocol, "transport", PROTOCOL, "is handed over to the WebSocket connection"),
    Use(Http, "http1", PROTOCOL, "handles all requests of a connection"),
    Use(Http, "http1_request_header", PROTOCOL, "reads a head; a further request waits before it"),
    Use(Http, "init_for_request", PROTOCOL, "is called before each request"),
    Use(Http, "http1_response_header", PROTOCOL, "sends a response, but for the pieces of a stream"),
    Use(Http, "create_empty_request", PROTOCOL, "for Sanic's log, when there is no request yet"),
    Use(Http, "read", PROTOCOL, "reads a piece of a body; every so many wait for their turn"),
    Use(Http, "stage", PROTOCOL, "IDLE between two requests"),
    Use(Http, "request_body", PROTOCOL, "whether a body is still to be read"),
    Use(Http, "upgrade_websocket", PROTOCOL, "keeps check_timeouts from timing upgrades out"),
    Use(Http, "request", PROTOCOL, "is cleared after the last request: it refers back"),
    Use(Http, "response", PROTOCOL, "is cleared after the last request: it refers back"),
    Use(Http, "response_func", PROTOCOL, "is cleared after the last request: it refers back"),
    Use(Http, "HEADER_MAX_SIZE", PROTOCOL, "what is refused as too long"),
    Use(Request, "stream", HANDSHAKE, "reads the connection's requests"),
    Use(Http, "protocol", PROTOCOL, "the connection's HttpProtocol"),
    Use(Request, "conn_info", DIRECT, "has the address of the client"),
    Use(Sanic, "request_class", DIRECT, "makes requests as Sanic would"),
    Use(AsyncioServer, "startup", SERVE, "finalizes the app"),
    Use(AsyncioServer, "before_start", SERVE, "runs the listeners that start the hub"),
    Use(AsyncioServer, "start_serving", SERVE, "accepts connections"),
    Use(AsyncioServer, "after_start", SERVE, "runs the listeners that start the sources"),
    Use(AsyncioServer, "before_stop", SERVE, "runs the listeners that drain the hub"),
    Use(AsyncioServer, "after_stop", SERVE, "runs the listeners that stop the hub"),
    Use(AsyncioServer, "close", SERVE, "stops accepting"),
    Use(AsyncioServer, "connections", SERVE, "what is still open while the hub stops"),
    Use(MetricWrapperBase, "_name", REFERENCE, "the metric, as the page lists it"),
    Use(MetricWrapperBase, "_type", REFERENCE, "the metric, as the page lists it"),
    Use(MetricWrapperBase, "_documentation", REFERENCE, "the metric, as the page lists it"),
    Use(MetricWrapperBase, "_labelnames", REFERENCE, "the metric, as the page lists it"),
    Use(AIOKafkaConsumer, "_fetcher", PACED, "what sends fetches"),
    Use(Fetcher, "_fetch_min_bytes", PACED, "goes into the next fetch"),
    Use(Fetcher, "_fetch_max_wait_ms", PACED, "goes into the next fetch"),
    Use(ContentHeader, "unmarshal", HEADERS, "is replaced by one that never raises"),
    Use(MetricWrapperBase, "_name", REFERENCE, "the name of a metric, for the reference page"),
    Use(MetricWrapperBase, "_type", REFERENCE, "the kind of a metric, for the reference page"),
    Use(MetricWrapperBase, "_labelnames", REFERENCE, "the labels of a metric, for the reference page"),
    Use(MetricWrapperBase, "_documentation", REFERENCE, "what a metric counts, for the reference page"),
]


def has(owner: type, attribute: str) -> bool:
    """Whether instances have it: from the class, its slots or annotations, or set by `__init__`."""
    if hasattr(owner, attribute):
        return True
    return f"self.{attribute} =" in inspect.getsource(owner)


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.owner.__name__}.{use.attribute}")
def test_the_library_still_has_what_we_rely_on(use: Use) -> None:
    assert has(use.owner, use.attribute), (
        f"{use.owner.__module__}.{use.owner.__name__} has no {use.attribute} any more. {use.where} uses it: "
        f"{use.why}. Read what took its place, and change that file and this table."
    )


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.owner.__name__}.{use.attribute}")
def test_the_table_names_nothing_that_is_not_used(use: Use) -> None:
    name = use.attribute
    assert name in (APP.parent / use.where).read_text("utf-8"), f"{use.where} does not use {name} any more"


def test_timeouts_are_counted_from_the_attribute_that_we_set() -> None:
    """Setting `_time` would have no effect if Sanic read another one."""
    checks: Any = HttpProtocol.check_timeouts
    source = inspect.getsource(checks)
    assert "self._time" in source, "read how Sanic times requests out; FairProtocol sets _time"
    assert "self._callback_check_timeouts" in source, "read how Sanic checks again; FairProtocol compares it"


def test_sanic_makes_the_protocol_with_the_arguments_that_we_pass_on() -> None:
    taken = inspect.signature(HttpProtocol.__init__).parameters
    assert {"loop", "app", "connections"} <= taken.keys(), "PendingConnection passes Sanic's arguments on"
    offered = inspect.signature(Sanic.create_server).parameters
    assert {"sock", "backlog", "protocol", "return_asyncio_server", "asyncio_server_kwargs"} <= offered.keys()
    assert "IDLE" in Stage.__members__, "FairProtocol takes IDLE for the time between two requests"


def test_no_other_private_attribute_of_a_library_is_used() -> None:
    """A private name on anything but `self` or `cls` is in the table, or it is ours."""
    known = {use.attribute for use in USES} | DOCUMENTED
    found = set()
    for path in APP.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        ours = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("self", "cls")
        }
        found |= {
            f"{path.relative_to(APP.parent)}: {node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and node.attr not in known | ours
        }
    assert not found, f"add to the table, with the reason: {sorted(found)}"
