"""The program that asks a cluster what a first site file says of it. It writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap_airflow.cluster.remote.programs import HOME
from hotswap_airflow.slurm.facts.site_facts import SINFO_FORMAT, SiteFacts, parse_site_facts

if TYPE_CHECKING:
    from hotswap_airflow.cluster.remote.cancellation import Asker

PROGRAM = (
    HOME
    + """\
begin
timed() { program=$1; shift; timeout 20 "$program" ${cluster:+"--clusters=$cluster"} "$@" 2> /dev/null; }
timed sinfo -h -e -o "$1"
timed scontrol show config | grep -E '^(ClusterName|MaxArraySize) *='
timed scontrol -o show licenses
end
"""
)


async def probe_site(account: Asker) -> SiteFacts:
    """The partitions, licences and limits of a cluster. Raises ``ClusterError``."""
    return parse_site_facts(await account.run_program(PROGRAM, SINFO_FORMAT))
