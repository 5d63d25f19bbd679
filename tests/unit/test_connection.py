"""One connection: what its client sees, be it slow, vanished, hostile or polite."""

from __future__ import annotations

import asyncio
import gc
import weakref
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Opcode

from app.realtime.connection import CLOSE_TIMEOUT_SECONDS
from app.realtime.protocol import CloseCode, text_frame
from app.realtime.websocket import MAX_BYTES_PER_READ, MAX_CONTROL_FRAMES_IN_A_ROW
from app.runtime.rate_limit import AdmissionQueue
from tests.support.peers import (
    EMPTY_PING,
    LIFETIME,
    LIMITS,
    MAX_MESSAGE,
    Peer,
    all_read,
    client,
    frames,
    settled,
)


@given(st.integers(0, 70_000))
@example(0)
@example(125)
@example(126)
@example(65_535)
@example(65_536)
@example(70_000)
def test_a_text_frame_of_any_length_is_read_by_the_client_as_it_was(length: int) -> None:
    payload = b"n" * length
    peer = client()
    peer.receive_data(text_frame(payload) + text_frame(b"next"))
    first, second = frames(peer)
    assert (first.opcode, first.fin, first.data) == (Opcode.TEXT, True, payload)
    assert second.data == b"next"


async def test_what_is_sent_arrives_in_order() -> None:
    peer = Peer()
    for number in range(3):
        peer.connection.send(text_frame(b"%d" % number))
    assert [frame.data for frame in peer.read()] == [b"0", b"1", b"2"]


async def test_what_is_held_goes_behind_what_it_waited_for() -> None:
    peer = Peer()
    peer.connection.hold()
    peer.connection.send(text_frame(b"second"))
    peer.connection.hold()  # again, which lets nothing go
    assert peer.read() == []
    peer.connection.release(text_frame(b"first"))
    peer.connection.send(text_frame(b"third"))
    assert [frame.data for frame in peer.read()] == [b"first", b"second", b"third"]


async def test_a_slow_client_is_closed_with_4001_and_gets_nothing_after() -> None:
    peer = Peer()
    peer.transport.stalled = True
    frame = text_frame(b"x" * 300)
    for _ in range(10):
        peer.connection.send(frame)
    assert not peer.connection.open
    assert peer.lost == [peer.connection]
    *data, close = peer.read()
    assert len(data) == 4  # the one that passed the limit is the last
    assert close.opcode is Opcode.CLOSE
    assert peer.client.close_rcvd is not None
    assert peer.client.close_rcvd.code == peer.connection.close_code == 4001


async def test_a_client_that_reads_is_never_too_slow() -> None:
    peer = Peer()
    for _ in range(100):
        peer.connection.send(text_frame(b"x" * 300))
    assert len(peer.read()) == 100
    assert peer.connection.open


async def test_a_client_that_never_answers_the_close_is_aborted() -> None:
    peer = Peer()
    peer.transport.stalled = True
    peer.connection.close(CloseCode.TOO_SLOW)
    assert peer.now + CLOSE_TIMEOUT_SECONDS <= peer.connection.due <= peer.now + CLOSE_TIMEOUT_SECONDS + 2
    assert peer.connection.tick(peer.now + CLOSE_TIMEOUT_SECONDS) is None
    assert peer.transport.ended == "aborted"
    await settled()
    assert peer.lost == [peer.connection]
    assert peer.connection.due == 0


async def test_an_unanswered_ping_ends_the_connection() -> None:
    peer = Peer()
    assert peer.connection.tick(peer.now + 20) == peer.now + 40
    assert peer.connection.tick(peer.now + 40) is None
    assert peer.transport.ended == "aborted"
    await settled()
    assert peer.lost == [peer.connection]


async def test_whoever_answers_pings_stays() -> None:
    peer = Peer()
    for number in range(1, 50):
        peer.connection.tick(peer.now + 20 * number)
        assert peer.read() == []
        assert peer.pings == number
        peer.say()
    assert peer.connection.open


async def test_a_ping_rides_along_and_whoever_does_not_answer_it_in_time_is_gone() -> None:
    peer = Peer()
    for _ in range(10):
        peer.connection.send(text_frame(b"news"))
    assert 4 <= peer.connection.due - peer.now <= 6
    assert peer.connection.tick(peer.now + 4) is None
    assert peer.transport.ended == "aborted"


