"""Whose turn it is to submit, where a cluster takes no more for now: one probes, the others wait, fairly."""

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
"""So many have the turn at a time and no more: what one round trip takes."""
TOLD_EVERY, LINES_A_SECOND = 60.0, 10
"""Seconds after which a task that waits hears its place again; a triggerer's logs must not be flooded."""


class Turns:
    """The queue of one account. Groups, as workflows are, take turns; within a group who came first goes first.

    One has the turn; after each job that is taken twice as many at a time, until one is refused again.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._holders = 0
        self._width = 1
        self._pause = FIRST_PROBE

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    @property
    def is_limited(self) -> bool:
        """Whether somebody was refused, and nobody may submit but by turns."""
        return self._holders > 0

    @asynccontextmanager
    async def turn(self, group: str, report: Callable[[str], None]) -> AsyncIterator[None]:
        """Wait for one's turn and have it; ``report`` hears the place."""
        if self._holders:
            await self._wait(group, report)
        else:
            self._holders, self._width = 1, 1
        try:
            yield
        finally:
            self._pass_on()

    async def refused(self) -> None:
        """Rest before whoever has the turn probes again."""
        self._width = 1
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PROBE)

    def accepted(self) -> None:
        """A job was taken: more may be at once."""
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
            if mine.done():  # the turn came together with the end
                self._pass_on()
            mine.cancel()
            raise

    def place(self, mine: asyncio.Future[None]) -> int:
        """After how many turns it is that of one who waits, who counts: in each round every group has one."""
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
