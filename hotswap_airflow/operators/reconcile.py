"""The reconciling pass: what no trigger could cancel any more is cancelled now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from hotswap_airflow.operators.slurm import airflow_settings
from hotswap_airflow.store.contents import installation
from hotswap_airflow.triggers.reconcile import ReconcileTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context


class ReconcileOperator(BaseOperator):
    """Cancel this installation's active jobs on one cluster whose tasks have ended, or are not there any more.

    Jobs of other installations, and of people, are never touched. Two looks must agree.
    """

    def __init__(self, *, slurm_conn_id: str, workdir: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slurm_conn_id = slurm_conn_id
        self.workdir = workdir

    def execute(self, context: Context) -> NoReturn:  # noqa: ARG002
        """Hand the pass to the triggerer, which alone reaches clusters."""
        trigger = ReconcileTrigger(
            slurm_conn_id=self.slurm_conn_id,
            workdir=self.workdir,
            installation=installation(airflow_settings().store_path),
        )
        self.defer(trigger=trigger, method_name="resume")

    def resume(self, context: Context, event: Mapping[str, Any]) -> NoReturn:  # noqa: ARG002
        """Only a failure comes back: say what must be mended."""
        self.log.error("%s", event["error"])
        raise AirflowFailException(event["error"])
