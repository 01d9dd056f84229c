"""What `hotswap doctor` checks on each cluster: it can be reached and written to, and it has what the site names."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from hotswap_airflow.cli import loading
from hotswap_airflow.cli.clusters import client_of, find_login
from hotswap_airflow.cli.finding import Finding
from hotswap_airflow.cluster.remote.framing import NO_PROGRAM
from hotswap_airflow.cluster.transport.connect import make_transport
from hotswap_airflow.errors import ConnectionLost, HotswapError, LoginRequired, SetupError, SpecError
from hotswap_airflow.settings import DEFAULT_CONNECTION, read_without_airflow
from hotswap_airflow.slurm.facts.probe import MIN_VERSION
from hotswap_airflow.testing.sandbox import running_site_file
from hotswap_airflow.workflow.site import Site, implied_site
from hotswap_airflow.workflow.site_file import read_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotswap_airflow.cluster.transport.connect import Login
    from hotswap_airflow.slurm.facts.probe import ClusterFacts
    from hotswap_airflow.workflow.site import ClusterConfig

_MOST_SKEW = 5.0
_LEAST_JOB_AGE = 60


def clusters(site_file: Path | None) -> Iterator[Finding]:
    """Check the site file and each of its clusters."""
    part = "site"
    try:
        site = _site(site_file)
    except SpecError as error:
        yield Finding(part, "problem", str(error.problems[0]), "correct the site file")
        return
    except SetupError as error:
        yield Finding(part, "problem", str(error), "correct [hotswap] site")
        return
    if site_file is None:
        words = f"no site file: connection {DEFAULT_CONNECTION} is used, and no limits are known"
        yield Finding(part, "warning", words, "write one and set [hotswap] site")
    elif site_file == running_site_file() and read_without_airflow().site is None:
        words = f"[hotswap] site is not set, so Airflow uses connection {DEFAULT_CONNECTION}"
        yield Finding(part, "warning", words, f"set it; this check used the running sandbox's {site_file}")
    else:
        yield Finding(part, "ok", f"{site_file}: environments {', '.join(site.environments)}")
    environment = read_without_airflow().environment
    if environment is not None and environment not in site.environments:
        words = f"[hotswap] environment is {environment!r}, but the site has: {', '.join(site.environments)}"
        yield Finding(part, "problem", words, "correct it; until then no new text of a workflow is used")
    for cluster in site.clusters.values():
        yield from _cluster(cluster)


def _site(site_file: Path | None) -> Site:
    if site_file is None:
        return implied_site(DEFAULT_CONNECTION)
    return read_site(loading.read_bytes(str(site_file)), str(site_file))


def _cluster(cluster: ClusterConfig) -> Iterator[Finding]:
    part = f"cluster {cluster.name}"
    try:
        login = find_login(cluster)
    except SetupError as error:
        is_missing = "there is no connection" in str(error) or "not in the environment" in str(error)
        remedy = f"create connection {cluster.target.connection} of type slurm"
        yield Finding(
            part, "problem", str(error), remedy if is_missing else f"correct connection {cluster.target.connection}"
        )
        return
    if login.is_of_sandbox and read_without_airflow().site is not None:
        words = f"connection {login.name} is known only from the running sandbox, and Airflow does not find it"
        yield Finding(part, "problem", words, f"create it, or set AIRFLOW_CONN_{login.name.upper()} for Airflow")
    try:
        facts, skew, took = asyncio.run(_probe(login, cluster))
    except LoginRequired as error:
        yield Finding(part, "problem", str(error), "then run `hotswap doctor` again")
        return
    except ConnectionLost as error:
        yield Finding(part, "problem", str(error), "check host, port and network; jobs wait meanwhile")
        return
    except SetupError as error:
        yield Finding(part, "problem", str(error), f"correct connection {login.name}")
        return
    except HotswapError as error:
        yield Finding(part, "problem", str(error), "repair it on the cluster, or set another `workdir`")
        return
    yield Finding(part, "ok", f"connection {login.name} reaches it as {facts.user} in {took * 1000:.0f} ms")
    yield from judge(cluster, facts, skew)


def judge(cluster: ClusterConfig, facts: ClusterFacts, skew: float) -> Iterator[Finding]:
    """Findings from the facts of a cluster that was reached. ``skew``: its clock is this many seconds ahead of ours."""
    part = f"cluster {cluster.name}"
    yield Finding(part, "ok", f"work folder {facts.folder} can be written")
    yield _version(part, facts)
    if facts.controller and facts.release is not None:
        remedy = "start it, or ask the centre; jobs wait meanwhile"
        yield Finding(part, "problem", f"slurmctld gives no answer: {facts.controller}", remedy)
        return
    yield _clock(part, skew)
    yield _accounting(part, facts)
    yield from _partitions(part, cluster, facts)


async def _probe(login: Login, cluster: ClusterConfig) -> tuple[ClusterFacts, float, float]:
    """The cluster's facts, the least seconds that its clock is ahead of ours, and the seconds that the request took."""
    client = client_of(cluster, make_transport(login, os.environ))
    try:
        await client.find("0")  # log in now, so that the measured time does not include it
        before = time.time()
        facts = await client.probe()
        after = time.time()
    finally:
        await client.transport.close()
    # Its clock gives whole seconds, and was read at a moment between our two readings.
    ahead, behind = facts.time - after, facts.time + 1 - before
    skew = ahead if ahead > 0 else min(behind, 0.0)
    return facts, skew, after - before


def _version(part: str, facts: ClusterFacts) -> Finding:
    release = facts.release
    if release is None:
        words = f"sbatch does not answer: {facts.version or 'nothing'}"
        return Finding(
            part, "problem", words, f"put Slurm's programs on the PATH of shells without a terminal, or {NO_PROGRAM}"
        )
    if release < MIN_VERSION:
        return Finding(
            part, "problem", f"{facts.version} is too old", f"Slurm {MIN_VERSION[0]}.{MIN_VERSION[1]} is needed"
        )
    return Finding(part, "ok", facts.version)


def _clock(part: str, skew: float) -> Finding:
    if abs(skew) > _MOST_SKEW:
        way = "ahead of" if skew > 0 else "behind"
        return Finding(part, "warning", f"its clock is {abs(skew):.0f} s {way} ours", "set both by NTP")
    return Finding(part, "ok", "its clock agrees with ours")


def _accounting(part: str, facts: ClusterFacts) -> Finding:
    if facts.has_accounting:
        return Finding(part, "ok", "sacct answers")
    age = facts.config.get("MinJobAge", "")
    seconds = age.split()[0] if age else "0"
    words = "sacct does not answer: a job's end is known from its own note, and there are no costs"
    if seconds.isdecimal() and 0 < int(seconds) < _LEAST_JOB_AGE:
        words += f"; Slurm forgets ended jobs after {seconds} s"
    return Finding(part, "warning", words, "ask the centre for slurmdbd and the right to read one's own jobs")


def _partitions(part: str, cluster: ClusterConfig, facts: ClusterFacts) -> Iterator[Finding]:
    for name in cluster.limits.partitions:
        if name not in facts.partitions:
            known = ", ".join(facts.partitions) or "none"
            yield Finding(part, "problem", f"it has no partition {name}", f"correct the site file; it has {known}")
        elif not facts.partitions[name]:
            yield Finding(part, "warning", f"partition {name} is down", "jobs wait until the centre opens it")
    if all(facts.partitions.get(name) for name in cluster.limits.partitions):
        yield Finding(part, "ok", f"partitions {', '.join(cluster.limits.partitions) or ', '.join(facts.partitions)}")
