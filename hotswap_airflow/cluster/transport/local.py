"""Commands as processes on this machine, for an Airflow that runs on a login node."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.transport.base import COMMAND_TIMEOUT, Reply, write_all
from hotswap_airflow.errors import CommandFailed, ConnectionLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


class LocalTransport:
    """Runs commands on this machine, in ``environment`` if it is given."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = environment

    async def run(
        self, argv: tuple[str, ...], stdin: bytes | AsyncIterator[bytes] = b"", limit: float = COMMAND_TIMEOUT
    ) -> Reply:
        """Run a command and wait for its answer."""
        try:
            process = await self._start(argv)
        except (FileNotFoundError, PermissionError) as error:
            raise CommandFailed(f"{argv[0]} cannot be run here: {error.strerror}") from error
        except OSError as error:  # the machine has no free process or file just now
            raise ConnectionLost(f"{argv[0]} cannot be run here now: {error.strerror}") from error
        try:
            async with asyncio.timeout(limit):
                stdout, stderr, _ = await asyncio.gather(
                    _read(process.stdout), _read(process.stderr), _feed(process.stdin, stdin)
                )
                status = await process.wait()
        except TimeoutError:
            raise ConnectionLost(f"{argv[0]} gave no answer within {limit:.0f} s") from None
        finally:
            await _end(process)
        return Reply(status, stdout, stderr)

    async def _start(self, argv: tuple[str, ...]) -> asyncio.subprocess.Process:
        making = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
                start_new_session=True,
            )
        )
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            # If it is cancelled while it starts a process, asyncio may wait for it for ever: let it start, then end it.
            with contextlib.suppress(OSError):
                await _end(await asyncio.shield(making))
            raise

    async def close(self) -> None:
        """Do nothing: there is no connection."""


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.read() if stream is not None else b""


async def _feed(stream: asyncio.StreamWriter | None, data: bytes | AsyncIterator[bytes]) -> None:
    if stream is None:
        return
    try:
        await write_all(stream, data)
        await stream.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the command stopped reading; its exit status shows why
    finally:
        stream.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    # Close before the wait, which lasts until the pipes are closed: a cancelled task no longer reads them.
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no public way
    await process.wait()
