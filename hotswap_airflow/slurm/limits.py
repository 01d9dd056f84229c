"""What a cluster has and allows, and whether a job's options fit it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotswap_airflow import units
from hotswap_airflow.slurm.options import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


NO_GPUS = "use a partition with GPUs"
"""The remedy for GPUs on nodes that have none."""


@dataclass(frozen=True)
class NodeShape:
    """One kind of node of a partition; sizes in KiB. None means that the site file does not give the value.

    ``gpu_types`` are the GPUs of a node by type, empty if the site file gives only their number.
    """

    nodes: int | None = None
    cpus: int | None = None
    mem: int | None = None
    gpus: int = 0
    gpu_types: Mapping[str, int] = field(default_factory=dict)
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Partition:
    """A partition's limits; times in seconds. None means that the site file does not give the value."""

    name: str
    shapes: tuple[NodeShape, ...] = ()
    max_time: int | None = None
    max_nodes: int | None = None


@dataclass(frozen=True)
class ClusterLimits:
    """The limits of a cluster that a workflow is checked against before a job is submitted."""

    name: str
    partitions: Mapping[str, Partition] = field(default_factory=dict)
    licenses: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Demand:
    """What a job's options request, in numbers. Sizes in KiB, time in seconds."""

    nodes: int
    cpus_per_node: int
    mem_per_node: int
    gpus: int
    gpus_per_node: int
    time: int | None

    @classmethod
    def of(cls, options: Mapping[str, object]) -> Demand:
        """Sum up a map of options; values that are known only at run time count as absent."""
        known = {k: v for k, v in options.items() if isinstance(v, (str, int))}
        nodes = _first_number(known.get("nodes", 1))
        per_node = known.get("ntasks-per-node")
        tasks = int(known.get("ntasks", nodes))
        tasks_per_node = int(per_node) if per_node else math.ceil(tasks / nodes)
        cpus = tasks_per_node * int(known.get("cpus-per-task", 1))
        gpus_per_node = _gpus_per_node(known, tasks_per_node)
        gpus = _gpus(known["gpus"]) if "gpus" in known else gpus_per_node * nodes
        time = known.get("time")
        return cls(
            nodes=nodes,
            cpus_per_node=cpus,
            mem_per_node=_memory(known, cpus, math.ceil(gpus / nodes)),
            gpus=gpus,
            gpus_per_node=gpus_per_node or math.ceil(gpus / nodes),
            time=units.parse_time(time) if time is not None else None,
        )

    @property
    def gpus_of_a_node(self) -> int:
        """The GPUs of one node if all of the job are spread over its nodes."""
        return math.ceil(self.gpus / self.nodes)

    @property
    def most_gpus_on_a_node(self) -> int:
        """The GPUs that one node must have."""
        return max(self.gpus_per_node, self.gpus_of_a_node)


def _first_number(value: str | int) -> int:
    return value if isinstance(value, int) else int(value.split("-", maxsplit=1)[0])


def _gpus(value: str | int) -> int:
    """The number of GPUs in a value such as ``2``, ``a100:2`` or ``a100:2,2080ti:1``."""
    return value if isinstance(value, int) else sum(map(_last_number, value.split(",")))


def _last_number(item: str) -> int:
    last = item.rsplit(":", maxsplit=1)[-1]
    return int(last) if last.isascii() and last.isdigit() else 1


def _gpus_per_node(known: Mapping[str, str | int], tasks_per_node: int) -> int:
    if "gpus-per-node" in known:
        return _gpus(known["gpus-per-node"])
    if "gpus-per-task" in known:
        return _gpus(known["gpus-per-task"]) * tasks_per_node
    gres = [item for item in str(known.get("gres", "")).split(",") if item.split(":")[0] == "gpu"]
    return sum(_last_number(item) if ":" in item else 1 for item in gres)


def _memory(known: Mapping[str, str | int], cpus: int, gpus: int) -> int:
    if "mem-per-cpu" in known:
        return units.parse_size(known["mem-per-cpu"]) * cpus
    if "mem-per-gpu" in known:
        return units.parse_size(known["mem-per-gpu"]) * gpus
    return units.parse_size(known.get("mem", 0))


def limit_violations(options: Mapping[str, object], limits: ClusterLimits) -> Iterator[tuple[str, Refusal]]:
    """Give every option that the cluster cannot serve, with the reason.

    If the job names several partitions (``a,b``), all of them must exist, and at least one must fit.
    """
    yield from _license_misfits(options.get("licenses"), limits)
    partitions = options.get("partition")
    if not limits.partitions or not isinstance(partitions, str):
        return
    names = partitions.split(",")
    unknown = [name for name in names if name not in limits.partitions]
    if unknown:
        yield "partition", _unknown("partition", unknown[0], limits.name, limits.partitions)
        return
    demand = Demand.of(options)
    findings = [list(_partition_misfits(demand, options, limits.partitions[n])) for n in names]
    if all(findings):
        for option, refusal in findings[0]:
            yield option, _with_alternative(option, refusal, demand, options, limits)


