"""How a cluster is reached: one value that goes from the site file to the trigger's row in Airflow's database."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

POLL = (2.0, 15.0, 60.0)
"""Seconds between two polls of a cluster: after a change, usually, after a long time without a change."""


@dataclass(frozen=True)
class ClusterTarget:
    """An account's connection, and the work folder on the cluster; an empty ``workdir`` means the connection's own.

    ``slurm_cluster`` is Slurm's name of the cluster, empty if the login has only one. ``monitor`` is the connection of
    the monitor account, which may see the jobs of all accounts and polls for them; empty if each account polls for its
    own. ``poll`` are seconds between polls: shortest, usual, longest. ``queue`` names the triggerers that reach the
    cluster.
    """

    connection: str
    workdir: str = ""
    slurm_cluster: str = ""
    monitor: str = ""
    poll: tuple[float, float, float] = POLL
    queue: str | None = None

    @property
    def placement(self) -> dict[str, Any]:
        """The argument of an operator that names the triggerers; empty if any of them reaches the cluster."""
        return {"queue": self.queue} if self.queue else {}

    def to_json(self) -> dict[str, Any]:
        """The target as plain values.

        >>> ClusterTarget.from_json(ClusterTarget("slurm_main", poll=(1, 2, 3)).to_json()).poll
        (1, 2, 3)
        """
        return {**asdict(self), "poll": list(self.poll)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The target from plain values."""
        shortest, usual, longest = values["poll"]
        return cls(**{**values, "poll": (shortest, usual, longest)})
