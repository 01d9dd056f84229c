"""What a job asks for, against the limits of a cluster."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotswap_airflow.slurm.limits import ClusterLimits, Demand, NodeShape, Partition, limit_violations


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, (1, 1, 0, 0)), ({"nodes": 2, "ntasks": 8}, (2, 4, 0, 0)), ({"ntasks-per-node": 3, "cpus-per-task": 2}, (1, 6, 0, 0)),
        ({"mem-per-cpu": "1G", "cpus-per-task": 4}, (1, 4, 4 * 1024**2, 0)),
        ({"mem-per-gpu": "1G", "gpus": 2}, (1, 1, 2 * 1024**2, 2)),
        ({"gpus-per-task": 2, "ntasks": 2}, (1, 2, 0, 4)), ({"gres": "gpu:a100:2,shard:1"}, (1, 1, 0, 2)), ({"gres": "gpu"}, (1, 1, 0, 1)), ({"gpus": "2080ti:1,3g.20gb:2"}, (1, 1, 0, 3)),
        ({"nodes": "2-4"}, (2, 1, 0, 0)),
    ],
)  # fmt: skip
def test_what_a_job_asks_for(asked: dict[str, object], expected: tuple[int, int, int, int]) -> None:
    demand = Demand.of(asked)
    assert (demand.nodes, demand.cpus_per_node, demand.mem_per_node, demand.gpus) == expected


LIMITS = ClusterLimits(
    "main",
    {
        "gpu": Partition("gpu", (NodeShape(gpus=2, gpu_types={"a100": 2}), NodeShape(gpus=1, gpu_types={"t4": 1}))),
        "mixed": Partition("mixed", (NodeShape(gpus=2, gpu_types={"a100": 2}), NodeShape(gpus=4))),
        "cpu": Partition("cpu", (NodeShape(features=("ib", "avx")), NodeShape(features=("avx",)))),
    },
)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partition": "gpu", "gpus": "a100:2"}, []), ({"partition": "gpu", "gpus": 1}, []),
        ({"partition": "gpu", "gpus": "h100:1"}, ["no GPU of type `h100`"]),
        ({"partition": "gpu", "gres": "gpu:h100"}, ["no GPU of type `h100`"]), ({"partition": "gpu", "gres": "gpu:2,shard:1"}, []),
        ({"partition": "mixed", "gpus-per-node": "h100:1"}, []),
        ({"partition": "cpu", "constraint": "ib&avx"}, []), ({"partition": "cpu", "constraint": "[ib|sse]*2"}, ["the feature `sse`"]),
        ({"partition": "gpu", "constraint": "ib"}, []),
    ],
)  # fmt: skip
def test_types_of_gpus_and_features_of_nodes(options: dict[str, object], words: list[str]) -> None:
    found = [refusal.message for _, refusal in limit_violations(options, LIMITS)]
    assert [word in message for word, message in zip(words, found, strict=True)] == [True] * len(words)


ONE = ClusterLimits(
    "main", {"p": Partition("p", (NodeShape(nodes=4, cpus=8, mem=16 << 20, gpus=2),), max_time=3600, max_nodes=2)}
)
TWO = ClusterLimits("main", {"p": Partition("p", (NodeShape(cpus=64), NodeShape(cpus=8, gpus=4)))})
NONE = ClusterLimits(
    "main", {"p": Partition("p", (NodeShape(cpus=4),)), "gpu": Partition("gpu", (NodeShape(cpus=4, gpus=1),))}
)


@pytest.mark.parametrize(
    ("limits", "options", "expected"),
    [
        (ONE, {"gpus-per-node": 3}, {"gpus-per-node": "ask for 2 GPUs a node or fewer"}),
        (ONE, {"gpus-per-node": 3, "nodes": 2}, {"gpus-per-node": "ask for 2 GPUs a node or fewer"}),
        (ONE, {"gres": "gpu:3"}, {"gres": "ask for 2 GPUs a node or fewer"}),
        (ONE, {"gpus-per-task": 2, "ntasks-per-node": 2}, {"gpus-per-task": "ask for 2 GPUs a node or fewer"}),
        (ONE, {"gpus": 4}, {"gpus": "use `nodes: 2`"}),
        (ONE, {"gpus": 5}, {"gpus": "ask for 4 GPUs or fewer with `nodes: 2`"}),
        (ONE, {"gpus": 4, "ntasks": 1}, {"gpus": "ask for 2 GPUs or fewer"}),
        (ONE, {"gpus": 5, "nodes": 2}, {"gpus": "ask for 4 GPUs or fewer"}),
        (ONE, {"gpus": 6, "nodes": 3}, {"nodes": "ask for 2 or fewer", "gpus": "ask for 4 GPUs or fewer"}),
        (ONE, {"cpus-per-task": 64}, {"cpus-per-task": "ask for 8 CPUs a node or fewer"}),
        (ONE, {"ntasks-per-node": 9}, {"ntasks-per-node": "ask for 8 CPUs a node or fewer"}),
        (ONE, {"ntasks": 16}, {"ntasks": "ask for 8 CPUs a node or fewer, or use `nodes: 2`"}),
        (ONE, {"ntasks": 17}, {"ntasks": "ask for 8 CPUs a node or fewer"}),
        (ONE, {"mem": "17G"}, {"mem": "ask for 16G a node or less"}),
        (ONE, {"mem-per-cpu": "6G", "cpus-per-task": 3}, {"mem-per-cpu": "ask for 5461M a CPU or less"}),
        (ONE, {"mem-per-gpu": "9G", "gpus": 2}, {"mem-per-gpu": "ask for 8G a GPU or less"}),
        (TWO, {"gpus": 1, "cpus-per-task": 9}, {"cpus-per-task": "ask for 8 CPUs a node or fewer"}),
        (TWO, {"gpus": 1, "cpus-per-task": 8}, {}), (TWO, {"cpus-per-task": 64}, {}),
        (NONE, {"gpus": 1}, {"gpus": "use a partition with GPUs, such as `gpu`"}),
        (NONE, {"gres": "gpu:2"}, {"gres": "use a partition with GPUs"}),
    ],
)  # fmt: skip
def test_what_to_ask_for_instead(limits: ClusterLimits, options: dict[str, object], expected: dict[str, str]) -> None:
    found = limit_violations({"partition": "p", **options}, limits)
    assert {option: refusal.remedy for option, refusal in found} == expected


@pytest.mark.parametrize(("asked", "remedy"), [("a:3", "write `a:2` or less"), ("b:1", "remove `b`: there is none")])
def test_too_many_licenses(asked: str, remedy: str) -> None:
    found = limit_violations({"licenses": asked}, ClusterLimits("main", licenses={"a": 2, "b": 0}))
    assert [refusal.remedy for _, refusal in found] == [remedy]


def _maybe(largest: int) -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(1, largest)


SHAPES = st.builds(
    NodeShape, nodes=_maybe(4), cpus=_maybe(16), mem=_maybe(16).map(lambda n: n and n << 20), gpus=st.integers(0, 4)
)
PARTITIONS = st.builds(
    Partition, st.just("p"), st.lists(SHAPES, max_size=3).map(tuple), max_time=_maybe(100_000), max_nodes=_maybe(4)
)
GPUS = st.sampled_from(["gpus", "gpus-per-node", "gpus-per-task", "gres"])
MEM = st.sampled_from(["mem", "mem-per-cpu", "mem-per-gpu"])


@st.composite
def _jobs(draw: st.DrawFn) -> dict[str, Any]:
    small = st.integers(1, 20)
    job = draw(
        st.fixed_dictionaries(
            {"partition": st.just("p")}, optional={"nodes": small, "cpus-per-task": small, "time": st.integers(1, 2000)}
        )
    )
    tasks = draw(st.sampled_from([None, "ntasks", "ntasks-per-node"]))
    if tasks is not None:
        job[tasks] = draw(small)
    if draw(st.booleans()):
        gpus, count = draw(GPUS), draw(small)
        job[gpus] = f"gpu:{count}" if gpus == "gres" else count
    if draw(st.booleans()):
        job[draw(MEM)] = f"{draw(small)}G"
    return job


def _follow(job: dict[str, Any], option: str, remedy: str) -> dict[str, Any] | None:
    """The job after one remedy; None if the remedy names no number."""
    if match := re.search(r"use `nodes: (\d+)`$", remedy):
        return {**job, "nodes": max(job.get("nodes", 1), int(match[1]))}
    if match := re.search(r"ask for (\d+) GPUs or fewer(?: with `nodes: (\d+)`)?$", remedy):
        return {**job, "gpus": int(match[1]), **({"nodes": int(match[2])} if match[2] else {})}
    if match := re.search(r"ask for (\w+)( a node| a CPU| a GPU)? or (?:less|fewer)$", remedy):
        return {**job, option: int(match[1]) if match[1].isdigit() else match[1]}
    match = re.search(r"ask for (\d+) (CPUs|GPUs) a node", remedy)
    return _with_less_on_a_node(job, option, int(match[1])) if match else None


def _with_less_on_a_node(job: dict[str, Any], option: str, most: int) -> dict[str, Any]:
    nodes = job.get("nodes", 1)
    if option in {"gres", "gpus-per-node"}:
        return {**job, option: f"gpu:{most}" if option == "gres" else most}
    tasks = job.get("ntasks-per-node", math.ceil(job.get("ntasks", nodes) / nodes))
    if tasks <= most:
        return {**job, option if option == "gpus-per-task" else "cpus-per-task": most // tasks}
    less = {"ntasks-per-node": most} if "ntasks-per-node" in job else {"ntasks": most * nodes}
    return {**job, **less, option if option == "gpus-per-task" else "cpus-per-task": 1}


@given(PARTITIONS, _jobs())
@example(ONE.partitions["p"], {"partition": "p", "gpus": 5, "nodes": 2})
@example(ONE.partitions["p"], {"partition": "p", "gpus-per-node": 3})
@example(ONE.partitions["p"], {"partition": "p", "ntasks": 16, "nodes": 3})
def test_who_follows_the_remedies_has_no_other_problem(partition: Partition, job: dict[str, Any]) -> None:
    limits = ClusterLimits("main", {"p": partition})
    for option, refusal in limit_violations(job, limits):
        followed = _follow(job, option, refusal.remedy)
        if followed is None:
            assert refusal.remedy == "use a partition with GPUs"
            return
        job = followed
    assert list(limit_violations(job, limits)) == []
