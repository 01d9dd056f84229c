"""Turns for submission while a cluster takes no more jobs: one task tries again, the others wait in a fair order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FIRST_PROBE, LONGEST_PROBE = 1.0, 15.0
WIDEST = 20
"""The greatest number of tasks that have a turn at a time: as many as one round trip carries."""
TOLD_EVERY, LINES_A_SECOND = 60.0, 10
"""Seconds until a waiting task reports its place again, at least, and lines a second of all waiting tasks together.

A triggerer's logs must not be flooded.
"""


class Turns:
    """The queue of one account. Groups, such as workflows, take turns; within a group the first task goes first.

    One task submits at a time. Each accepted job doubles that number, up to ``WIDEST``; a refusal resets it to one.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._holders = 0
        self._width = 1
        self._pause = FIRST_PROBE

    def __len__(self) -> int:
        """The number of waiting tasks."""
        return sum(map(len, self._waiting.values()))

    @property
    def is_limited(self) -> bool:
        """Whether a task has a turn: then all other tasks must wait for a turn to submit."""
        return self._holders > 0

    @asynccontextmanager
    async def turn(self, group: str, report: Callable[[str], None]) -> AsyncIterator[None]:
        """Wait for a turn and hold it; ``report`` takes lines with the place in the queue."""
        if self._holders:
            await self._wait(group, report)
        else:
            self._holders, self._width = 1, 1
        try:
            yield
        finally:
            self._pass_on()

    async def refused(self) -> None:
        """Go back to one turn at a time, and pause before the task tries again."""
        self._width = 1
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PROBE)

    def accepted(self) -> None:
        """Double the number of turns at a time, because a job was accepted."""
        self._pause = FIRST_PROBE
        self._width = min(self._width * 2, WIDEST)
        self._hand_out()

    async def _wait(self, group: str, report: Callable[[str], None]) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(group, deque()).append(mine)
        try:
            while not mine.done():
                report(f"waiting to be submitted: number {self.place(mine)} of {len(self)} in the queue")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(TOLD_EVERY, len(self) / LINES_A_SECOND)):
                        await asyncio.shield(mine)
        except asyncio.CancelledError:
            if mine.done():  # the turn came together with the cancellation
                self._pass_on()
            mine.cancel()
            raise

    def place(self, mine: asyncio.Future[None]) -> int:
        """The place of a waiting task in the queue, counted from 1: in each round every group has one turn."""
        group = next(name for name, waiting in self._waiting.items() if mine in waiting)
        names = list(self._waiting)
        rounds = self._waiting[group].index(mine)
        before = sum(min(len(waiting), rounds) for waiting in self._waiting.values())
        return before + 1 + sum(len(self._waiting[name]) > rounds for name in names[: names.index(group)])

    def _pass_on(self) -> None:
        self._holders -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self._holders < self._width:
            group, waiting = next(iter(self._waiting.items()))
            del self._waiting[group]
            following = waiting.popleft()
            if waiting:  # the group goes to the end
                self._waiting[group] = waiting
            if not following.done():
                self._holders += 1
                following.set_result(None)
