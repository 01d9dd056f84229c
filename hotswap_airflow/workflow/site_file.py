"""Reads a site file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.errors import Problem, SpecError
from hotswap_airflow.slurm.limits import ClusterLimits, NodeShape, Partition
from hotswap_airflow.slurm.options import OPTIONS
from hotswap_airflow.workflow.checks import names, resources
from hotswap_airflow.workflow.checks.files import leads_out
from hotswap_airflow.workflow.checks.releases import judge_budget
from hotswap_airflow.workflow.checks.schedule_checks import cron_fault
from hotswap_airflow.workflow.checks.sites.cluster_defaults import judge_cluster_defaults
from hotswap_airflow.workflow.checks.sites.partitions import judge_partitions
from hotswap_airflow.workflow.checks.sites.people import judge_members, judge_site_secrets
from hotswap_airflow.workflow.job_layers import AUTO
from hotswap_airflow.workflow.site import ClusterConfig, Site
from hotswap_airflow.workflow.spec import shape, vocabulary
from hotswap_airflow.workflow.spec.site_spec import ANY_GPU, SITE, SiteSpec
from hotswap_airflow.workflow.spec.vocabulary import choice
from hotswap_airflow.workflow.text.diagnosis import with_invisible_named
from hotswap_airflow.workflow.text.document import each_place_once, read_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.workflow.spec.site_spec import ClusterSpec, PartitionSpec
    from hotswap_airflow.workflow.text.document import Document


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def read_site(raw: bytes, file: str) -> Site:
    """Read a site file. Raises ``SpecError``."""
    document = read_document(raw, file)
    problems = list(_header(document))
    spec, found = shape.read_shape(document, SiteSpec, SITE)
    if not problems:
        problems += found
    if spec is not None:
        for check in (_environments, _names, _clusters, _retentions, _defaults, _projects):
            problems += check(document, spec)
    if problems or spec is None:
        raise SpecError(map(with_invisible_named, each_place_once(problems).values()))
    clusters = {name: _cluster(name, cluster) for name, cluster in spec.clusters.items()}
    environments = {name: environment.cluster for name, environment in spec.environments.items()}
    return Site(environments, clusters, spec.projects, spec.policy)


def _header(document: Document) -> list[Problem]:
    root = document.data
    remedy = f"begin with `hotswap: {vocabulary.SITE_HEADER}`"
    if not isinstance(root, dict) or "hotswap" not in root:
        return [document.problem(document.key_place(()), "header-missing", "a site file needs `hotswap`", remedy)]
    if root["hotswap"] != vocabulary.SITE_HEADER:
        place = document.value_place(("hotswap",))
        words = f"`{shape.shown(root['hotswap'])}` is no site header"
        return [document.problem(place, "header-unknown", words, remedy)]
    return []


def _environments(document: Document, spec: SiteSpec) -> Iterator[Problem]:
    for key in ("environments", "clusters"):
        if not getattr(spec, key) and not document.keys_of(key):
            missing = (f"a site file needs at least one entry of `{key}`", f"add it under `{key}:`")
            yield document.problem(document.key_place((key,)), "missing-key", *missing)
    for name, environment in spec.environments.items():
        here = ("environments", name)
        if environment.cluster not in document.keys_of("clusters"):
            words = f"there is no cluster `{environment.cluster}`"
            yield document.at_value(
                (*here, "cluster"), "cluster-unknown", words, choice(environment.cluster, spec.clusters)
            )
        for index, window in enumerate(environment.freeze):
            if fault := cron_fault(window.cron):
                yield document.at_value((*here, "freeze", index, "cron"), "cron-invalid", *fault)


def _names(document: Document, _: SiteSpec) -> Iterator[Problem]:
    """Find names that no reference or command could use."""
    for kind in ("environments", "clusters", "projects"):
        for name in document.keys_of(kind):
            if kind == "clusters" and name == AUTO:
                words = f"`{AUTO}` stands for the best cluster in workflow files, so no cluster can have this name"
                yield document.at_key((kind, name), "name-invalid", words, "rename it, for example `main`")
            elif not _NAME.fullmatch(name):
                words = f"`{name}` is no name: a letter or digit first, then letters, digits, `.`, `-` and `_`"
                yield document.at_key((kind, name), "name-invalid", words, f"write `{names.offer(name)}`")


def _clusters(document: Document, spec: SiteSpec) -> Iterator[Problem]:
    for name, cluster in spec.clusters.items():
        here = ("clusters", name)
        if cluster.kind == "local":
            for key in ("connection", "slurm_cluster", "monitor"):
                if document.raw(*here, key) is not None:
                    words = f"`{key}` is for clusters that are reached, but cluster {name} is of kind local"
                    yield document.at_key((*here, key), "conflict", words, f"remove `{key}`")
        place = (*here, "software", "build_on")
        places = ["login", *document.keys_of(*here, "partitions")]
        if cluster.software.build_on not in places and cluster.partitions:
            words = f"cluster {name} has no partition `{cluster.software.build_on}`"
            yield document.at_value(place, "partition-unknown", words, choice(cluster.software.build_on, places))
        yield from judge_partitions(document, name)


def _projects(document: Document, spec: SiteSpec) -> Iterator[Problem]:
    yield from judge_site_secrets(document, spec)
    for name, project in spec.projects.items():
        yield from judge_members(document, name)
        if project.budget is not None:
            yield from judge_budget(document, ("projects", name, "budget"), project.budget)
        for index, folder in enumerate(project.folders or ()):
            if leads_out(folder):
                words = f"`{folder}` is no subfolder of the DAGs folder"
                yield document.at_value(
                    ("projects", name, "folders", index), "wrong-type", words, "write for example `genomics`"
                )


def _retentions(document: Document, spec: SiteSpec) -> list[Problem]:
    """Find clusters that share a work folder but have another ``retention``: none may remove what another keeps."""
    problems = []
    for name, cluster in spec.clusters.items():
        others = (key for key, other in spec.clusters.items() if other.workdir == cluster.workdir)
        other = next((key for key in others if spec.clusters[key].retention != cluster.retention), None)
        if cluster.retention is not None and other is not None:
            words = f"clusters {name} and {other} have the same `workdir`, but not the same `retention`"
            place = document.value_place(("clusters", name, "retention"))
            problems.append(document.problem(place, "conflict", words, "give each a `workdir` of its own, or both one"))
    return problems


def _defaults(document: Document, spec: SiteSpec) -> Iterator[Problem]:
    """Find problems in the defaults of each cluster, because they would be problems of every job."""
    for name, cluster in spec.clusters.items():
        path = ("clusters", name, "defaults")
        yield from resources.judge_options(document, (*path, "slurm"), ".".join(path))
        for option in document.keys_of(*path, "slurm"):
            place = (*path, "slurm", option)
            value = document.raw(*place)
            if option in OPTIONS and resources.is_reference(value) and value["from"] != "environment":
                words = f"`{option}` is for all workflows, and refers to what one of them has"
                yield document.at_value(place, "wrong-type", words, f"write `{option}: VALUE`")
        yield from names.judge_variables(document, (*path, "env"))
        yield from judge_cluster_defaults(document, _cluster(name, cluster))


def _cluster(name: str, spec: ClusterSpec) -> ClusterConfig:
    partitions = {key: _partition(key, shapes) for key, shapes in spec.partitions.items()}
    limits = ClusterLimits(name, partitions, spec.licenses)
    return ClusterConfig(
        name=name,
        target=_target(name, spec),
        limits=limits,
        defaults=spec.defaults,
        max_array_size=spec.max_array_size,
        is_local=spec.kind == "local",
        retention=spec.retention,
        cloud=spec.cloud,
    )


def _target(name: str, spec: ClusterSpec) -> ClusterTarget:
    return ClusterTarget(
        connection=spec.connection or name,
        workdir=spec.workdir,
        slurm_cluster=spec.slurm_cluster or "",
        monitor=spec.monitor or "",
        poll=(spec.poll.min, spec.poll.usual, spec.poll.max),
        queue=spec.queue,
    )


def _partition(name: str, shapes: list[PartitionSpec]) -> Partition:
    times = [shape.max_time for shape in shapes if shape.max_time is not None]
    nodes = [shape.max_nodes for shape in shapes if shape.max_nodes is not None]
    return Partition(
        name,
        tuple(_shape(spec) for spec in shapes),
        max_time=max(times, default=None),
        max_nodes=max(nodes, default=None),
    )


def _shape(spec: PartitionSpec) -> NodeShape:
    types = {} if ANY_GPU in spec.gpus else spec.gpus
    return NodeShape(spec.nodes, spec.cpus, spec.mem, sum(spec.gpus.values()), types, tuple(spec.features))
