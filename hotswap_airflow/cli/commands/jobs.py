"""``hotswap jobs``: commands for the jobs of a run in Airflow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli.airflow_login import add_airflow_arguments, log_in
from hotswap_airflow.cli.clusters import clusters_of, own_installation, reached
from hotswap_airflow.cli.loading import add_site_argument
from hotswap_airflow.cluster.upkeep.ownership import keys_of, mark_tries
from hotswap_airflow.errors import HotswapError, SetupError
from hotswap_airflow.file_store.results import ResultStore
from hotswap_airflow.settings import read_without_airflow
from hotswap_airflow.slurm.array_state import PROGRESS_KEY
from hotswap_airflow.slurm.history.past import ANEW

if TYPE_CHECKING:
    import argparse

    from hotswap_airflow.airflow_client import RestClient


def add_command(commands: Any) -> None:
    """Add ``jobs retry`` and ``jobs elements``."""
    jobs = commands.add_parser("jobs", help="jobs of a run in Airflow").add_subparsers(metavar="COMMAND", required=True)
    retry = jobs.add_parser(
        "retry", help="clear a job and the jobs after it; a sweep runs the elements that did not succeed"
    )
    retry.add_argument("--all", action="store_true", help="run all elements of a sweep, also those that succeeded")
    add_site_argument(retry)
    retry.set_defaults(action=_retry)
    elements = jobs.add_parser("elements", help="the elements of a sweep that has ended, page by page")
    elements.add_argument("--first", type=int, default=0, metavar="N", help="element to begin with (default 0)")
    elements.add_argument("--count", type=int, default=50, metavar="N", help="how many (default 50)")
    elements.add_argument("--json", action="store_true", help="one JSON object per line")
    elements.set_defaults(action=_elements)
    for parser in (retry, elements):
        for name in ("workflow", "run", "job"):
            parser.add_argument(name)
        parser.add_argument("--index", type=int, default=-1, metavar="N", help="map index, of a mapped task")
        add_airflow_arguments(parser)


def _retry(arguments: argparse.Namespace) -> int:
    airflow, ids = _task(arguments)
    try:
        if arguments.all:
            print(f"{asyncio.run(_begin_anew(arguments))} earlier tries do not count any more")
        count = airflow.clear_task(*ids)
    except HotswapError:
        if arguments.all:
            asyncio.run(_begin_anew(arguments, is_on=False))
        raise
    print(f"cleared {count} task(s)")
    return 0


def _task(arguments: argparse.Namespace) -> tuple[RestClient, tuple[str, str, str, int]]:
    """A client of Airflow, and the ids of the named task. Raises ``SetupError`` if Airflow has no such task."""
    airflow = log_in(arguments.airflow)
    ids = (arguments.workflow, arguments.run, arguments.job, arguments.index)
    if airflow.task_state(*ids) == "":
        raise SetupError(f"Airflow has no task {arguments.job} in run {arguments.run} of {arguments.workflow}")
    return airflow, ids


def _elements(arguments: argparse.Namespace) -> int:
    if arguments.first < 0 or arguments.count < 1:
        raise SetupError("--first is at least 0, --count at least 1")
    airflow, (workflow, run, job, index) = _task(arguments)
    progress = airflow.xcom(workflow, run, job, PROGRESS_KEY, index) or {}
    if "table" not in progress:
        raise SetupError(f"job {job} of {run} has no table of elements: it is not a sweep, or has not ended")
    rows = ResultStore(read_without_airflow().store_path).page(progress["table"], arguments.first, arguments.count)
    for row in rows:
        print(row.to_json() if arguments.json else row)
    if not arguments.json:
        print(progress["text"])
    return 0


async def _begin_anew(arguments: argparse.Namespace, *, is_on: bool = True) -> int:
    count, own = 0, own_installation()
    for cluster in clusters_of(arguments.site):
        async with reached(cluster) as client:
            keys = await keys_of(client, own, arguments.workflow, arguments.run, arguments.job)
            digests = [key.digest for key in keys if key.index == arguments.index]
            await mark_tries(client, digests, ANEW, is_on=is_on)
            count += len(digests)
    return count
