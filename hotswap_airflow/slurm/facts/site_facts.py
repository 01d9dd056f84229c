"""What a cluster says about itself for a first site file: partitions, shapes of nodes, licences, limits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hotswap_airflow import units
from hotswap_airflow.errors import UnreadableAnswer
from hotswap_airflow.slurm.parsing import lines

if TYPE_CHECKING:
    from collections.abc import Iterator

SINFO_FORMAT = "%P|%l|%s|%D|%c|%m|%G|%f"
"""Partition, time limit, nodes a job may have, nodes of one shape, CPUs, memory in MB, GRES, features."""
_FIELDS = 8
_GPU = re.compile(r"gpu(?::([A-Za-z0-9_.-]*[A-Za-z_][A-Za-z0-9_.-]*))?:([0-9]+)")
_LICENSE = re.compile(r"LicenseName=(\S+)\s+Total=([0-9]+)")


@dataclass(frozen=True)
class SiteFacts:
    """A cluster as its commands show it. ``partitions`` are as in a site file; ``default`` is Slurm's own choice."""

    name: str = ""
    max_array_size: int | None = None
    default: str | None = None
    partitions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    licenses: dict[str, int] = field(default_factory=dict)


def parse_site_facts(text: str) -> SiteFacts:
    """Read the lines of ``sinfo``, ``scontrol show config`` and ``scontrol show licenses``.

    Raises ``UnreadableAnswer`` if there is no partition.
    """
    config: dict[str, str] = {}
    licenses: dict[str, int] = {}
    partitions: dict[str, list[dict[str, Any]]] = {}
    default = None
    for line in lines(text):
        if match := _LICENSE.match(line):
            licenses[match[1]] = int(match[2])
        elif line.count("|") == _FIELDS - 1:
            name, shape = _shape(line.strip().split("|"))
            default = name.rstrip("*") if name.endswith("*") else default
            partitions.setdefault(name.rstrip("*"), []).append(shape)
        elif " = " in line:
            key, _, value = line.partition(" = ")
            config[key.strip()] = value.strip()
    if not partitions:
        raise UnreadableAnswer("sinfo", text[-500:], "partition")
    size = config.get("MaxArraySize", "")
    return SiteFacts(
        config.get("ClusterName", ""), int(size) if size.isdecimal() else None, default, partitions, licenses
    )


def _shape(words: list[str]) -> tuple[str, dict[str, Any]]:
    """A partition's name, and the nodes of one shape as a site file writes them."""
    name, time, most, nodes, cpus, memory, gres, features = words
    known = dict(_known(time, most, nodes, cpus, memory))
    if gpus := dict(_gpus(gres)):
        known["gpus"] = gpus.get("", 0) if set(gpus) == {""} else {kind or "any": count for kind, count in gpus.items()}
    if features not in {"", "(null)"}:
        known["features"] = features.split(",")
    return name, known


def _known(time: str, most: str, nodes: str, cpus: str, memory: str) -> Iterator[tuple[str, Any]]:
    for key, text in (("nodes", nodes), ("cpus", cpus.rstrip("+"))):
        if text.isdecimal():
            yield key, int(text)
    if memory.rstrip("+").isdecimal():
        yield "mem", f"{memory.rstrip('+')}M"
    limit = most.rpartition("-")[2]
    if limit.isdecimal():
        yield "max_nodes", int(limit)
    if time not in {"infinite", "n/a", ""}:
        yield "max_time", units.format_duration(_seconds(time))


def _seconds(text: str) -> int:
    """The seconds of one of sinfo's times, which may lack its hours: ``30:00``, ``1:00:00``, ``2-00:00:00``."""
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = [0] * (3 - len(parts)) + parts
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _gpus(gres: str) -> Iterator[tuple[str, int]]:
    """The GPUs of a node by their type; the empty text stands for GPUs without a type."""
    for kind, count in _GPU.findall(gres):
        yield kind, int(count)
