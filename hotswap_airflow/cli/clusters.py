"""The clusters of a site, which the command line reaches with the logins of this person."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hotswap_airflow.cli import loading
from hotswap_airflow.cluster.remote.client import ClusterClient
from hotswap_airflow.cluster.transport.connect import make_transport, parse_login
from hotswap_airflow.errors import SetupError
from hotswap_airflow.file_store.contents import installation
from hotswap_airflow.settings import DEFAULT_CONNECTION, read_without_airflow
from hotswap_airflow.workflow.site import implied_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hotswap_airflow.cluster.transport.base import Transport
    from hotswap_airflow.cluster.transport.connect import Login
    from hotswap_airflow.workflow.site import ClusterConfig


def clusters_of(site_file: str | None) -> list[ClusterConfig]:
    """The clusters of the site; without a site file, of the implied one. Raises ``SetupError``, ``SpecError``."""
    site = loading.find_site(site_file) or implied_site(DEFAULT_CONNECTION)
    return list(site.clusters.values())


def own_installation() -> str:
    """The id of the Airflow installation whose store this machine can read. Raises ``SetupError``."""
    store = read_without_airflow().store_path
    if not (store / "installation").exists():
        raise SetupError(
            f"no Airflow has used the store {store} yet; set [hotswap] store_path to the folder that Airflow uses"
        )
    return installation(store)


def client_of(cluster: ClusterConfig, transport: Transport) -> ClusterClient:
    """A client of a cluster of a site, over a transport."""
    return ClusterClient(transport, cluster.target.workdir, cluster.name, slurm_cluster=cluster.target.slurm_cluster)


@asynccontextmanager
async def reached(cluster: ClusterConfig) -> AsyncIterator[ClusterClient]:
    """Use a client of a cluster, and close its connection at the end. Raises ``SetupError``."""
    client = client_of(cluster, make_transport(find_login(cluster), os.environ))
    try:
        yield client
    finally:
        await client.transport.close()


def find_login(cluster: ClusterConfig) -> Login:
    """The login that Airflow finds for the connection, else that of a running sandbox. Raises ``SetupError``."""
    try:
        return _airflow_login(cluster.target.connection)
    except SetupError as error:
        try:
            return loading.find_login(cluster.name, f"@{cluster.target.connection}")
        except SetupError:
            raise error from None


def _airflow_login(name: str) -> Login:
    """The login of an Airflow connection: from the environment, a secrets backend or the database."""
    if text := os.environ.get(f"AIRFLOW_CONN_{name.upper()}"):
        return parse_login(name, text)
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException
    from sqlalchemy.exc import SQLAlchemyError

    from hotswap_airflow.hooks.slurm import login_of

    try:
        connection = Connection.get_connection_from_secrets(name)
    except AirflowNotFoundException:
        raise SetupError(f"there is no connection {name}") from None
    except SQLAlchemyError:
        words = f"connection {name} is not in the environment, and Airflow's database gave no answer"
        raise SetupError(words) from None
    return login_of(name, connection)
