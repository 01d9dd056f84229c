"""A site as the checks and the plan use it: environments in order, clusters and their limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.slurm.limits import ClusterLimits
from hotswap_airflow.workflow.spec.job_spec import Defaults
from hotswap_airflow.workflow.spec.site_spec import CloudSpec, PolicySpec, ProjectSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL_CLUSTER = "main"
DEFAULT_ENVIRONMENT = "dev"


@dataclass(frozen=True)
class ClusterConfig:
    """One cluster: its target, its limits and its defaults.

    ``retention`` is the time in seconds for which the folders of finished runs are kept; None means for ever.
    """

    name: str
    target: ClusterTarget
    limits: ClusterLimits
    defaults: Defaults = field(default_factory=Defaults)
    max_array_size: int = 1001
    is_local: bool = False
    retention: int | None = None
    cloud: CloudSpec | None = None


@dataclass(frozen=True)
class Site:
    """All clusters, the cluster that each environment uses, the projects, and the rules for all workflows."""

    environments: Mapping[str, str]
    clusters: Mapping[str, ClusterConfig]
    projects: Mapping[str, ProjectSpec] = field(default_factory=dict)
    policy: PolicySpec = field(default_factory=PolicySpec)

    @property
    def default_environment(self) -> str:
        """The first environment of the file."""
        return next(iter(self.environments))

    def cluster_of(self, environment: str) -> ClusterConfig:
        """The cluster of an environment. Raises ``KeyError`` if the environment is unknown."""
        return self.clusters[self.environments[environment]]


def implied_site(connection: str) -> Site:
    """The site that is used without a site file: one environment, one cluster, no known limits."""
    target = ClusterTarget(connection, "hotswap-runs")
    cluster = ClusterConfig(LOCAL_CLUSTER, target, ClusterLimits(LOCAL_CLUSTER))
    return Site({DEFAULT_ENVIRONMENT: LOCAL_CLUSTER}, {LOCAL_CLUSTER: cluster})
