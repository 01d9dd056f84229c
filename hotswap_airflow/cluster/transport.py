"""What carries a command to a login node and its answer back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMAND_TIMEOUT, TRANSFER_TIMEOUT = 60.0, 600.0
"""Seconds after which a command without an answer counts as a lost connection; the second where files are moved."""


@dataclass(frozen=True)
class Reply:
    """What a command answered; ``status`` is its exit status."""

    status: int
    stdout: bytes
    stderr: bytes


class Transport(Protocol):
    """One connection to one login node, used by many tasks of one event loop."""

    async def run(
        self, argv: tuple[str, ...], stdin: bytes | AsyncIterator[bytes] = b"", limit: float = COMMAND_TIMEOUT
    ) -> Reply:
        """Run a command. Raises ``ConnectionLost`` where no answer came, ``LoginRequired`` where we are not let in."""

    async def close(self) -> None:
        """Give the connection up; the next ``run`` opens a new one."""


async def write_all(stream: Any, data: bytes | AsyncIterator[bytes]) -> None:
    """Write what a command reads, no faster than it does; the streams of asyncio and asyncssh have the same methods."""
    if isinstance(data, bytes):
        stream.write(data)
        return
    async for chunk in data:
        stream.write(chunk)
        await stream.drain()
