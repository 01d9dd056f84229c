"""Programs on this machine, and their cancellation."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from hotswap_airflow import errors
from hotswap_airflow.cluster.transport.local import LocalTransport


async def test_local_commands() -> None:
    transport = LocalTransport()
    assert (await transport.run(("sh", "-c", "cat; exit 3"), b"x" * 10**6)).status == 3
    assert (await transport.run(("true",), b"x" * 10**6)).status == 0
    with pytest.raises(errors.CommandFailed, match="cannot be run here"):
        await transport.run(("no-such-program",))
    with pytest.raises(errors.ConnectionLost):
        await transport.run(("sleep", "60"), limit=0.2)


async def test_a_command_that_is_cancelled_at_any_moment_ends() -> None:
    transport = LocalTransport({"PATH": os.environ["PATH"]})
    for moment in range(40):
        running = asyncio.create_task(transport.run(("sleep", "600"), b"x"))
        await asyncio.sleep(moment / 10_000)
        running.cancel()
        async with asyncio.timeout(60):
            await asyncio.gather(running, return_exceptions=True)


async def test_a_cancellation_is_not_lost_where_no_process_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def make(*_: Any, **__: Any) -> Any:
        begun.set()
        await asyncio.sleep(0.1)
        raise OSError("too many files")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", make)
    running = asyncio.create_task(LocalTransport().run(("true",)))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_command_that_is_cancelled_leaves_nothing_to_wait_for() -> None:
    transport = LocalTransport({"PATH": os.environ["PATH"]})
    for command in ("yes", "yes & exec sleep 600", "sleep 600"):
        running = asyncio.create_task(transport.run(("sh", "-c", command), b"x" * 200_000))
        await asyncio.sleep(0.1)  # its output is more than is read at a time
        running.cancel()
        async with asyncio.timeout(60):
            await asyncio.gather(running, return_exceptions=True)
