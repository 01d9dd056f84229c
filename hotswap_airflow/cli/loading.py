"""Turns a path on the command line into a checked workflow, and finds the site that the workflow is for."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.transport.connect import parse_login
from hotswap_airflow.errors import SetupError
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.settings import read_without_airflow
from hotswap_airflow.workflow.checked import CheckedWorkflow, check_workflow
from hotswap_airflow.workflow.plan import Plan, make_plan
from hotswap_airflow.workflow.site import Site, implied_site
from hotswap_airflow.workflow.site_file import read_site
from hotswap_airflow.workflow.spec import vocabulary

if TYPE_CHECKING:
    import argparse

    from hotswap_airflow.cluster.transport.connect import Login


_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_HEADERS = (vocabulary.WORKFLOW_HEADER.encode(), vocabulary.SITE_HEADER.encode())


def add_site_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option for the site file, which names the clusters."""
    parser.add_argument("--site", metavar="FILE", help="site file (default: [hotswap] site, or a running sandbox's)")


def add_site_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for the site and the environment that a workflow is checked against."""
    add_site_argument(parser)
    parser.add_argument("--environment", metavar="E", help="environment (default: the site's first)")


def read_bytes(path: str) -> bytes:
    """The content of a file. Raises ``SetupError`` if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None


def site_path(named: str | None) -> Path | None:
    """The site file: as named, else as configured, else that of a sandbox that is up; None if there is none."""
    path = named or read_without_airflow().site
    if path is not None:
        return Path(path)
    from hotswap_airflow.testing.sandbox import running_site_file

    return running_site_file()


def find_site(named: str | None) -> Site | None:
    """The site that a workflow is checked against; None if there is none. Raises ``SetupError``, ``SpecError``."""
    path = site_path(named)
    return read_site(read_bytes(str(path)), str(path)) if path is not None else None


def load(path: str, site: Site | None) -> CheckedWorkflow:
    """Read and check one workflow file. Raises ``SetupError`` if it cannot be read."""
    return check_workflow(read_bytes(path), path, DiskFolder(Path(path).parent), site)


def find_files(names: list[str]) -> dict[str, bool]:
    """The named files, and our files below the named folders: whether each was found in a folder.

    Of several names, as a shell makes them of ``*``, those that are not ours are left out. Raises ``SetupError`` if no
    file of ours is named.
    """
    found: dict[str, bool] = {}
    for name in names:
        if not Path(name).is_dir():
            if len(names) == 1 or Path(name).suffix in _SUFFIXES:
                found[name] = False
            continue
        below = sorted(path for path in Path(name).rglob("*.*") if _is_ours(path))
        if not below and len(names) == 1:
            raise SetupError(f"{name} holds no file that ends in {' or '.join(vocabulary.WORKFLOW_SUFFIXES)}")
        found |= {str(path): True for path in below}
    if not found:
        raise SetupError(f"none of {', '.join(names)} is a workflow or a site file")
    return found


def _is_ours(path: Path) -> bool:
    """Whether a file in a folder is a site or a workflow, even a workflow whose name the DAGs folder ignores."""
    if path.name.endswith(vocabulary.WORKFLOW_SUFFIXES):
        return True
    if path.suffix not in _SUFFIXES:
        return False
    content = read_bytes(str(path))
    return any(header in content for header in _HEADERS)


def check_environment(site: Site | None, name: str) -> None:
    """Raise ``SetupError`` if a site has no such environment."""
    known = (site or implied_site("")).environments
    if name not in known:
        raise SetupError(f"there is no environment {name!r}; use one of: {', '.join(known)}")


def plan_file(path: str, site_file: str | None, environment: str | None) -> tuple[Plan, Site]:
    """The plan of a valid workflow file, and its site. Raises ``SpecError`` and ``SetupError``."""
    found = find_site(site_file)
    checked = load(path, found)
    site = found or implied_site("")
    name = environment or read_without_airflow().environment or site.default_environment
    check_environment(site, name)
    return make_plan(checked, site, name), site


def find_login(cluster: str, text: str) -> Login:
    """The login that a text names: a URI, JSON, or ``@ID`` for the connection of that id. Raises ``SetupError``."""
    if not text.startswith("@"):
        return parse_login(cluster, text)
    name = text[1:]
    if found := os.environ.get(f"AIRFLOW_CONN_{name.upper()}"):
        return parse_login(name, found)
    from hotswap_airflow.testing import sandbox

    up = sandbox.running()
    if up is not None and len(others := [made.name for made in sandbox.load_all() if sandbox.is_up(made)]) > 1:
        print(f"several sandboxes are up ({', '.join(others)}); {up.name} is used", file=sys.stderr)
    if up is not None and name.removeprefix("slurm_") in {cluster.name for cluster in up.clusters}:
        return replace(parse_login(name, up.connection_uri(name.removeprefix("slurm_"))), is_of_sandbox=True)
    wanted = f"set AIRFLOW_CONN_{name.upper()}, " if name else ""
    raise SetupError(
        f"there is no login for cluster {cluster}; {wanted}give --connection URI, or start `hotswap sandbox up`"
    )
