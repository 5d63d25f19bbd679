"""A hub that dies by kill -9 at a given moment.

`python -m tests.crashing_hub before-push|before-logout|before-offset|before-ack`
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import aiormq
from aiokafka import AIOKafkaConsumer

from app import server, settings
from app.realtime.bus import RedisBus


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    match sys.argv[1]:
        case "before-push":
            RedisBus.publish = die  # type: ignore[method-assign]
        case "before-logout":
            RedisBus.disconnect = die  # type: ignore[method-assign]
        case "before-offset":
            AIOKafkaConsumer.commit = die
        case "before-ack":
            aiormq.Channel.basic_ack = die  # type: ignore[method-assign]
    server.run(settings.load())
