"""``hotswap clusters probe``: write a first site file from what a cluster says about itself."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import yaml

from hotswap_airflow.cli import loading
from hotswap_airflow.cluster.remote.client import ClusterClient
from hotswap_airflow.cluster.remote.site_probe import probe_site
from hotswap_airflow.cluster.transport.connect import make_transport
from hotswap_airflow.workflow.site_file import read_site
from hotswap_airflow.workflow.spec.vocabulary import SITE_HEADER

if TYPE_CHECKING:
    import argparse

    from hotswap_airflow.slurm.facts.site_facts import SiteFacts

_HEAD = """\
# A first site file, from what the cluster said. Look through it, then name it in `[hotswap] site`.
# Add environments in their order of promotion, and projects, policy and prices as you need them.
"""


def add_command(commands: Any) -> None:
    """Add ``clusters probe``."""
    clusters = commands.add_parser("clusters", help="what clusters are and allow")
    verbs = clusters.add_subparsers(title="verbs", metavar="VERB", required=True)
    probe = verbs.add_parser("probe", help="write a first site file from what a cluster says about itself")
    probe.add_argument(
        "connection", metavar="CONNECTION", help="an Airflow connection, or a URI such as ssh://ann@host"
    )
    probe.add_argument("--name", default=None, help="the cluster's name in the site file (default: Slurm's own)")
    probe.set_defaults(action=_probe)


def _probe(arguments: argparse.Namespace) -> int:
    facts = asyncio.run(_asked(arguments.connection))
    connection = arguments.connection if "://" not in arguments.connection else f"slurm_{arguments.name or facts.name}"
    text = _HEAD + site_text(facts, arguments.name or facts.name or "main", connection)
    read_site(text.encode(), "site.yaml")
    print(text, end="")
    print(f"{len(facts.partitions)} partition(s) of cluster {facts.name or 'without a name'}", file=sys.stderr)
    return 0


async def _asked(connection: str) -> SiteFacts:
    text = connection if "://" in connection else f"@{connection}"
    transport = make_transport(loading.find_login(connection, text), os.environ)
    try:
        return await probe_site(ClusterClient(transport, "hotswap-runs", connection))
    finally:
        await transport.close()


def site_text(facts: SiteFacts, name: str, connection: str) -> str:
    """A site file with one environment and the cluster of the facts."""
    cluster: dict[str, Any] = {"connection": connection}
    if facts.max_array_size is not None:
        cluster["max_array_size"] = facts.max_array_size
    if facts.licenses:
        cluster["licenses"] = facts.licenses
    if facts.default is not None:
        cluster["defaults"] = {"slurm": {"partition": facts.default}}
    cluster["partitions"] = {key: shapes[0] if len(shapes) == 1 else shapes for key, shapes in facts.partitions.items()}
    site = {"hotswap": SITE_HEADER, "environments": {"dev": {"cluster": name}}, "clusters": {name: cluster}}
    return str(yaml.safe_dump(site, sort_keys=False, default_flow_style=None, width=120))
