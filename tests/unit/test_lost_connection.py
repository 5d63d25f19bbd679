"""Connections that are lost within a body."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.server.protocol import FairProtocol


async def test_a_lost_connection_ends_its_request_without_a_trace() -> None:
    """Sanic goes on to read the body after the request was cancelled; anybody could fill the log."""
    protocol: Any = FairProtocol.__new__(FairProtocol)
    protocol.transport = None
    with pytest.raises(asyncio.CancelledError):
        await protocol.receive_more()