def _unknown(what: str, name: str, cluster: str, known: Mapping[str, object]) -> Refusal:
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1, 0.5)
    remedy = f"did you mean `{near[0]}`?" if near else f"use one of: {', '.join(known) or 'none'}"
    return Refusal(f"{what}-unknown", f"cluster {cluster} has no {what} `{name}`", remedy)


def _license_misfits(licenses: object, limits: ClusterLimits) -> Iterator[tuple[str, Refusal]]:
    if not isinstance(licenses, str) or limits.licenses is None:
        return
    for item in licenses.split(","):
        name, _, count = item.partition(":")
        if name not in limits.licenses:
            yield "licenses", _unknown("license", name, limits.name, limits.licenses)
        elif count.isascii() and count.isdigit() and int(count) > limits.licenses[name]:
            has = limits.licenses[name]
            words = f"`{item}` asks for more than the {has} licences of cluster {limits.name}"
            remedy = f"write `{name}:{has}` or less" if has else f"remove `{name}`: there is none"
            yield "licenses", Refusal("license-unknown", words, remedy)


def _partition_misfits(
    demand: Demand, options: Mapping[str, object], partition: Partition
) -> Iterator[tuple[str, Refusal]]:
    name = partition.name
    if partition.max_time is not None and demand.time is not None and demand.time > partition.max_time:
        most = units.format_duration(partition.max_time)
        words = f"partition {name} ends jobs after {most}, not {units.format_duration(demand.time)}"
        yield "time", Refusal("partition-limit", words, f"ask for {most} or less")
    if partition.max_nodes is not None and demand.nodes > partition.max_nodes:
        words = f"partition {name} allows {partition.max_nodes} nodes a job, not {demand.nodes}"
        yield "nodes", Refusal("partition-limit", words, f"ask for {partition.max_nodes} or fewer")
        # So that a job that asks for fewer nodes is not refused again for what each of them then has.
        demand = Demand.of({**options, "nodes": max(1, partition.max_nodes)})
    yield from _node_misfits(demand, options, partition)
    yield from _unknown_kinds(options, partition)


def _unknown_kinds(options: Mapping[str, object], partition: Partition) -> Iterator[tuple[str, Refusal]]:
    """Types of GPUs and features of nodes that no node of a partition has, if the site file names those of all."""
    types = {name for shape in partition.shapes for name in shape.gpu_types}
    if types and all(shape.gpu_types or not shape.gpus for shape in partition.shapes):
        for option in ("gpus", "gpus-per-node", "gpus-per-task", "gres"):
            for name in _gpu_types(str(options.get(option, "")), is_gres=option == "gres"):
                if name not in types:
                    words = f"partition {partition.name} has no GPU of type `{name}`"
                    yield option, Refusal("node-limit", words, f"use one of: {', '.join(sorted(types))}")
    features = {name for shape in partition.shapes for name in shape.features}
    if features and all(shape.features for shape in partition.shapes):
        for name in re.findall(r"[A-Za-z_][\w.-]*", str(options.get("constraint", ""))):
            if name not in features:
                words = f"no node of partition {partition.name} has the feature `{name}`"
                yield "constraint", Refusal("node-limit", words, f"use: {', '.join(sorted(features))}")


def _gpu_types(text: str, *, is_gres: bool) -> Iterator[str]:
    """The types of GPUs in a value such as ``a100:2,2`` or, of ``gres``, ``gpu:a100:2``."""
    for item in text.split(","):
        words = item.split(":")
        if is_gres and words[0] != "gpu":
            continue
        words = words[1:] if is_gres else words
        if words and words[0] and not words[0].isdecimal():
            yield words[0]


def _node_misfits(demand: Demand, options: Mapping[str, object], partition: Partition) -> Iterator[tuple[str, Refusal]]:
    """Resources of which no node has enough. Only nodes that have enough of one resource count for the next."""
    shapes, passed = list(partition.shapes), ""
    amounts = ((_gpu_misfits, "gpus", demand.most_gpus_on_a_node), (_cpu_misfits, "cpus", demand.cpus_per_node))
    for misfits, resource, needed in (*amounts, (_mem_misfits, "mem", demand.mem_per_node)):
        has = [getattr(shape, resource) for shape in shapes]
        most = max((math.inf if amount is None else amount for amount in has), default=math.inf)
        least = min(needed, most)
        rest = [shape for shape, amount in zip(shapes, has, strict=True) if amount is None or amount >= least]
        if needed > most:
            nodes = f"a node of partition {partition.name}{passed} has"
            yield from misfits(_Misfit(demand, options, int(most), nodes, _most_nodes(options, partition, rest)))
        if len(rest) < len(shapes):
            passed = f" with as many {'GPUs' if resource == 'gpus' else 'CPUs'}"
        shapes = rest


