"""The hook of connections of type ``slurm`` (or ``ssh``): an account on a cluster."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from airflow.providers.ssh.hooks.ssh import SSHHookAsync
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from hotswap_airflow.cluster.remote.client import ClusterClient
from hotswap_airflow.cluster.transport.breaker import Breaker
from hotswap_airflow.cluster.transport.connect import Login, make_transport
from hotswap_airflow.errors import ConnectionLost, HotswapError, LoginRequired, SetupError
from hotswap_airflow.hooks.form import UI_FIELDS
from hotswap_airflow.settings import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from hotswap_airflow.cluster.transport.base import Transport

DEFAULT_WORKDIR = "hotswap-runs"


class SlurmHook(BaseHook):
    """Reach a cluster over ssh, or by processes on this machine if ``transport`` is ``local``.

    Extra fields: the fields of the ssh provider (``key_file``, ``private_key``, ``known_hosts``, ``host_key``,
    ``no_host_key_check``), ``transport`` (ssh, openssh or local), ``slurm_conf`` (local only), ``control_path``
    (openssh only), ``workdir``, ``path`` (the folder of Slurm's programs, if they are not on the PATH), and ``push``
    (follow a file in which jobs announce their ends).
    """

    conn_name_attr = "slurm_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = "slurm"
    hook_name = "Slurm"

    def __init__(self, slurm_conn_id: str = default_conn_name, workdir: str | None = None) -> None:
        super().__init__()
        self.slurm_conn_id = slurm_conn_id
        self.workdir = workdir

    async def client(self, *, waits_for_login: bool = False) -> ClusterClient:
        """A client for the connection's cluster. Nothing is sent yet. Raises ``SetupError``.

        If ``waits_for_login`` is set, a refused login counts as a lost connection: jobs wait until a person repairs it.
        """
        connection, is_trial = await self._connection()
        login = login_of(self.slurm_conn_id, connection)
        workdir = self.workdir or str(login.extra.get("workdir") or DEFAULT_WORKDIR)
        has_push = str(login.extra.get("push", "")).lower() in {"true", "1", "yes"}
        return ClusterClient(
            self._transport(login, Breaker(waits_for_login=waits_for_login), is_trial=is_trial),
            workdir,
            self.slurm_conn_id,
            has_push=has_push,
        )

    async def _connection(self) -> tuple[Connection, bool]:
        """The connection, and whether this is a trial: `airflow dags test` answers only blocking calls."""
        try:
            return await self.aget_connection(self.slurm_conn_id), False
        except AirflowNotFoundException:
            pass
        try:
            return await asyncio.to_thread(self.get_connection, self.slurm_conn_id), True
        except AirflowNotFoundException:
            raise SetupError(f"there is no connection {self.slurm_conn_id}; create it, of type slurm") from None

    def _transport(self, login: Login, breaker: Breaker, *, is_trial: bool = False) -> Transport:
        if is_trial:  # the provider's hook would request the connection by a call that does not block
            return make_transport(login, os.environ, breaker=breaker)

        async def connect() -> Any:
            try:
                hook: Any = SSHHookAsync(ssh_conn_id=self.slurm_conn_id)
                return await hook.get_conn()
            except (ValueError, FileNotFoundError) as error:
                words = f"connection {self.slurm_conn_id} cannot be used: {error}; correct its fields"
                raise LoginRequired(words) from error
            except AirflowException as error:  # the connection existed before; Airflow's backends do not answer now
                words = f"Airflow does not return connection {self.slurm_conn_id}: {error}"
                raise ConnectionLost(words) from error

        return make_transport(login, os.environ, connect=connect, breaker=breaker)

    def test_connection(self) -> tuple[bool, str]:
        """Log in and request facts of the cluster, for the test button of the UI."""
        try:
            return True, asyncio.run(self._probe())
        except HotswapError as error:
            return False, str(error)

    async def _probe(self) -> str:
        client = await self.client()
        try:
            facts = await client.probe()
        finally:
            await client.transport.close()
        return f"{facts.version}, as {facts.user}, in {facts.folder}"

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The form of the connection in the UI."""
        return UI_FIELDS


def login_of(name: str, connection: Connection) -> Login:
    """The login of an Airflow connection. Raises ``SetupError`` if the connection has a type that is no login."""
    if connection.conn_type not in {"slurm", "ssh"}:
        raise SetupError(f"connection {name} is of type {connection.conn_type!r}; use slurm or ssh")
    return Login(
        name,
        connection.host or "",
        connection.port,
        connection.login,
        connection.password,
        connection.extra_dejson or {},
    )
