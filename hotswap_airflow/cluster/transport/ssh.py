"""Commands over one ssh connection with channels; the next command opens a lost connection again."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, Any

import asyncssh

from hotswap_airflow.cluster.transport.base import COMMAND_TIMEOUT, Reply, write_all
from hotswap_airflow.cluster.transport.breaker import Breaker
from hotswap_airflow.errors import ConnectionLost, LoginRequired

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

# asyncssh logs the life of every channel at INFO, and Airflow would write that into the tasks' logs.
asyncssh.set_log_level("WARNING")

MAX_CHANNELS = 8
"""By default, sshd allows ten sessions for each connection."""
SESSION_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)
CONNECT_TIMEOUT = 30.0
KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 15, 3


class SshTransport:
    """A connection to a login node. ``connect`` opens it; ``name`` is its name for people."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncssh.SSHClientConnection]],
        name: str,
        breaker: Breaker | None = None,
    ) -> None:
        self._connect = connect
        self._breaker = breaker or Breaker()
        self._name = name
        self._connection: asyncssh.SSHClientConnection | None = None
        self._opening = asyncio.Lock()
        self._channels = asyncio.Semaphore(MAX_CHANNELS)

    async def run(
        self, argv: tuple[str, ...], stdin: bytes | AsyncIterator[bytes] = b"", limit: float = COMMAND_TIMEOUT
    ) -> Reply:
        """Run a command on the login node; its words are quoted here and nowhere else."""
        async with self._channels:
            connection = await self._open()
            try:
                async with asyncio.timeout(limit):
                    process = await _begin(connection, shlex.join(argv))
                    return await _follow(process, stdin)
            except TimeoutError:
                # Only this channel is closed; the keep-alive detects a dead connection.
                raise ConnectionLost(f"{self._name} gave no answer within {limit:.0f} s") from None
            except (asyncssh.Error, OSError) as error:
                if isinstance(error, asyncssh.ChannelOpenError) and not connection.is_closed():
                    # The server allows no further session; the running sessions must go on.
                    raise ConnectionLost(f"{self._name} opens no further session: {error}") from error
                self._drop(connection)
                raise ConnectionLost(f"the connection to {self._name} was lost: {error}") from error

    async def _open(self) -> asyncssh.SSHClientConnection:
        async with self._opening:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._breaker.attempt(self._login)
                self._connection.set_keepalive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)
            return self._connection

    async def _login(self) -> asyncssh.SSHClientConnection:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await self._connect()
        except asyncssh.HostKeyNotVerifiable as error:
            raise LoginRequired(
                f"the host key of {self._name} differs from the known one ({error}); compare it with the cluster's, "
                f"then correct `host_key` or the known hosts of connection {self._name}"
            ) from error
        except (asyncssh.PermissionDenied, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise LoginRequired(
                f"{self._name} refuses the login ({error}); check the user and the key of connection {self._name}, "
                "or log in once yourself if a ticket or a second factor is required"
            ) from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise ConnectionLost(f"{self._name} cannot be reached: {str(error) or 'no answer'}") from error
        return connection

    def _drop(self, connection: asyncssh.SSHClientConnection) -> None:
        if self._connection is connection:
            self._connection = None
        connection.abort()

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            await connection.wait_closed()


async def _begin(connection: asyncssh.SSHClientConnection, command: str) -> asyncssh.SSHClientProcess[bytes]:
    """Start a command; if sshd opens no session, retry, because it may still count sessions that have ended."""
    for pause in SESSION_PAUSES:
        try:
            return await connection.create_process(command, encoding=None)
        except asyncssh.ChannelOpenError:
            if connection.is_closed():
                raise
        await asyncio.sleep(pause)
    return await connection.create_process(command, encoding=None)


async def _follow(process: asyncssh.SSHClientProcess[bytes], stdin: bytes | AsyncIterator[bytes]) -> Reply:
    feeding = asyncio.ensure_future(_feed(process.stdin, stdin))
    reading = asyncio.gather(process.stdout.read(), process.stderr.read())
    try:
        await asyncio.wait((reading, feeding), return_when=asyncio.FIRST_EXCEPTION)
        if not reading.done():
            reading.cancel()
            feeding.result()  # raises the error of the input, such as missing content
        stdout, stderr = await reading
        await process.wait_closed()
    finally:
        feeding.cancel()
        reading.cancel()
        await asyncio.gather(feeding, reading, return_exceptions=True)
        process.close()
    if process.exit_status is None:
        raise ConnectionLost("the command's end did not arrive")
    return Reply(process.exit_status, stdout, stderr)


async def _feed(stream: Any, data: bytes | AsyncIterator[bytes]) -> None:
    try:
        await write_all(stream, data)
        stream.write_eof()
    except (BrokenPipeError, asyncssh.Error):
        return  # the command stopped reading; its exit status shows why