async def test_whoever_answers_the_ping_that_rides_along_stays() -> None:
    peer = Peer()
    for number in range(1, 500):
        peer.connection.send(text_frame(b"news"))
        peer.connection.send(text_frame(b"more"))
        assert len(peer.read()) == 2
        assert peer.pings == number
        peer.say()
        assert peer.connection.tick(peer.now + 4 * number) == peer.now + 4 * number + 20
    assert peer.connection.open


async def test_a_client_on_a_slow_line_has_time_to_answer_behind_much_else() -> None:
    peer = Peer()
    peer.connection.send(text_frame(b"x" * 640 * 1024))
    assert 14 <= peer.connection.due - peer.now <= 16


async def test_what_comes_with_the_clients_close_is_still_received() -> None:
    heard: list[bytes] = []
    peer = Peer()
    peer.connection._on_message = lambda _, text: heard.append(text)
    peer.client.send_text(b"read")
    peer.client.send_close(1000)
    peer.say()
    assert heard == [b"read"]
    assert not peer.connection.open


async def test_a_client_may_close_in_the_middle_of_a_message() -> None:
    peer = Peer()
    peer.client.send_text(b"unfinished", fin=False)
    peer.client.send_close(1000)
    peer.say()
    assert peer.close_code() == 1000


async def test_a_pong_goes_before_the_answer_to_what_came_behind_the_ping() -> None:
    peer = Peer()
    peer.connection._on_message = lambda connection, text: connection.send(text_frame(text))
    peer.client.send_ping(b"first")
    peer.client.send_text(b"second")
    peer.say()
    assert [frame.data for frame in peer.read()] == [b"first", b"second"]


async def test_the_first_ping_comes_after_the_interval() -> None:
    peer = Peer()
    assert 20 <= peer.connection.due - peer.now <= 21
    assert peer.read() == []


async def test_an_expired_token_closes_with_4401() -> None:
    peer = Peer()
    peer.connection.tick(peer.now + LIFETIME - 1)
    peer.read()
    peer.say()
    assert peer.connection.tick(peer.now + LIFETIME) == peer.now + LIFETIME + CLOSE_TIMEOUT_SECONDS
    assert peer.close_code() == 4401
    assert peer.lost == [peer.connection]


async def test_the_clock_is_asked_for_the_expiry_when_it_comes_before_the_next_ping() -> None:
    peer = Peer()
    assert peer.connection.tick(peer.now + LIFETIME - 5) == peer.now + LIFETIME


async def test_too_many_frames_in_an_interval_close_with_4429() -> None:
    peer = Peer()
    for _ in range(LIMITS.max_frames + 5):
        peer.client.send_text(b"hello")
    peer.say()
    assert peer.close_code() == 4429
    assert peer.lost == [peer.connection]


async def test_a_client_that_renews_its_token_all_the_time_is_looked_at_when_it_was_due() -> None:
    peer = Peer()
    due, claims = peer.connection.due, peer.connection.claims
    for soon in (30, 40, LIFETIME):
        peer.connection.renew(claims._replace(expires_at=soon))
        assert peer.connection.due == due
    peer.connection.renew(claims._replace(expires_at=1))
    assert peer.connection.due < due
    peer.connection.tick(peer.now + 2)
    assert peer.close_code() == CloseCode.TOKEN_EXPIRED


async def test_each_interval_has_its_own_count_of_frames() -> None:
    peer = Peer()
    for number in range(1, 5):
        for _ in range(LIMITS.max_frames - 1):
            peer.client.send_ping(b"hello")
        peer.say()
        peer.connection.tick(peer.now + 20 * number)
        peer.read()
        peer.say()  # the pong counts as one of the next
        assert peer.connection.open


