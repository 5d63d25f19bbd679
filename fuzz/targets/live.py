"""What browsers and other nodes send: frames, the session protocol, publications."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec
from hypothesis import strategies as st
from websockets.protocol import OPEN

from app.auth.tokens import Claims
from app.realtime.connection import Connection, ConnectionContext, Limits
from app.realtime.protocol import text_frame
from app.realtime.publication import Publication, Push, pack, unpack
from app.realtime.session import Sessions
from app.realtime.session_frames import Read, Resume, Token, decode_message
from app.realtime.timer_wheel import TimerWheel
from app.realtime.websocket import FrameProtocol, WebSocketConnection
from app.runtime.rate_limit import AdmissionQueue
from fuzz.hostile import TEXTS, as_json, changed, json_words, spoiled
from fuzz.target import CANARY, Target

MAX_MESSAGE = 1024
MAX_FRAMES = 50
USER = UUID(int=1)
_LIMITS = Limits(ping_interval=20.0, answer_timeout=4.0, write_buffer=1 << 20, max_frames=MAX_FRAMES)
_loop = asyncio.new_event_loop()


class _Transport(asyncio.Transport):
    """Takes all, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended, "written after the end"
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.ended = True


class _Came(NamedTuple):
    """What came of a stream of bytes."""

    texts: tuple[bytes, ...]
    close_code: int | None
    said: int | None
    lost: int
    ended: bool


def check_frames(data: bytes) -> None:
    """Bytes 0 to 3 say where the rest, what a client sends, is cut, and how many frames are too many."""
    stream = data[4:]
    most = MAX_FRAMES if data[:1] > b"\x7f" else len(data)
    choose = random.Random(int.from_bytes(data[:4], "big"))
    cuts = sorted(choose.randrange(len(stream) + 1) for _ in range(choose.randrange(8)))
    ends = [*cuts, len(stream)]
    parts = [stream[begin:end] for begin, end in zip([0, *cuts], ends, strict=True)]
    whole = _loop.run_until_complete(_came_of([stream], most))
    in_parts = _loop.run_until_complete(_came_of(parts, most))
    if most == MAX_FRAMES:  # of what comes at once the sans-I/O layer's reasons to close are found first
        whole, in_parts = (came._replace(close_code=None, said=None) for came in (whole, in_parts))
    assert whole == in_parts, f"whole: {whole}, cut at {cuts}: {in_parts}"
    for text in whole.texts:
        text.decode()
        assert len(text) <= MAX_MESSAGE
    assert len(whole.texts) <= most
    assert whole.lost == 1


async def _came_of(parts: list[bytes], most: int) -> _Came:
    texts: list[bytes] = []
    lost: list[Connection] = []
    ws = FrameProtocol(state=OPEN, max_size=MAX_MESSAGE)

    def answer(connection: Connection, text: bytes) -> None:
        texts.append(text)
        connection.send(text_frame(text))

    connection = WebSocketConnection(
        ws,
        Claims(USER, "t", 0, 3600),
        ConnectionContext(
            _LIMITS._replace(max_frames=most),
            TimerWheel(),
            AdmissionQueue(1e-9, 1_000_000),  # nobody else is there to go first
            lambda seconds: _loop.time() + seconds,
            lost.append,
        ),
        on_message=answer,
    )
    transport = _Transport()
    connection.connection_made(transport)
    for part in parts:
        if not transport.ended:
            connection.data_received(part)
    if not transport.ended:
        connection.eof_received()
    ended = transport.ended
    assert len(transport.written) <= 4 * sum(map(len, parts)) + 400, "more out than in"
    said = ws.close_sent.code if ws.close_sent else None
    connection.connection_lost(None)
    return _Came(tuple(texts), connection.close_code, said, len(lost), ended)


class _Answers(Sessions):
    """Answers nothing but what can't be understood."""

    def __init__(self) -> None:
        pass

    def _in_background(self, answer: Coroutine[Any, Any, None]) -> None:
        answer.close()


class _Listener:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)


