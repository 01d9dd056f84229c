"""Many questions of one kind in one round trip: what is asked while an answer is awaited goes along with the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Coalescer(Generic[Item, Answer]):
    """Asks ``ask(items)``, which gives an answer for each item in order, or an error to raise for it.

    The first question goes at once. At most ``at_once`` round trips are under way, of at most ``most`` items each.
    An error of a whole round trip is everybody's. Belongs to one event loop at a time.
    """

    def __init__(
        self, ask: Callable[[list[Item]], Awaitable[list[Answer | Exception]]], most: int = 50, at_once: int = 2
    ) -> None:
        self._ask = ask
        self._most = most
        self._at_once = at_once
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._trips: set[asyncio.Future[list[Answer | Exception]]] = set()

    async def __call__(self, item: Item) -> Answer:
        """Ask for one item."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._set_out()
        return await future

    def _set_out(self) -> None:
        # Whoever was cancelled meanwhile needs no answer.
        self._waiting = [(item, future) for item, future in self._waiting if not future.done()]
        if not self._waiting or len(self._trips) >= self._at_once:
            return
        batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        trip: asyncio.Future[list[Answer | Exception]]
        self._trips.add(trip := asyncio.ensure_future(self._ask([item for item, _ in batch])))
        trip.add_done_callback(lambda done: self._come_back(done, [future for _, future in batch]))

    def _come_back(self, trip: asyncio.Future[list[Answer | Exception]], futures: list[asyncio.Future[Answer]]) -> None:
        self._trips.discard(trip)
        error = asyncio.CancelledError() if trip.cancelled() else trip.exception()
        answers = trip.result() if error is None else [error] * len(futures)
        for future, answer in zip(futures, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, asyncio.CancelledError):
                future.cancel()
            elif isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        self._set_out()
