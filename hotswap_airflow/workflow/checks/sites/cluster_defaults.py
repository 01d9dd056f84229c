"""The defaults of a cluster in the site file, because a mistake there would be one of every job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap_airflow.slurm.limits import limit_violations
from hotswap_airflow.workflow.checks.jobs import judge_layer
from hotswap_airflow.workflow.checks.resources import readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.site import ClusterConfig
    from hotswap_airflow.workflow.text.document import Document, Path


def judge_cluster_defaults(document: Document, cluster: ClusterConfig) -> Iterator[Problem]:
    """Find keys that a site cannot give, values that no job can have, and options that the cluster cannot serve."""
    here: Path = ("clusters", cluster.name, "defaults")
    owner = f"clusters.{cluster.name}.defaults"
    if "cluster" in document.keys_of(*here):
        words = f"`cluster` does not belong in {owner}"
        yield document.at_key((*here, "cluster"), "misplaced-key", words, "put it under `environments.NAME:`")
    if document.raw(*here, "software") is not None:
        words = f"a site has no software, so {owner} cannot name one"
        remedy = "remove it: workflows declare their software"
        yield document.at_value((*here, "software"), "software-unknown", words, remedy)
    yield from judge_layer(document, here, ())
    container = document.raw(*here, "container")
    if isinstance(container, dict) and container.get("image") is None and container.get("runtime") != "none":
        words = f"the container of {owner} lacks `image`"
        remedy = "add `image: docker://NAME`, or write `runtime: none`"
        yield document.at_key((*here, "container"), "missing-key", words, remedy)
    if not cluster.is_local and _is_whole(document, cluster):
        yield from _limits(document, (*here, "slurm"), cluster)


def _is_whole(document: Document, cluster: ClusterConfig) -> bool:
    """Whether the limits hold all that the file names; what is wrong in another way is left out of them."""
    here = ("clusters", cluster.name)
    partitions, licenses = document.keys_of(*here, "partitions"), document.keys_of(*here, "licenses")
    return {*partitions} == {*cluster.limits.partitions} and {*licenses} == {*(cluster.limits.licenses or ())}


def _limits(document: Document, path: Path, cluster: ClusterConfig) -> Iterator[Problem]:
    asked = readable(cluster.defaults.slurm or {})
    for option, refusal in limit_violations(asked, cluster.limits):
        yield document.at_value((*path, option), refusal.code, refusal.message, refusal.remedy)
