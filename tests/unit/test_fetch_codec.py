"""Fetches and their answers are encoded as aiokafka does it itself."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.struct import Struct
from hypothesis import given
from hypothesis import strategies as st

from app.sources.kafka import fetch_codec

int16, int32 = st.integers(-(2**15), 2**15 - 1), st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
asked = st.lists(st.tuples(names, st.lists(st.tuples(int32, int64, int32), max_size=5)), max_size=3)
aborted = st.none() | st.lists(st.tuples(int64, int64), max_size=3)
answers = st.tuples(int32, int16, int64, int64, int64, aborted, int32, st.none() | st.binary(max_size=50))
responses = st.builds(
    FetchResponse_v11,
    int32,
    int16,
    int32,
    st.lists(st.tuples(names, st.lists(answers, max_size=5)), max_size=3),
)


@given(st.tuples(int32, int32, int32), st.integers(0, 1), asked, names)
def test_a_fetch_is_encoded_as_by_aiokafka(
    limits: tuple[int, int, int], level: int, topics: Any, rack: str
) -> None:
    request = FetchRequest(*limits, level, topics, rack).prepare({FetchRequest.API_KEY: (4, 17)})
    assert type(request) is FetchRequest_v11
    assert request.encode() == fetch_codec.encode(request) == Struct.encode(request)


@given(responses)
def test_an_answer_is_decoded_as_by_aiokafka(response: Any) -> None:
    encoded = Struct.encode(response)
    assert FetchResponse_v11.decode(BytesIO(encoded)) == response
    assert fetch_codec.decode(encoded) == response


@given(responses, st.data())
def test_an_answer_that_is_cut_off_is_refused(response: Any, data: st.DataObject) -> None:
    encoded = Struct.encode(response)
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    with pytest.raises(ValueError, match=r"cut off|unexpected end"):
        fetch_codec.decode(cut)
