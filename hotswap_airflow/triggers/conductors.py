"""All triggers of a triggerer share one ssh connection per account and one watcher per cluster."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.jobs.conductor import JobConductor
from hotswap_airflow.cluster.watch.watched_job import Interval
from hotswap_airflow.cluster.watch.watcher import JobWatcher
from hotswap_airflow.domain.cluster_target import POLL
from hotswap_airflow.triggers.ref_counted import RefCounted
from hotswap_airflow.triggers.task_states import LOOK_UP_LIMIT
from hotswap_airflow.triggers.telemetry import polled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.domain.cluster_target import ClusterTarget

_HASTE = 0.35
"""The fraction of the shortest interval after which the cluster is polled if a job announced its end."""


async def _close_connection(client: ClusterClient) -> None:
    await client.transport.close()


async def _keep(_: JobConductor) -> None:
    """Do nothing: the account and the watcher of a session are closed separately."""


_accounts: RefCounted[ClusterClient] = RefCounted(_close_connection)
_watchers: RefCounted[JobWatcher] = RefCounted(JobWatcher.close)
_sessions: RefCounted[JobConductor] = RefCounted(_keep)


@asynccontextmanager
async def shared_conductor(target: ClusterTarget) -> AsyncIterator[JobConductor]:
    """Use the session of an account. The last user closes it. Raises ``SetupError``."""
    poller_id, cluster = target.monitor or target.connection, target.slurm_cluster
    async with AsyncExitStack() as stack:
        account = await stack.enter_async_context(_accounts.use(target.connection, lambda: _connect(target.connection)))
        poller = await stack.enter_async_context(_accounts.use(poller_id, lambda: _connect(poller_id)))

        async def watch() -> JobWatcher:
            client = poller.on(cluster) if target.monitor else account.below(target.workdir or account.workdir, cluster)
            return JobWatcher(client, _interval(target), polled=_poll_metrics(poller_id))

        watcher = await stack.enter_async_context(_watchers.use((poller_id, bool(target.monitor), cluster), watch))
        if target.poll != POLL:  # a target with the default intervals does not change the intervals of another target
            watcher.interval = _interval(target)

        async def begin() -> JobConductor:
            workdir = target.workdir or account.workdir
            is_own = not target.monitor and watcher.client.workdir == workdir
            return JobConductor(watcher.client if is_own else account.below(workdir, cluster), watcher)

        yield await stack.enter_async_context(
            _sessions.use((target.connection, target.workdir, poller_id, bool(target.monitor), cluster), begin)
        )


def _interval(target: ClusterTarget) -> Interval:
    shortest, usual, longest = target.poll
    return Interval(shortest, usual, longest, hinted=shortest * _HASTE)


def _poll_metrics(cluster: str) -> Callable[[float, int, bool], None]:
    def send(seconds: float, watched: int, answered: bool) -> None:  # noqa: FBT001 - as a watcher calls it
        polled(cluster, seconds, watched, answered=answered)

    return send


async def _connect(conn_id: str) -> ClusterClient:
    # Importing the ssh libraries takes half a second. A worker, which only stores the trigger, does not need them.
    from hotswap_airflow.hooks.slurm import SlurmHook

    while True:
        try:
            async with asyncio.timeout(LOOK_UP_LIMIT):
                return await SlurmHook(conn_id).client(waits_for_login=True)
        except TimeoutError:
            # A triggerer that takes over thousands of triggers answers their requests one by one.
            await asyncio.sleep(1)
