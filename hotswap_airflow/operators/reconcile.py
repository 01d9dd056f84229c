"""Passes over a cluster: what no trigger could cancel any more is cancelled, and old folders are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from hotswap_airflow.file_store.contents import installation
from hotswap_airflow.operators.slurm import airflow_settings
from hotswap_airflow.triggers.reconcile import ReconcileTrigger
from hotswap_airflow.triggers.retention import RetentionTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow.sdk import Context

    from hotswap_airflow.triggers.maintenance import MaintenanceTrigger


class ReconcileOperator(BaseOperator):
    """Cancel this installation's active jobs on one cluster whose tasks have ended, or are not there any more.

    Jobs of other installations, and of people, are never touched. Two looks must agree.
    """

    def __init__(self, *, slurm_conn_id: str, workdir: str = "", slurm_cluster: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slurm_conn_id = slurm_conn_id
        self.workdir = workdir
        self.slurm_cluster = slurm_cluster

    def execute(self, context: Context) -> NoReturn:  # noqa: ARG002
        """Hand the pass to the triggerer, which alone reaches clusters."""
        self.defer(trigger=self.make_trigger(airflow_settings().store_path), method_name="resume")

    def make_trigger(self, store: Path) -> MaintenanceTrigger:
        """The pass over what the installation of a store has on the cluster."""
        return ReconcileTrigger(**self._reach, installation=installation(store))

    @property
    def _reach(self) -> dict[str, Any]:
        """How the trigger reaches the cluster."""
        return {"slurm_conn_id": self.slurm_conn_id, "workdir": self.workdir, "slurm_cluster": self.slurm_cluster}

    def resume(self, context: Context, event: Mapping[str, Any]) -> NoReturn:  # noqa: ARG002
        """Only a failure comes back: say what must be mended."""
        self.log.error("%s", event["error"])
        raise AirflowFailException(event["error"])


class RetentionOperator(ReconcileOperator):
    """Remove what finished runs of this installation left on one cluster more than ``retention`` seconds ago.

    A notice stands in a run's folder for three days before; ``hotswap runs keep`` exempts a run.
    """

    def __init__(self, *, retention: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.retention = retention

    def make_trigger(self, store: Path) -> MaintenanceTrigger:
        """The pass that removes old folders."""
        return RetentionTrigger(
            **self._reach,
            installation=installation(store),
            retention=self.retention,
            store=str(store),
        )
