"""Calls that share round trips: all that are made during one call go out together in the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from app.runtime.tasks import end

Q = TypeVar("Q")
A = TypeVar("A")


class _Asked(NamedTuple, Generic[Q, A]):
    question: Q
    answer: asyncio.Future[A]


class SharedCalls(Generic[Q, A]):
    """One call at a time, for many who ask: under load a question costs a share of a call, and a thundering
    herd takes one connection.
    """

    def __init__(
        self, call: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], max_count: int, *, name: str
    ) -> None:
        """Args:
        call: Answers up to `max_count` questions, in their order. What it raises, all who asked get.
        name: Of the task.
        """
        self._call = call
        self._max_count = max_count
        self._name = name
        self._waiting: list[_Asked[Q, A]] = []
        self._calling: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """Return the answer, or raise what the call raised."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(question, answer))
        if self._calling is None or self._calling.done():
            self._calling = asyncio.create_task(self._call_all(), name=self._name)
        return await answer

    async def close(self) -> None:
        """End the call under way and cancel all who wait."""
        await end(self._calling)
        for asked in self._waiting:
            asked.answer.cancel()

    async def _call_all(self) -> None:
        while self._waiting:
            now, self._waiting = self._waiting[: self._max_count], self._waiting[self._max_count :]
            now = [asked for asked in now if not asked.answer.done()]  # who asked may be gone
            if now:
                await self._answer(now)

    async def _answer(self, now: Sequence[_Asked[Q, A]]) -> None:
        try:
            answers = await self._call([asked.question for asked in now])
        except Exception as error:  # whatever it was, nobody is left waiting
            for asked in now:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
        except BaseException:
            for asked in now:
                asked.answer.cancel()
            raise
        else:
            for asked, answer in zip(now, answers, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(answer)
