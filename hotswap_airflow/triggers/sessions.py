"""One session a connection and event loop: all triggers of a triggerer share its ssh connection and its watcher."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.session import Session
from hotswap_airflow.cluster.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hotswap_airflow.cluster.client import ClusterClient

LOOK_UP_LIMIT = 60.0
"""Seconds that Airflow may take to give a connection; a call it cannot answer would wait for ever."""
Key = tuple[str, str]


@dataclass
class _Shared:
    session: Session
    loop: asyncio.AbstractEventLoop
    users: int = 0


_shared: dict[Key, _Shared] = {}
_locks: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}


@asynccontextmanager
async def shared_session(conn_id: str, workdir: str) -> AsyncIterator[Session]:
    """Use the session of a connection; the last user closes it. Raises ``SetupError``."""
    entry = await _acquire((conn_id, workdir))
    try:
        yield entry.session
    finally:
        await _release((conn_id, workdir), entry)


async def _acquire(key: Key) -> _Shared:
    loop = asyncio.get_running_loop()
    async with _locks.setdefault(loop, asyncio.Lock()):
        entry = _shared.get(key)
        if entry is None or entry.loop is not loop:
            client = await _client(*key)
            entry = _shared[key] = _Shared(Session(client, JobWatcher(client)), loop)
        entry.users += 1
        return entry


async def _client(conn_id: str, workdir: str) -> ClusterClient:
    # Half a second of ssh libraries, which a worker that only writes a trigger down does not need.
    from hotswap_airflow.hooks.slurm import SlurmHook

    while True:
        try:
            async with asyncio.timeout(LOOK_UP_LIMIT):
                return await SlurmHook(conn_id, workdir).client()
        except TimeoutError:
            # A triggerer that takes over thousands of triggers answers them one by one.
            await asyncio.sleep(1)


async def _release(key: Key, entry: _Shared) -> None:
    entry.users -= 1
    if entry.users == 0:
        if _shared.get(key) is entry:
            del _shared[key]
        await entry.session.watcher.close()
        await entry.session.client.transport.close()
