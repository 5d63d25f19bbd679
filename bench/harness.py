"""The hub or the baseline with a window into it: `python -m bench.harness hub|naive WINDOW`.

Both apps are made and served just as they are without it. SIGUSR1 writes the number of asyncio tasks to the
file WINDOW. With BENCH_PROFILE=1 a CPU-time timer samples the stack from the next SIGUSR1 on, and the next
one after that writes the samples instead.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop
from sanic import Sanic

from bench.sampling import Sampler


def _install(app: Sanic[Any, Any], window: Path) -> None:
    sampler = Sampler() if os.environ.get("BENCH_PROFILE") else None

    def show() -> None:
        found: dict[str, object] = {"tasks": len(asyncio.all_tasks())}
        if sampler is not None:
            found["samples"] = sampler.take()
        new = window.with_suffix(".new")
        new.write_text(json.dumps(found))
        new.replace(window)

    async def start(*_: object) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, show)

    app.register_listener(start, "after_server_start")


def _serve_hub(window: Path) -> None:
    from app import settings
    from app.runtime import log
    from app.server import app as server
    from app.server import serve as serving

    loaded = settings.load()
    log.configure(loaded.server.log_level)
    app = server.create_app(loaded)
    _install(app, window)
    uvloop.run(
        serving.serve(app, serving.bind(loaded.server.host, loaded.server.port), app.ctx.repeat_offenders)
    )


def _serve_naive(window: Path) -> None:
    from bench import naive

    app = naive.create_app(os.environ)
    _install(app, window)
    naive.run(app, int(os.environ["PORT"]))


if __name__ == "__main__":
    {"hub": _serve_hub, "naive": _serve_naive}[sys.argv[1]](Path(sys.argv[2]))
