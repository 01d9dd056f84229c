"""Many requests of one kind in one round trip: requests made while an answer is awaited go with the next round trip."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Item = TypeVar("Item")
Answer = TypeVar("Answer")
PACE = 0.5
"""Seconds between round trips of one kind that carry few requests."""


class Coalescer(Generic[Item, Answer]):
    """Collects items for ``ask(items)``, which gives an answer for each item in order, or an error to raise for it.

    The first request is sent at once. Requests soon after it are sent together: ``pace`` seconds after the first, or as
    soon as there are ``max_items``. At most ``at_once`` round trips are under way. An error of a whole round trip is
    raised for each of its requests. Belongs to one event loop at a time.
    """

    def __init__(
        self,
        ask: Callable[[list[Item]], Awaitable[list[Answer | Exception]]],
        max_items: int = 50,
        at_once: int = 2,
        pace: float = PACE,
    ) -> None:
        self._ask = ask
        self._max_items = max_items
        self._at_once = at_once
        self._pace = pace
        self._set_out_at = -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._trips: set[asyncio.Future[list[Answer | Exception]]] = set()

    async def __call__(self, item: Item) -> Answer:
        """Request the answer for one item."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._set_out()
        return await future

    def _set_out(self) -> None:
        if not self._waiting or len(self._trips) >= self._at_once:
            return
        loop = asyncio.get_running_loop()
        rest = self._set_out_at + self._pace - loop.time()
        if rest > 0 and len(self._waiting) < self._max_items:
            if self._timer is None or self._timer.when() <= loop.time():
                self._timer = loop.call_later(rest, self._set_out)
            return
        batch = self._boarding()
        if not batch:
            return
        self._set_out_at = loop.time()
        trip: asyncio.Future[list[Answer | Exception]]
        self._trips.add(trip := asyncio.ensure_future(self._ask([item for item, _ in batch])))
        trip.add_done_callback(lambda done: self._come_back(done, [future for _, future in batch]))

    def _boarding(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        """The first waiting requests, without the requests that were cancelled meanwhile."""
        batch: list[tuple[Item, asyncio.Future[Answer]]] = []
        while self._waiting and len(batch) < self._max_items:
            item, future = self._waiting.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

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
