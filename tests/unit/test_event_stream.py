"""Event streams without HTTP: what their bytes mean to a reader, and how one that doesn't read ends."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from app.auth.tokens import Claims
from app.realtime.connection import CLOSE_TIMEOUT_SECONDS, ClientInfo, Connection, ConnectionContext
from app.realtime.event_format import closing, events_of, payloads
from app.realtime.event_stream import MAX_RECEIVED_BYTES, EventStreamConnection
from app.realtime.protocol import text_frame
from app.realtime.session_frames import Pong, Resumed, session_frame
from app.realtime.timer_wheel import TimerWheel
from app.runtime.rate_limit import AdmissionQueue
from tests.support.peers import LIFETIME, LIMITS, FakeTransport, settled


def parsed(stream: bytes) -> list[dict[str, str]]:
    """The fields of each event."""
    blocks = stream.decode().split("\n\n")
    assert blocks.pop() == ""
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def note(seq: int, **more: object) -> bytes:
    return json.dumps({"event_type": "x", "data": {"seq": seq, "raw_data": more}}).encode()


@given(st.lists(st.tuples(st.integers(1, 2**63 - 1), st.text(max_size=300)), max_size=5))
def test_frames_in_one_write_are_as_many_events(notes: list[tuple[int, str]]) -> None:
    frames = b"".join(text_frame(note(seq, text=text)) for seq, text in notes)
    events = parsed(events_of(frames))
    assert [int(event["id"]) for event in events] == [seq for seq, _ in notes]
    assert [json.loads(event["data"])["data"]["raw_data"]["text"] for event in events] == [
        t for _, t in notes
    ]


@given(st.lists(st.sampled_from((0, 125, 126, 65_535, 65_536, 70_000)), max_size=4))
def test_payloads_of_every_length_are_found(lengths: list[int]) -> None:
    assert [*map(len, payloads(b"".join(text_frame(b"x" * length) for length in lengths)))] == lengths


def test_line_breaks_between_json_values_do_not_end_an_event() -> None:
    pretty = note(7, breaks="\r\n\n data: x").replace(b", ", b",\r\n\n").replace(b"{", b"{\r")
    (event,) = parsed(events_of(text_frame(pretty)))
    assert json.loads(event["data"])["data"]["raw_data"]["breaks"] == "\r\n\n data: x"


def test_session_frames_are_named_and_resumed_has_the_id_it_goes_up_to() -> None:
    pong, resumed, late = parsed(
        events_of(session_frame(Pong()) + session_frame(Resumed(1, 9, True))) + closing(4500, "logged out")
    )
    assert (pong["event"], pong.get("id")) == ("pong", None)
    assert (resumed["event"], resumed["id"]) == ("resumed", "9")
    assert json.loads(late["data"]) == {"type": "close", "code": 4500, "reason": "logged out"}


class Reader:
    """A stream with its transport."""

    def __init__(self) -> None:
        self.lost: list[Connection] = []
        self.now = now = asyncio.get_running_loop().time()
        context = ConnectionContext(
            LIMITS, TimerWheel(), AdmissionQueue(0.001, 2), lambda seconds: now + seconds, self.lost.append
        )
        claims = Claims(uuid4(), "a token", 0, LIFETIME)
        self.stream = EventStreamConnection(claims, context, ClientInfo(), session=False, resumes=False)
        self.transport = FakeTransport()
        self.transport.connection = self.stream
        self.stream.connection_made(self.transport)

    def read(self) -> bytes:
        data, self.transport.buffer = self.transport.buffer, b""
        return data


async def test_an_idle_stream_gets_comments() -> None:
    reader = Reader()
    for number in range(1, 5):
        assert reader.stream.tick(reader.now + 20 * number) == reader.now + 20 * (number + 1)
        assert reader.read() == b":\n\n"


async def test_the_end_of_the_token_ends_the_stream() -> None:
    reader = Reader()
    reader.stream.tick(reader.now + LIFETIME)
    assert reader.read() == closing(4401, "token expired")
    await settled()
    assert (reader.transport.ended, reader.lost) == ("closed", [reader.stream])
    reader.stream.send(text_frame(note(1)))
    assert reader.read() == b""


async def test_a_reader_that_leaves_too_much_is_closed_with_4001_and_then_aborted() -> None:
    reader = Reader()
    reader.transport.stalled = True
    for seq in range(1, 100):
        reader.stream.send(text_frame(note(seq)))
    assert reader.stream.close_code == 4001
    assert LIMITS.write_buffer < len(reader.transport.buffer) < LIMITS.write_buffer + 300
    assert reader.read().endswith(closing(4001, "too slow: reconnect and resume"))
    assert reader.stream.tick(reader.now + CLOSE_TIMEOUT_SECONDS) is None
    assert reader.transport.ended == "aborted"


async def test_a_reader_that_stopped_is_aborted_and_one_that_goes_on_slowly_is_not() -> None:
    stopped, slow = Reader(), Reader()
    for reader in (stopped, slow):
        reader.transport.stalled = True
        reader.stream.send(text_frame(note(1, text="x" * 500)))
        assert reader.stream.tick(reader.now + 20) is not None
    slow.transport.buffer = slow.transport.buffer[100:]
    assert slow.stream.tick(slow.now + 40) is not None
    assert stopped.stream.tick(stopped.now + 40) is None
    assert stopped.transport.ended == "aborted"


async def test_a_client_that_sends_much_is_aborted() -> None:
    reader = Reader()
    reader.stream.data_received(b"x" * MAX_RECEIVED_BYTES)
    assert reader.stream.open
    reader.stream.data_received(b"x")
    assert reader.transport.ended == "aborted"


async def test_what_is_held_goes_behind_what_it_waited_for() -> None:
    reader = Reader()
    reader.stream.hold()
    reader.stream.send(text_frame(note(2)))
    reader.stream.release(text_frame(note(1)))
    assert [event["id"] for event in parsed(reader.read())] == ["1", "2"]
