"""Commands through the system's ssh and its control socket: if only a person can log in, one login is enough."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.transport.base import COMMAND_TIMEOUT, Reply
from hotswap_airflow.cluster.transport.breaker import Breaker
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.errors import ConnectionLost, LoginRequired

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONTROL_PATH = "~/.ssh/hotswap-%C"
MAX_CHANNELS = 8
"""By default, sshd allows ten sessions for each connection."""
_SSH_FAILED = 255
_UNUSABLE = re.compile(
    r"ControlPath too long|too long for Unix domain socket|Bad configuration option"
    r"|Bad owner or permissions|terminating, \d+ bad"
)
_REFUSED = re.compile(
    r"Permission denied|Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED"
    r"|Too many authentication failures|No supported authentication methods|Load key .* (?:error|invalid)",
    re.IGNORECASE,
)


class OpenSshTransport:
    """A login node as the user's ssh configuration knows it; ``options`` are further words for ssh.

    All commands, also commands of other processes, share the connection of the control socket as long as it exists.
    """

    def __init__(
        self,
        destination: str,
        options: tuple[str, ...],
        name: str,
        control_path: str = CONTROL_PATH,
        breaker: Breaker | None = None,
    ) -> None:
        self._socket = str(Path(control_path).expanduser())
        self._destination = destination
        self._options = options
        self._name = name
        self._local = LocalTransport()
        self._channels = asyncio.Semaphore(MAX_CHANNELS)
        self._opening = asyncio.Lock()
        self._is_open = False
        self._breaker = breaker or Breaker()

    async def run(
        self, argv: tuple[str, ...], stdin: bytes | AsyncIterator[bytes] = b"", limit: float = COMMAND_TIMEOUT
    ) -> Reply:
        """Run a command on the login node; its words are quoted here and nowhere else."""
        async with self._channels:
            await self._open()
            reply = await self._local.run(self._argv(shlex.join(argv)), stdin, limit)
            if reply.status == _SSH_FAILED:
                self._is_open = False
                error = self._failure(reply)
                raise self._breaker.refused(error) if isinstance(error, LoginRequired) else error
            return reply

    def _argv(self, *words: str) -> tuple[str, ...]:
        shared = ("-o", "BatchMode=yes", "-o", "ControlMaster=auto", "-o", "ControlPersist=600")
        return ("ssh", *shared, "-o", f"ControlPath={self._socket}", *self._options, self._destination, *words)

    async def _open(self) -> None:
        """Let one command open the connection; without the lock, commands at the same time would open several."""
        async with self._opening:
            if not self._is_open:
                await self._breaker.attempt(self._login)
                self._is_open = True

    async def _login(self) -> None:
        Path(self._socket).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        reply = await self._local.run(self._argv("true"), b"", COMMAND_TIMEOUT)
        if reply.status == _SSH_FAILED:
            raise self._failure(reply)

    def _failure(self, reply: Reply) -> LoginRequired | ConnectionLost:
        complaint = " ".join(reply.stderr.decode("utf-8", "replace").split())[-300:]
        if _UNUSABLE.search(complaint):
            words = "correct `control_path` of the connection, or the ssh configuration of this user"
            return LoginRequired(f"ssh cannot be used for {self._name} ({complaint}); {words}")
        if not _REFUSED.search(complaint):
            return ConnectionLost(f"{self._name} cannot be reached: {complaint or 'ssh failed'}")
        path = shlex.quote(self._socket)
        command = f"ssh -o ControlMaster=yes -o ControlPersist=yes -o ControlPath={path} {self._destination} true"
        return LoginRequired(f"{self._name} refuses the login ({complaint}); log in once on this host: {command}")

    async def close(self) -> None:
        """Forget that the connection is open; it stays, because other processes may use its control socket."""
        self._is_open = False
