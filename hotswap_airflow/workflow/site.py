"""A site as the compiler uses it: environments in order, clusters and their limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.limits import ClusterLimits
from hotswap_airflow.workflow.spec.site_spec import SiteDefaults

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL_CLUSTER = "main"
DEFAULT_ENVIRONMENT = "dev"


@dataclass(frozen=True)
class ClusterConfig:
    """One slurmctld: how it is reached, where runs live on it, and what it has.

    ``slurm_cluster`` is Slurm's own name of it, where one login serves several. ``monitor`` is a connection that may
    see the jobs of all accounts; ``poll`` are seconds between two questions:
    after a change, as a rule, after a long silence. ``retention`` is how many seconds the folders of finished runs
    stay; None: for ever.
    """

    name: str
    connection: str
    workdir: str
    limits: ClusterLimits
    defaults: SiteDefaults = field(default_factory=SiteDefaults)
    queue: str | None = None
    max_array_size: int = 1001
    is_local: bool = False
    slurm_cluster: str = ""
    monitor: str = ""
    poll: tuple[float, float, float] = (2.0, 15.0, 60.0)
    retention: int | None = None


@dataclass(frozen=True)
class Site:
    """All clusters, and which one each environment uses."""

    environments: Mapping[str, str]
    clusters: Mapping[str, ClusterConfig]

    @property
    def default_environment(self) -> str:
        """The first one of the file."""
        return next(iter(self.environments))

    def cluster_of(self, environment: str) -> ClusterConfig:
        """The cluster of an environment. Raises ``KeyError`` where it is unknown."""
        return self.clusters[self.environments[environment]]


def implied_site(connection: str) -> Site:
    """The site where nobody wrote a file: one environment, one cluster, no limits known."""
    cluster = ClusterConfig(LOCAL_CLUSTER, connection, "hotswap-runs", ClusterLimits(LOCAL_CLUSTER))
    return Site({DEFAULT_ENVIRONMENT: LOCAL_CLUSTER}, {LOCAL_CLUSTER: cluster})
