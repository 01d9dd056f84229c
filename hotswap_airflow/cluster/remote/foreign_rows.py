"""Rows of squeue and sacct for jobs of anybody; waiting tasks that ask at the same time share a round trip."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from hotswap_airflow.cluster.remote import programs
from hotswap_airflow.cluster.remote.batching import Coalescer
from hotswap_airflow.cluster.remote.framing import answered, lacks_accounting
from hotswap_airflow.errors import CommandFailed
from hotswap_airflow.slurm import parsing

if TYPE_CHECKING:
    from hotswap_airflow.cluster.remote.cancellation import Asker
    from hotswap_airflow.slurm.parsing import QueuedJob

Kind = Literal["jobs", "name"]
_AT_ONCE = 200
"""So many ids or names fit into a command."""
_SINCE: dict[Kind, str] = {"jobs": "1970-01-01", "name": "now-7days"}
_NO_SUCH_JOB = "Invalid job id specified"


@dataclass(frozen=True)
class QueueAndAccounting:
    """Rows in the queue and in accounting, None without it; ``is_sure``: no source that may know the job is away."""

    queue: list[QueuedJob]
    accounted: list[QueuedJob] | None
    is_sure: bool = True


class ForeignRows:
    """The rows of jobs by id, or by a name of the last seven days."""

    def __init__(self, client: Asker, pace: float) -> None:
        self._client = client
        self._shared = {
            kind: Coalescer(partial(self._ask_all, kind), max_items=_AT_ONCE, at_once=1, pace=pace) for kind in _SINCE
        }

    async def ask(self, kind: Kind, value: str) -> QueueAndAccounting:
        """The rows of one id or name. Raises ``ClusterError``."""
        return await self._shared[kind](value)

    async def _ask_all(self, kind: Kind, values: list[str]) -> list[QueueAndAccounting | Exception]:
        which = f"--{kind}={','.join(dict.fromkeys(values))}"
        answer = await self._client.run_program(
            programs.LOOK_UP, which, parsing.SQUEUE_FORMAT, _SINCE[kind], parsing.SACCT_FIELDS
        )
        found = _read(answer, self._client.name)
        queue, accounted = _by_value(kind, found.queue), _by_value(kind, found.accounted or [])
        return [
            QueueAndAccounting(
                queue[value], None if found.accounted is None else accounted[value], is_sure=found.is_sure
            )
            for value in values
        ]


def _by_value(kind: Kind, rows: list[QueuedJob]) -> defaultdict[str, list[QueuedJob]]:
    """The rows by what was requested: a job's id or name."""
    found: defaultdict[str, list[QueuedJob]] = defaultdict(list)
    for row in rows:
        found[str(row.base_id) if kind == "jobs" else row.name].append(row)
    return found


def _read(answer: str, name: str) -> QueueAndAccounting:
    """Raises ``CommandFailed`` if squeue failed for another reason than an id that it does not know."""
    try:
        queue, rest = answered(answer, "squeue", name)
    except CommandFailed as error:
        if _NO_SUCH_JOB not in str(error):
            raise
        queue, rest = "", answer.partition("hotswap-answered ")[2].partition("\n")[2]
    rows = list(parsing.parse_squeue(queue))
    try:
        return QueueAndAccounting(rows, list(parsing.parse_sacct(answered(rest, "sacct", name)[0])))
    except CommandFailed as error:
        return QueueAndAccounting(rows, None, is_sure=lacks_accounting(error))