@pytest.mark.parametrize("message", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
async def test_text_that_is_not_utf8_closes_with_1007(message: bytes) -> None:
    peer = Peer()
    peer.client.send_text(message)
    peer.say()
    assert peer.close_code() == 1007
    assert peer.lost == [peer.connection]


@pytest.mark.parametrize(
    "fragments",
    [(b"a\xff", b"b"), (b"a", b"\xff", b"b"), (b"a", b"b\xc3"), (b"\xc3", b"", b"\xc3"), (b"\xe1\xbb", b"a")],
)
async def test_fragments_that_are_not_utf8_together_close_with_1007(fragments: tuple[bytes, ...]) -> None:
    peer = Peer()
    send_fragments(peer, fragments)
    assert peer.close_code() == 1007


async def test_what_is_wrong_first_decides_the_close_code_also_when_all_comes_at_once() -> None:
    peer = Peer()
    peer.client.send_text(b"\xff")
    peer.connection.data_received(b"".join(peer.client.data_to_send()) + b"\x83\x80aaaa")
    assert peer.close_code() == 1007
    assert peer.lost == [peer.connection]


@given(st.text(min_size=1, max_size=30), st.lists(st.integers(0, 120), max_size=7))
@example("Phở", [3])
async def test_text_may_be_split_anywhere_even_inside_a_character(text: str, cuts: list[int]) -> None:
    peer = Peer()
    whole = text.encode()
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    send_fragments(peer, [whole[a:b] for a, b in pairwise(edges)])
    assert peer.close_code() is None
    peer.client.send_text(b"next")
    peer.say()
    assert peer.connection.open


def send_fragments(peer: Peer, fragments: list[bytes] | tuple[bytes, ...]) -> None:
    """As one text message, with a ping amid it."""
    peer.client.send_text(fragments[0], fin=len(fragments) == 1)
    peer.client.send_ping(b"amid")
    for number, fragment in enumerate(fragments[1:], 2):
        peer.client.send_continuation(fragment, fin=number == len(fragments))
    peer.say()


async def test_binary_messages_may_hold_any_bytes() -> None:
    peer = Peer()
    peer.client.send_text(b"text before")
    peer.client.send_binary(b"\xff\xfe", fin=False)
    peer.client.send_continuation(b"\xc3", fin=True)
    peer.say()
    assert peer.close_code() is None


async def test_a_message_that_is_too_big_closes_with_1009() -> None:
    peer = Peer()
    peer.client.send_text(b"x" * MAX_MESSAGE)
    peer.say()
    assert peer.connection.open
    peer.client.send_text(b"x" * (MAX_MESSAGE + 1))
    peer.say()
    await all_read(peer)
    assert peer.close_code() == 1009
    assert peer.lost == [peer.connection]


async def test_fragments_that_are_too_big_together_close_with_1009() -> None:
    peer = Peer()
    send_fragments(peer, [b"x" * 600, b"x" * 600])
    assert peer.close_code() == 1009


@pytest.mark.parametrize(
    "data", [b"\x81\x01a", b"\xc1\x80aaaa", b"\x83\x80aaaa", b"\x80\x80aaaa", b"\x09\x80aaaa"]
)
async def test_what_is_no_websocket_frame_of_a_client_closes_with_1002(data: bytes) -> None:
    peer = Peer()
    peer.connection.data_received(data)
    assert peer.close_code() == 1002
    assert peer.lost == [peer.connection]


@given(st.lists(st.binary(max_size=40), max_size=5))
async def test_no_bytes_of_a_client_raise(chunks: list[bytes]) -> None:
    peer = Peer()
    for chunk in chunks:
        peer.connection.data_received(chunk)
    peer.connection.eof_received()
    await settled()
    assert peer.lost == [peer.connection]


async def test_frames_may_come_byte_by_byte() -> None:
    peer = Peer()
    peer.client.send_ping(b"abc")
    for byte in b"".join(peer.client.data_to_send()):
        peer.connection.data_received(bytes([byte]))
    assert [(frame.opcode, frame.data) for frame in peer.read()] == [(Opcode.PONG, b"abc")]


async def test_the_client_may_close_and_is_answered() -> None:
    peer = Peer()
    peer.client.send_close(1000, "bye")
    peer.say()
    assert peer.close_code() == 1000
    assert peer.transport.ended == "closed"
    assert peer.lost == [peer.connection]
    await settled()
    assert peer.lost == [peer.connection]
    assert not peer.connection.connected


async def test_the_hub_may_close_and_waits_for_the_answer() -> None:
    peer = Peer()
    peer.connection.close(CloseCode.RESTARTING, "restarting")
    assert not peer.connection.open
    assert peer.close_code() == 1012
    assert (peer.connection.connected, peer.transport.ended) == (True, "")
    peer.say()
    assert peer.transport.ended == "closed"
    await settled()
    assert not peer.connection.connected
    assert peer.lost == [peer.connection]


async def test_the_first_close_counts() -> None:
    peer = Peer()
    peer.connection.close(CloseCode.LOGGED_OUT)
    peer.connection.close(CloseCode.RESTARTING)
    assert peer.close_code() == peer.connection.close_code == 4500
    assert peer.lost == [peer.connection]


async def test_nothing_is_sent_on_a_connection_that_is_closing_or_gone() -> None:
    peer = Peer()
    peer.connection.close(CloseCode.RESTARTING)
    peer.connection.send(text_frame(b"late"))
    assert [frame.opcode for frame in peer.read()] == [Opcode.CLOSE]
    peer.connection.connection_lost(None)
    peer.connection.send(text_frame(b"later"))
    peer.connection.close(CloseCode.RESTARTING)
    peer.connection.abort()
    assert peer.read() == []


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_a_client_that_vanished_is_lost_once(error: Exception | None) -> None:
    peer = Peer()
    peer.connection.connection_lost(error)
    assert peer.lost == [peer.connection]
    assert peer.connection.due == 0
    assert peer.connection.tick(peer.now + 20) is None


async def test_the_end_of_the_clients_bytes_ends_the_connection() -> None:
    peer = Peer()
    peer.connection.eof_received()
    assert peer.transport.ended == "closed"
    await settled()
    assert peer.lost == [peer.connection]


async def test_an_abort_says_nothing_and_is_lost_once() -> None:
    peer = Peer()
    peer.connection.abort()
    assert peer.read() == []
    await settled()
    assert peer.lost == [peer.connection]


async def test_a_client_that_floods_after_its_close_fills_no_memory() -> None:
    peer = Peer()
    peer.transport.stalled = True
    for _ in range(500):
        for _ in range(20):
            peer.client.send_ping(b"x" * 125)
        peer.say()
    assert peer.connection.close_code == CloseCode.TOO_MANY
    assert len(peer.transport.buffer) < 10 * LIMITS.write_buffer


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.TEXT, Opcode.BINARY])
async def test_of_a_flood_only_so_much_is_read_and_its_client_still_learns_why(opcode: Opcode) -> None:
    peer = Peer()
    flood = bytes((0x80 | opcode, 0x80, 0, 0, 0, 0)) * 40_000
    peer.connection.data_received(flood)
    assert peer.close_code() == 4429
    assert peer.connection._frames <= MAX_BYTES_PER_READ / 6 + LIMITS.max_frames
    assert peer.transport.paused
    await settled()
    assert peer.connection.connected
    peer.connection.tick(peer.now + CLOSE_TIMEOUT_SECONDS)
    await settled()
    assert not peer.connection.connected


