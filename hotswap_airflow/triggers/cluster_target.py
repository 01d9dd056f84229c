"""How a trigger reaches a cluster: what its row in the database says, without what it takes to go there.

A worker writes triggers down and never runs them, so nothing here needs ssh, Slurm or a watcher.
"""

from __future__ import annotations

from dataclasses import dataclass

from hotswap_airflow.cluster.watch.watched_job import Interval

LOOK_UP_LIMIT = 60.0
"""Seconds that Airflow may take to give a connection; a call it cannot answer would wait for ever."""
POLL = (Interval.shortest, Interval.usual, Interval.longest)
"""Seconds between two polls of a cluster: after a change, as a rule, after a long silence."""


@dataclass(frozen=True)
class ClusterTarget:
    """How a cluster is reached: an account's connection, and the folder there below which runs live.

    ``monitor`` is a connection that may see all jobs and asks for them, empty where each account asks for its own.
    ``poll`` are seconds between questions: shortest, usual, longest. ``slurm_cluster`` is Slurm's name of the cluster,
    empty where the login has only one.
    """

    connection: str
    workdir: str = ""
    monitor: str = ""
    poll: tuple[float, float, float] = POLL
    slurm_cluster: str = ""
