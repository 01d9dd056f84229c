"""``hotswap runs``: commands for the folders of runs on the clusters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli.clusters import clusters_of, own_installation, reached
from hotswap_airflow.cli.loading import add_site_argument
from hotswap_airflow.cluster.upkeep.ownership import keep_runs, keys_of
from hotswap_airflow.errors import SetupError

if TYPE_CHECKING:
    import argparse


def add_command(commands: Any) -> None:
    """Add ``runs keep``."""
    runs = commands.add_parser("runs", help="runs on the clusters").add_subparsers(metavar="COMMAND", required=True)
    keep = runs.add_parser("keep", help="keep the folder of a run: it is not removed after its time")
    for name in ("workflow", "run"):
        keep.add_argument(name)
    keep.add_argument("--off", action="store_true", help="let it be removed after its time again")
    add_site_argument(keep)
    keep.set_defaults(action=_keep)


def _keep(arguments: argparse.Namespace) -> int:
    folders = asyncio.run(_keep_folders(arguments))
    if not folders:
        raise SetupError(f"no cluster of the site has a folder of run {arguments.run} of {arguments.workflow}")
    for folder in folders:
        print(f"{folder} {'is removed after the time that the site sets' if arguments.off else 'stays'}")
    return 0


async def _keep_folders(arguments: argparse.Namespace) -> list[str]:
    shown, own = [], own_installation()
    for cluster in clusters_of(arguments.site):
        async with reached(cluster) as client:
            found = sorted({key.run.folder for key in await keys_of(client, own, arguments.workflow, arguments.run)})
            await keep_runs(client, found, is_kept=not arguments.off)
            shown += [f"{cluster.name}:{cluster.target.workdir}/runs/{folder}" for folder in found]
    return shown
