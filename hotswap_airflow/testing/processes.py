"""Processes that outlive the process that started them. They are stopped by pid, and no others are."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap_airflow.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_STOP_PATIENCE = 5.0
_PAUSE = 0.02
_START_TIME_FIELD = 19
_SESSION_FIELD = 3
_PARENT_FIELD = 1
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Daemon:
    """A process by pid and start time, so that a new process with the same pid is left alone."""

    name: str
    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        """Whether exactly this process still runs."""
        return start_time(self.pid) == self.started

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal, if it still runs."""
        if self.is_alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def start_time(pid: int) -> str | None:
    """The start time of a process in Linux's clock ticks; None if there is no process, or only a zombie."""
    fields = _fields(pid)
    return None if fields is None or fields[0] in "ZX" else fields[_START_TIME_FIELD]


def _fields(pid: int) -> list[str] | None:
    """The fields of a process in /proc, from its state on; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def kill_all(pids: Iterable[int]) -> None:
    """Kill those of the processes that still run."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def start(name: str, argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> Daemon:
    """Start a process in its own session. Its output goes to ``log``. Raises ``SetupError`` if it ends at once."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(environment), start_new_session=True
        )
    started = start_time(process.pid)
    if started is None:
        raise SetupError(f"{name} ended at once: {tail(log)}")
    return Daemon(name, process.pid, started)


def stop(daemons: Sequence[Daemon]) -> None:
    """Stop processes, the last started first. A process that does not end in time is killed."""
    for daemon in reversed(daemons):
        daemon.kill(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_PATIENCE
    while time.monotonic() < deadline and any(reap(daemon) for daemon in daemons):
        time.sleep(_PAUSE)
    orphans = [pid for daemon in daemons for pid in session_of(daemon)]
    for daemon in daemons:
        daemon.kill()
        reap(daemon)
    kill_all(orphans)


def session_of(daemon: Daemon) -> list[int]:
    """Pids of the session that a process began, even if it is gone: Linux gives a session's number to no other."""
    if start_time(daemon.pid) not in {None, daemon.started}:
        return []
    return [pid for pid in _pids() if pid != daemon.pid and _is_of_session(pid, daemon.pid)]


def _is_of_session(pid: int, session: int) -> bool:
    fields = _fields(pid)
    return fields is not None and fields[0] not in "ZX" and int(fields[_SESSION_FIELD]) == session


def reap(daemon: Daemon) -> bool:
    """Whether a process still runs. If it is a child of ours that ended, it is reaped."""
    with contextlib.suppress(ChildProcessError):  # another process started it
        os.waitpid(daemon.pid, os.WNOHANG)
    return daemon.is_alive


def wait_until(what: str, holds: Callable[[], bool], limit: float = 90.0) -> None:
    """Wait for a condition. Raises ``SetupError`` if it does not hold within ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while not holds():
        if time.monotonic() > deadline:
            raise SetupError(f"{what} did not happen within {limit:.0f} s")
        time.sleep(_PAUSE)


def await_start(daemon: Daemon, log: Path, is_ready: Callable[[], bool], limit: float = 90.0) -> None:
    """Wait until a daemon is ready. Raises ``SetupError`` at once if it ends, with the end of its output."""

    def holds() -> bool:
        if reap(daemon):
            return is_ready()
        own = log.with_suffix(".log")
        said = tail(log) if log.exists() and log.stat().st_size else tail(own)
        raise SetupError(f"{daemon.name} ended as it started: {said}")

    wait_until(f"the start of {daemon.name}", holds, limit)


def free_ports(count: int) -> list[int]:
    """Free ports of the loopback interface."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def listens(port: int) -> bool:
    """Whether a process accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tail(log: Path) -> str:
    """The end of a log, for an error message."""
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-600:].strip()
    except FileNotFoundError:
        return "(no log)"


def processes_with(variable: str) -> list[int]:
    """Pids of this user's processes that have ``NAME=value`` in their environment."""
    wanted = variable.encode()
    found = []
    for pid in _pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        if wanted in environment.split(b"\0"):
            found.append(pid)
    return found


def descendants(pid: int) -> list[int]:
    """Pids of a process's children, their children, and so on, parents first."""
    parents = {child: int(fields[_PARENT_FIELD]) for child in _pids() if (fields := _fields(child)) is not None}
    found = [pid]
    for ancestor in found:  # the list grows during the loop
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]
