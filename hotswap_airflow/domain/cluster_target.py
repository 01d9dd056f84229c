"""How a cluster is reached: one value from the site file to the trigger's row in Airflow's database."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

POLL = (2.0, 15.0, 60.0)
"""Seconds between two polls of a cluster: after a change, usually, after a long silence."""


@dataclass(frozen=True)
class ClusterTarget:
    """An account's connection, and the folder there below which runs live; empty: the connection's own.

    ``slurm_cluster`` is Slurm's name of the cluster, empty if the login has only one. ``monitor`` is a connection that
    may see the jobs of all accounts and asks for them, empty if each account asks for its own. ``poll`` are seconds
    between questions: shortest, usual, longest. ``queue`` names the triggerers that reach the cluster.
    """

    connection: str
    workdir: str = ""
    slurm_cluster: str = ""
    monitor: str = ""
    poll: tuple[float, float, float] = POLL
    queue: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The target as plain values.

        >>> ClusterTarget.from_json(ClusterTarget("slurm_main", poll=(1, 2, 3)).to_json()).poll
        (1, 2, 3)
        """
        return {**asdict(self), "poll": list(self.poll)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The target of plain values."""
        shortest, usual, longest = values["poll"]
        return cls(**{**values, "poll": (shortest, usual, longest)})
