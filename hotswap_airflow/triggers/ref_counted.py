"""Values that many users of one event loop share: the first user makes a value, the last user closes it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

Value = TypeVar("Value")


@dataclass
class _Entry(Generic[Value]):
    value: Value
    users: int = 0


class RefCounted(Generic[Value]):
    """Values by key, each for one event loop. ``close`` closes a value that nobody uses any more."""

    def __init__(self, close: Callable[[Value], Awaitable[None]]) -> None:
        self._close = close
        self._entries: dict[tuple[asyncio.AbstractEventLoop, Hashable], _Entry[Value]] = {}
        self._locks: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}

    @asynccontextmanager
    async def use(self, key: Hashable, make: Callable[[], Awaitable[Value]]) -> AsyncIterator[Value]:
        """Use the value of a key. ``make`` is called if there is none."""
        loop = asyncio.get_running_loop()
        async with self._locks.setdefault(loop, asyncio.Lock()):
            entry = self._entries.get((loop, key))
            if entry is None:
                entry = self._entries[loop, key] = _Entry(await make())
            entry.users += 1
        try:
            yield entry.value
        finally:
            entry.users -= 1
            if entry.users == 0:
                del self._entries[loop, key]
                await self._close(entry.value)
