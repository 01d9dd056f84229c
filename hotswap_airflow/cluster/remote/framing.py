"""The format of our programs' answers: Slurm's output with its exit status, and pieces with their length."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, TypeVar

from hotswap_airflow.errors import CommandFailed, UnreadableAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

MARK = "\nhotswap-answered "
# The pattern begins with a fixed text, which is found fast; `^` would be tried at each of a million characters.
_ANSWERED = re.compile(f"{MARK}([0-9]+) (.*)")
_SLICE = 250
NO_PROGRAM = "name the folder of Slurm's programs in the field `path` of the connection"
"""The remedy if shells without a terminal on the login node do not find a program."""
Item = TypeVar("Item")
_NO_ACCOUNTING = re.compile(r"accounting storage is disabled|failed with status 127|not found", re.IGNORECASE)


def answered(answer: str, program: str, name: str) -> tuple[str, str]:
    """Split an answer at the program's exit status. Raises ``CommandFailed`` if the program failed."""
    match = _ANSWERED.search(answer)
    if match is None:
        raise UnreadableAnswer(f"{program} on {name}", answer[-500:], "exit status")
    if match[1] != "0":
        remedy = f"; {NO_PROGRAM}" if match[1] == "127" else ""
        raise CommandFailed(f"{program} on {name} failed with status {match[1]}: {match[2].strip()}{remedy}")
    return answer[: match.start()], answer[match.end() :]


async def in_slices(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Give the items, of which there may be ten thousand, and let the event loop run after each slice."""
    for number, item in enumerate(items, 1):
        yield item
        if number % _SLICE == 0:
            await asyncio.sleep(0)


def lacks_accounting(error: CommandFailed) -> bool:
    """Whether a failure of sacct means that the cluster has no accounting; otherwise accounting is away."""
    return _NO_ACCOUNTING.search(str(error)) is not None


def sized(body: bytes) -> dict[str, bytes]:
    """The bytes of each part by its name."""
    return dict(parts(body))


def parts(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Read parts one after another: a line ``name size``, then that many bytes."""
    at = 0
    while (end := body.find(b"\n", at)) > at:
        name, _, size = body[at:end].partition(b" ")
        if not size.isdigit():  # a file shrank while it was read
            raise UnreadableAnswer("the login node", body[at:end].decode("utf-8", "replace"), "name and size")
        part = body[end + 1 : end + 1 + int(size)]
        if len(part) < int(size):
            raise UnreadableAnswer("the login node", f"{len(part)} bytes", f"{int(size)} bytes")
        yield name.decode(), part
        at = end + int(size) + 2


async def _prefixed(code: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield code
    async for chunk in rest:
        yield chunk


def stdin_after(code: bytes, stdin: bytes | AsyncIterator[bytes]) -> bytes | AsyncIterator[bytes]:
    """A program's code, and after it what it reads."""
    return code + stdin if isinstance(stdin, bytes) else _prefixed(code, stdin)


def as_lines(words: Iterable[str]) -> bytes:
    """Words as a program reads them, one a line."""
    return "".join(f"{word}\n" for word in words).encode()
