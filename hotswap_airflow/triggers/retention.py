"""The trigger of retention: it removes folders of finished runs after their time, and announces this before."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cluster.upkeep import retention
from hotswap_airflow.cluster.upkeep.reconciliation import owned_jobs
from hotswap_airflow.errors import ConnectionLost
from hotswap_airflow.file_store.results import ResultStore
from hotswap_airflow.triggers.maintenance import MaintenanceTrigger
from hotswap_airflow.triggers.task_states import ENDED, run_states

if TYPE_CHECKING:
    from hotswap_airflow.cluster.jobs.conductor import JobConductor
    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.cluster.upkeep.retention import Due, RunFolder
    from hotswap_airflow.slurm.identity import RunKey


class RetentionTrigger(MaintenanceTrigger):
    """Announce, and after three days remove, what finished runs left more than ``retention`` seconds ago."""

    def __init__(self, *, retention: float, store: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.retention = retention
        self.store = store

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The plain values that the trigger is made of. The store is needed for the tables of sweeps."""
        path, kwargs = super().serialize()
        return path, {**kwargs, "retention": self.retention, "store": self.store}

    async def maintain(self, conductor: JobConductor) -> None:
        """Find what is due and do it. Removals come before notices, because they free space."""
        client = conductor.client
        found = await retention.inventory(client, self.installation)
        active = {job.key.run for job in await owned_jobs(client, self.installation)}
        words: dict[str, str] = {}
        gone = 0
        for run in found.runs:
            what = await self._due(run, found.now, is_active=run.run in active)
            if what == "remove":
                gone += await self._remove(client, run)
            elif what != "nothing":
                words[run.run.folder] = retention.notice_of(run, found.now, self.retention) if what == "notice" else ""
        changed = await retention.announce(client, words) if words else []
        for folder, text in words.items():
            place = "" if folder in changed else "the folder cannot be written: "
            self._report(f"{folder}: {place}{text or 'stays for now'}")
        self._report(f"{len(found.runs)} run(s) have folders here; {len(changed)} notice(s), {gone} removed")
        with contextlib.suppress(ConnectionLost):
            await retention.empty(client)

    async def _due(self, run: RunFolder, now: float, *, is_active: bool) -> Due:
        unless = retention.due(run, now, self.retention, is_finished=False)
        what = unless if is_active else retention.due(run, now, self.retention, is_finished=True)
        return what if what == unless or await _is_finished(run.run) else unless

    async def _remove(self, client: ClusterClient, run: RunFolder) -> bool:
        if not await retention.remove(client, run):
            return False
        await asyncio.to_thread(ResultStore(Path(self.store)).remove, run.run.folder, run.digests)
        self._report(f"removed {run.run.folder}")
        return True


async def _is_finished(run: RunKey) -> bool:
    """Whether every task of a run has ended, or the run was deleted."""
    return all(state in ENDED for state in (await run_states(run.workflow, run.run)).values())
