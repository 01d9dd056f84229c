"""Commands as processes of this machine: Airflow itself runs on a login node."""

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
    """Runs commands here, in ``environment`` where one is given."""

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
        except OSError as error:  # no process or file is to be had just now
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
            # Cancelled while it makes a process, asyncio may wait for it for ever: it is made, and then ended.
            with contextlib.suppress(OSError):
                await _end(await asyncio.shield(making))
            raise

    async def close(self) -> None:
        """Nothing to give up."""


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.read() if stream is not None else b""


async def _feed(stream: asyncio.StreamWriter | None, data: bytes | AsyncIterator[bytes]) -> None:
    if stream is None:
        return
    try:
        await write_all(stream, data)
        await stream.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the command did not want to read on; its status says why
    finally:
        stream.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    # Before the wait, which lasts until its pipes are closed: whoever was cancelled reads them no more.
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no public way
    await process.wait()
