"""What a job asks for, against the limits of a cluster."""

from __future__ import annotations

import pytest

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