async def test_of_many_frames_some_are_read_and_the_rest_after_others_had_their_turn() -> None:
    pace = AdmissionQueue(1e9, 1)
    peers = [Peer(pace=pace, limits=LIMITS._replace(max_frames=1000)) for _ in range(3)]
    for peer in peers:
        peer.connection.data_received(EMPTY_PING * 500)
    read = [peer.connection._frames for peer in peers]
    most = MAX_CONTROL_FRAMES_IN_A_ROW + MAX_BYTES_PER_READ / len(EMPTY_PING)
    assert read[0] <= 2 * most, "it took the one turn there was"
    assert max(read[1:]) <= most
    assert all(peer.transport.paused for peer in peers)
    assert len(pace) == 3


async def test_in_the_end_all_of_many_frames_are_read_and_answered_in_order() -> None:
    peer = Peer(pace=AdmissionQueue(0.001, 1), limits=LIMITS._replace(max_frames=1000))
    for number in range(500):
        peer.client.send_ping(str(number).encode())
    peer.say()
    await all_read(peer)
    pongs = [frame.data for frame in peer.read() if frame.opcode is Opcode.PONG]
    assert pongs == [str(number).encode() for number in range(500)]


async def test_who_goes_while_frames_wait_to_be_read_is_lost_once() -> None:
    pace = AdmissionQueue(0.001, 1)
    peer = Peer(pace=pace, limits=LIMITS._replace(max_frames=1000))
    peer.connection.data_received(EMPTY_PING * 500)
    peer.connection.connection_lost(None)
    await asyncio.sleep(0.01)
    assert peer.lost == [peer.connection]
    assert len(pace) == 0


async def test_who_is_lost_leaves_nothing_to_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        peer = Peer()
        parts = weakref.ref(peer.connection._ws)
        peer.connection.eof_received()
        await settled()
        assert peer.lost == [peer.connection]
        del peer
        assert parts() is None
    finally:
        gc.enable()
