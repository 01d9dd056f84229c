"""Transports, which carry a command to a login node and its answer back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMAND_TIMEOUT, TRANSFER_TIMEOUT = 60.0, 600.0
"""Seconds after which a command without an answer counts as a lost connection; the second is for file transfers."""
_ON_PATH = 'PATH=$1:$PATH; export PATH; shift; exec "$@"'


@dataclass(frozen=True)
class Reply:
    """The answer of a command; ``status`` is its exit status."""

    status: int
    stdout: bytes
    stderr: bytes


class Transport(Protocol):
    """One connection to one login node, used by many tasks of one event loop."""

    async def run(
        self, argv: tuple[str, ...], stdin: bytes | AsyncIterator[bytes] = b"", limit: float = COMMAND_TIMEOUT
    ) -> Reply:
        """Run a command. Raises ``ConnectionLost`` if no answer came, ``LoginRequired`` if the login is refused."""

    async def close(self) -> None:
        """Close the connection; the next ``run`` opens a new connection."""


class OnPath:
    """A transport whose commands search one more folder for programs first, for example if Slurm is not on the PATH."""

    def __init__(self, inner: Transport, path: str) -> None:
        self._inner = inner
        self._path = path

    async def run(
        self, argv: tuple[str, ...], stdin: bytes | AsyncIterator[bytes] = b"", limit: float = COMMAND_TIMEOUT
    ) -> Reply:
        """Run a command."""
        return await self._inner.run(("sh", "-c", _ON_PATH, "hotswap", self._path, *argv), stdin, limit)

    async def close(self) -> None:
        """Close the connection."""
        await self._inner.close()


async def write_all(stream: Any, data: bytes | AsyncIterator[bytes]) -> None:
    """Write the input of a command, no faster than it reads; streams of asyncio and asyncssh have the same methods."""
    if isinstance(data, bytes):
        stream.write(data)
        return
    async for chunk in data:
        stream.write(chunk)
        await stream.drain()