def check_session(data: bytes) -> None:
    """What a client says: understood, or answered by one frame that says what is wrong."""
    listener = _Listener()
    _Answers().received(cast(Connection, listener), data)
    if not listener.frames:
        match decode_message(data):
            case Resume(after):
                assert 0 <= after < 2**63
            case Read(id):
                assert 0 < id < 2**53
            case Token(jwt):
                jwt.encode()
        return
    (frame,) = listener.frames
    length = {126: 4, 127: 10}.get(frame[1], 2)
    failed = msgspec.json.decode(frame[length:])
    assert (failed["type"], failed["code"]) == ("error", "bad_message")
    assert len(frame) <= 2 * len(data) + 300, "the answer is much larger than what was said"
    if data.count(b'"jwt":"' + CANARY.encode()) == data.count(CANARY.encode()):
        assert CANARY not in failed["detail"], "the answer repeats the token"


def check_publication(data: bytes) -> None:
    """A publication that packs to one that says the same, or `MsgspecError`."""
    try:
        publication = unpack(data)
    except msgspec.MsgspecError:
        return
    assert repr(unpack(pack(publication))) == repr(publication)  # by repr: NaN isn't equal to itself


@st.composite
def _frame(draw: st.DrawFn) -> bytes:
    """A client's frame, masked by zeros; some with a wrong bit, length or text."""
    opcode = draw(st.sampled_from((0, 1, 1, 1, 2, 8, 9, 10, 3)))
    payload = draw(st.binary(max_size=20) | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")))
    if opcode == 8 and draw(st.booleans()):
        payload = draw(st.sampled_from((1000, 1001, 1005, 1015, 4000, 999))).to_bytes(2, "big") + payload
    first = opcode | draw(st.sampled_from((0x80, 0x80, 0x80, 0, 0xC0)))
    size = len(payload) if draw(st.integers(0, 9)) else draw(st.integers(0, 2**63))
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 2**16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes([first]) + length + bytes(4) + payload


_SAID: list[dict[str, Any]] = [
    {"type": "resume", "after": 7},
    {"type": "read", "id": 7},
    {"type": "token", "jwt": CANARY},
]
_PUSHES = st.builds(Push, st.uuids(), st.integers(0, 2**63 - 1), st.binary(max_size=30), st.booleans())
_PUBLICATIONS = st.builds(
    Publication,
    st.lists(_PUSHES, max_size=4),
    st.lists(st.tuples(st.uuids(), st.floats()), max_size=3),
    st.booleans(),
)
TARGETS = (
    Target(
        "frames",
        "whatever bytes a client sends, however they are cut: the same texts, close code and end; texts are "
        "UTF-8 and no larger than allowed, and never goes much more out than came in",
        check_frames,
        st.tuples(st.binary(min_size=4, max_size=4), st.lists(_frame(), max_size=12).map(b"".join)).map(
            b"".join
        ),
        [
            b"\x81\x80\x00\x00\x00\x00",
            b"\x01\x80\x00\x00\x00\x00",
            b"\x80\x80\x00\x00\x00\x00",
            b"\x88\x82\x00\x00\x00\x00\x03\xe8",
            b"\x89\x80\x00\x00\x00\x00",
            b"\x8a\x80\x00\x00\x00\x00",
            b"\x81\xfe\xff\xff",
            b"\x81\xff",
            b"\xc3",
            b"\xed\xa0\x80",
        ],
        longest=64 * 1024,
        weight=36,
    ),
    Target(
        "session",
        "what a client says is understood, or answered with one frame that doesn't repeat its token",
        check_session,
        spoiled(changed(_SAID, ("type", "after", "id", "jwt")).map(as_json)),
        json_words(_SAID),
        longest=16 * 1024,
        weight=6,
    ),
    Target(
        "publication",
        "packed and unpacked it says the same; what no node sends is `MsgspecError`",
        check_publication,
        spoiled(_PUBLICATIONS.map(pack)),
        longest=1 << 20,
        weight=5,
    ),
)
