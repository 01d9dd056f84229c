"""What a job asks for, against the limits of a cluster."""

from __future__ import annotations

import pytest

from hotswap_airflow.slurm.limits import Demand


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