@dataclass(frozen=True)
class _Misfit:
    """A job, and nodes that have only ``most`` of a resource; ``most_nodes`` is how many nodes the job could have."""

    demand: Demand
    options: Mapping[str, object]
    most: int
    words: str
    most_nodes: float

    def refusal(self, has: str, asked: str, remedy: str) -> Refusal:
        return Refusal("node-limit", f"{self.words} {has}, the job asks for {asked}", remedy)


def _most_nodes(options: Mapping[str, object], partition: Partition, shapes: list[NodeShape]) -> float:
    """The most nodes that a job could have: as many as are there, as the partition allows, and as it has tasks."""
    tasks = options.get("ntasks")
    bounds = [partition.max_nodes, tasks if isinstance(tasks, int) else None]
    counts = [shape.nodes for shape in shapes if shape.nodes is not None]
    there = sum(counts) if len(counts) == len(shapes) else None
    return min((bound for bound in (*bounds, there) if bound is not None), default=math.inf)


def _gpu_misfits(found: _Misfit) -> Iterator[tuple[str, Refusal]]:
    has, asked = f"{found.most} GPUs", f"{found.demand.gpus} on {found.demand.nodes}"
    if "gpus" in found.options and found.demand.gpus > found.most * found.demand.nodes:
        yield "gpus", found.refusal(has, asked, _remedy_for_all_gpus(found) if found.most else NO_GPUS)
    option = _first_of(found.options, "gpus-per-node", "gpus-per-task", "gres")
    if option != "partition" and found.demand.gpus_per_node > found.most:
        remedy = f"ask for {found.most} GPUs a node or fewer" if found.most else NO_GPUS
        yield option, found.refusal(has, asked, remedy)


def _remedy_for_all_gpus(found: _Misfit) -> str:
    """More nodes if the job can have them, else fewer GPUs."""
    nodes = math.ceil(found.demand.gpus / found.most)
    if nodes <= found.most_nodes:
        return f"use `nodes: {nodes}`"
    most_nodes = max(found.demand.nodes, int(found.most_nodes))
    more = f" with `nodes: {most_nodes}`" if most_nodes > found.demand.nodes else ""
    return f"ask for {found.most * most_nodes} GPUs or fewer{more}"


def _cpu_misfits(found: _Misfit) -> Iterator[tuple[str, Refusal]]:
    remedy = f"ask for {found.most} CPUs a node or fewer"
    tasks, each = found.options.get("ntasks"), found.options.get("cpus-per-task", 1)
    # More nodes help only if the tasks are not bound to a node, and one of them fits.
    if "ntasks-per-node" not in found.options and isinstance(tasks, int) and isinstance(each, int):
        nodes = math.ceil(tasks / (found.most // each)) if each <= found.most else math.inf
        remedy += f", or use `nodes: {nodes}`" if nodes <= found.most_nodes else ""
    option = _first_of(found.options, "cpus-per-task", "ntasks-per-node", "ntasks")
    yield option, found.refusal(f"{found.most} CPUs", f"{found.demand.cpus_per_node} on each", remedy)


def _mem_misfits(found: _Misfit) -> Iterator[tuple[str, Refusal]]:
    demand, option = found.demand, _first_of(found.options, "mem-per-cpu", "mem-per-gpu", "mem")
    parts = {"mem-per-cpu": ("CPU", demand.cpus_per_node), "mem-per-gpu": ("GPU", demand.gpus_of_a_node)}
    what, count = parts.get(option, ("node", 1))
    share = found.most // count
    size = units.format_size(share - share % 1024 if share >= 1024 else share)  # noqa: PLR2004 - whole MB
    asked = f"{units.format_size(demand.mem_per_node)} on each"
    yield option, found.refusal(units.format_size(found.most), asked, f"ask for {size} a {what} or less")


def _first_of(options: Mapping[str, object], *names: str) -> str:
    return next((name for name in names if name in options), "partition")


def _with_alternative(
    option: str, refusal: Refusal, demand: Demand, options: Mapping[str, object], limits: ClusterLimits
) -> Refusal:
    """Add to a remedy a partition in which the job fits; jobs for CPUs are not sent to nodes with GPUs."""
    joint = {"time": ", or use `partition: {}`"}.get(option, ", such as `{}`" if refusal.remedy == NO_GPUS else "")
    for name, partition in limits.partitions.items() if joint else ():
        spare_gpus = any(shape.gpus for shape in partition.shapes) and not demand.gpus
        if not spare_gpus and not any(_partition_misfits(demand, options, partition)):
            return Refusal(refusal.code, refusal.message, refusal.remedy + joint.format(name))
    return refusal
