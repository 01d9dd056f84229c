"""A first site file from what sinfo and scontrol print."""

from __future__ import annotations

import pytest

from hotswap_airflow.cli.commands.clusters import site_text
from hotswap_airflow.errors import UnreadableAnswer
from hotswap_airflow.slurm.facts.site_facts import SiteFacts, parse_site_facts
from hotswap_airflow.workflow.site_file import read_site

REAL = """\
debug|30:00|1-2|2|4|8000|gpu:2|(null)
batch*|2-00:00:00|1-infinite|2|64+|257000+|(null)|ib,avx2
gpu|1-12:30:00|1-infinite|3|32|515000|gpu:a100:4(S:0-1),shard:8|(null)
gpu|1-12:30:00|1-infinite|1|32|515000|gpu:a100:2,gpu:t4:1|(null)
long|infinite|1|1|4|8000|(null)|(null)
ClusterName             = hpc
MaxArraySize            = 10001
LicenseName=solver Total=2 Used=0 Free=2 Reserved=0 Remote=no
"""


def test_what_a_cluster_prints_becomes_a_valid_site_file() -> None:
    facts = parse_site_facts(REAL)
    assert (facts.name, facts.max_array_size, facts.default, facts.licenses) == ("hpc", 10001, "batch", {"solver": 2})
    assert facts.partitions == {
        "debug": [{"nodes": 2, "cpus": 4, "mem": "8000M", "max_nodes": 2, "max_time": "30m", "gpus": 2}],
        "batch": [{"nodes": 2, "cpus": 64, "mem": "257000M", "max_time": "2d", "features": ["ib", "avx2"]}],
        "gpu": [
            {"nodes": 3, "cpus": 32, "mem": "515000M", "max_time": "1d12h30m", "gpus": {"a100": 4}},
            {"nodes": 1, "cpus": 32, "mem": "515000M", "max_time": "1d12h30m", "gpus": {"a100": 2, "t4": 1}},
        ],
        "long": [{"nodes": 1, "cpus": 4, "mem": "8000M", "max_nodes": 1}],
    }
    site = read_site(site_text(facts, "hpc", "slurm_hpc").encode(), "site.yaml")
    assert site.clusters["hpc"].limits.partitions["gpu"].max_time == 131_400
    assert site.clusters["hpc"].target.connection == "slurm_hpc"


def test_a_cluster_without_a_partition_is_no_answer() -> None:
    with pytest.raises(UnreadableAnswer):
        parse_site_facts("ClusterName = hpc\n")
    assert "defaults" not in site_text(SiteFacts(partitions={"p": [{}]}), "main", "c")
