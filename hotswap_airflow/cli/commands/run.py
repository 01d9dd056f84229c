"""``hotswap run``: runs a workflow directly on its cluster, without Airflow or its database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli import loading, saved_run
from hotswap_airflow.cli.runner import Runner
from hotswap_airflow.cli.saved_run import SavedRun
from hotswap_airflow.cluster.transport.connect import make_transport
from hotswap_airflow.errors import SetupError
from hotswap_airflow.file_store.contents import ContentStore, installation
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.settings import state_folder
from hotswap_airflow.workflow.kept import refused_at_start
from hotswap_airflow.workflow.param_text import read_params

if TYPE_CHECKING:
    import argparse

    from hotswap_airflow.cluster.transport.base import Transport
    from hotswap_airflow.workflow.plan import Plan, PlannedJob
    from hotswap_airflow.workflow.site import Site

INTERRUPTED = 130
TIMED_OUT = "timed out"
_EXIT = {"success": 0, "failed": 1, TIMED_OUT: 1, "cancelled": INTERRUPTED, "abandoned": INTERRUPTED, "left": 0}
_CLEARING_UP = 5.0
"""Seconds that connections and unfinished commands may take to end."""


def add_command(commands: Any) -> None:
    """Add ``run``."""
    run = commands.add_parser("run", help="run a workflow straight on its cluster, without Airflow")
    run.add_argument("file", nargs="?", metavar="FILE")
    loading.add_site_arguments(run)
    run.add_argument("--param", action="append", default=[], metavar="K=V", help="a parameter; may be given often")
    run.add_argument("--connection", metavar="URI", help="ssh://USER@HOST, slurm://…, or a host of ~/.ssh/config")
    run.add_argument("--attach", metavar="RUN", help="continue a run that was left")
    run.add_argument("--json", action="store_true", help="end with one JSON object on standard output")
    run.set_defaults(action=_run)


def _run(arguments: argparse.Namespace) -> int:
    if (arguments.file is None) == (arguments.attach is None):
        raise SetupError("give a FILE, or --attach RUN")
    saved = saved_run.load(arguments.attach) if arguments.attach else _begin(arguments)
    plan, site = saved_run.plan_of(saved)
    state, summary = asyncio.run(_drive(plan, site, saved, is_attached=bool(arguments.attach)))
    if arguments.json:
        print(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        _print_end(state, summary)
    return _EXIT[state]


def _begin(arguments: argparse.Namespace) -> SavedRun:
    plan, site = loading.plan_file(arguments.file, arguments.site, arguments.environment)
    for job in plan.jobs:
        if reason := _only_in_airflow(job):
            raise SetupError(f"{reason}; nothing was submitted")
    site_path = loading.site_path(arguments.site)
    saved = SavedRun(
        run=saved_run.new_run_id(),
        nonce=secrets.token_hex(4),
        installation=installation(state_folder()),
        file=arguments.file,
        environment=plan.environment,
        site=loading.read_bytes(str(site_path)).decode() if site_path else None,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        params=read_params(plan.params, arguments.param),
        logins={name: _login_text(site, name, arguments.connection) for name in {job.cluster for job in plan.jobs}},
    )
    saved_run.save(saved, loading.read_bytes(arguments.file), DiskFolder(Path(arguments.file).parent), plan)
    return saved


def _only_in_airflow(job: PlannedJob) -> str:
    """Why a job cannot run here, so that no run begins that would leave it out; empty if it can."""
    if job.uses is not None:
        return f"job {job.name} uses {job.uses}, which runs in Airflow alone; put the file into the DAGs folder"
    return refused_at_start(job)


def _login_text(site: Site, cluster: str, given: str | None) -> str:
    """A cluster's login as text. ``--attach`` looks up variables and sandboxes again."""
    if given:
        return given if "://" in given or given.startswith("{") else f"ssh://{given}"
    name = site.clusters[cluster].target.connection
    loading.find_login(name or cluster, f"@{name}")
    return f"@{name}"


async def _drive(plan: Plan, site: Site, saved: SavedRun, *, is_attached: bool) -> tuple[str, dict[str, Any]]:
    transports: dict[str, Transport] = {
        cluster: make_transport(loading.find_login(cluster, text), os.environ) for cluster, text in saved.logins.items()
    }
    store = ContentStore(state_folder())
    files = saved_run.files_of(saved)
    for file in plan.pack.files:
        store.put(files.read(file.path))
    runner = Runner(plan, site, saved, transports, store, _print_line, is_attached=is_attached)
    print(f"run {saved.run} of {plan.workflow} in {plan.environment}", file=sys.stderr)
    try:
        state = await _until_signal(runner, plan.timeout)
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLEARING_UP):
                await runner.close()
    return state, runner.summary(state)


async def _until_signal(runner: Runner, seconds: int | None) -> str:
    """Run to the end. Ctrl-C cancels the jobs, a second signal ends that wait; SIGHUP and SIGTERM leave the jobs.

    After some seconds, if they are limited, the jobs are cancelled as well.
    """
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[str] = asyncio.Queue()
    for number, how in ((signal.SIGINT, "cancelled"), (signal.SIGHUP, "left"), (signal.SIGTERM, "left")):
        loop.add_signal_handler(number, signals.put_nowait, how)
    if seconds is not None:
        loop.call_later(seconds, signals.put_nowait, TIMED_OUT)
    running = asyncio.ensure_future(runner.run())
    stopped = await _first_signal(running, signals)
    if stopped is None:
        return running.result()
    how = stopped
    if how in {"cancelled", TIMED_OUT}:
        cancelling = asyncio.ensure_future(runner.cancel())
        if await _first_signal(cancelling, signals) is not None:
            how = "abandoned"
        await _end(cancelling)
    await _end(running)
    return how


async def _first_signal(work: asyncio.Future[Any], signals: asyncio.Queue[str]) -> str | None:
    """How a signal stops the work; None if the work ends before any signal."""
    stopped = asyncio.ensure_future(signals.get())
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if stopped.done():
        return stopped.result()
    stopped.cancel()
    return None


async def _end(work: asyncio.Future[Any]) -> None:
    work.cancel()
    await asyncio.wait({work}, timeout=_CLEARING_UP)


def _print_line(job: str, line: str) -> None:
    try:
        for part in re.split(r"\r?\n|\r", line):
            print(f"{datetime.now().astimezone():%H:%M:%S}  {job}  {part}", file=sys.stderr)
    except OSError:
        return  # the terminal is gone; its signal arrives separately


def _print_end(state: str, summary: dict[str, Any]) -> None:
    for name, value in summary["outputs"].items():
        print(f"{name} = {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    print(f"{state}: {', '.join(f'{job} {how}' for job, how in summary['jobs'].items())}")
    if state in {"left", "abandoned"}:
        print(_what_goes_on(summary))


def _what_goes_on(summary: dict[str, Any]) -> str:
    """A line for a person who leaves a run: the jobs that may still run."""
    attach = f"hotswap run --attach {summary['run']}"
    known = [f"{job} (Slurm job {job_id})" for job, job_id in summary["left"].items() if job_id]
    unknown = [job for job, job_id in summary["left"].items() if not job_id]
    words = [f"these may still run: {', '.join(known)}"] if known else []
    words += [f"it is not known whether these were submitted: {', '.join(unknown)}"] if unknown else []
    return f"{'; '.join(words)}; {attach} continues with them" if words else f"no job is left; {attach} continues"
