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
            yield "licenses", Refusal("license-unknown", words, f"write `{name}:{has}` or less")


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
    if partition.shapes and not any(_holds(shape, demand) for shape in partition.shapes):
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


def _holds(shape: NodeShape, demand: Demand) -> bool:
    return (
        (shape.cpus is None or demand.cpus_per_node <= shape.cpus)
        and (shape.mem is None or demand.mem_per_node <= shape.mem)
        and demand.gpus_per_node <= shape.gpus
        and demand.gpus <= shape.gpus * demand.nodes
    )


def _node_misfits(demand: Demand, options: Mapping[str, object], partition: Partition) -> Iterator[tuple[str, Refusal]]:
    cpus = max((shape.cpus or demand.cpus_per_node for shape in partition.shapes), default=0)
    mem = max((shape.mem or demand.mem_per_node for shape in partition.shapes), default=0)
    gpus = max((shape.gpus for shape in partition.shapes), default=0)
    nodes = f"a node of partition {partition.name} has"
    if demand.cpus_per_node > cpus:
        words = f"{nodes} {cpus} CPUs, the job asks for {demand.cpus_per_node} on each"
        yield (
            _first_of(options, "cpus-per-task", "ntasks-per-node", "ntasks"),
            Refusal("node-limit", words, f"ask for {cpus} CPUs a node or fewer, or for more nodes"),
        )
    if demand.mem_per_node > mem:
        words = f"{nodes} {units.format_size(mem)}, the job asks for {units.format_size(demand.mem_per_node)} on each"
        yield (
            _first_of(options, "mem", "mem-per-cpu", "mem-per-gpu"),
            Refusal("node-limit", words, f"ask for {units.format_size(mem)} a node or less"),
        )
    if demand.gpus_per_node > gpus or demand.gpus > gpus * demand.nodes:
        words = f"{nodes} {gpus} GPUs, the job asks for {demand.gpus} on {demand.nodes}"
        remedy = f"use `nodes: {math.ceil(demand.gpus / gpus)}`" if gpus else "use a partition with GPUs"
        yield _first_of(options, "gpus", "gpus-per-node", "gpus-per-task", "gres"), Refusal("node-limit", words, remedy)


def _first_of(options: Mapping[str, object], *names: str) -> str:
    return next((name for name in names if name in options), "partition")


def _with_alternative(
    option: str, refusal: Refusal, demand: Demand, options: Mapping[str, object], limits: ClusterLimits
) -> Refusal:
    """Add to the remedy of a time limit a partition in which the job fits; CPU jobs are not sent to GPU nodes."""
    for name, partition in limits.partitions.items():
        spare_gpus = any(shape.gpus for shape in partition.shapes) and not demand.gpus
        if option == "time" and not spare_gpus and not any(_partition_misfits(demand, options, partition)):
            return Refusal(refusal.code, refusal.message, f"{refusal.remedy}, or use `partition: {name}`")
    return refusal
