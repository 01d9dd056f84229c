"""Maintenance of a cluster: cancel jobs that no trigger can cancel any more, and remove old folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from hotswap_airflow.file_store.contents import installation
from hotswap_airflow.hooks.settings import airflow_settings
from hotswap_airflow.triggers.reconcile import ReconcileTrigger
from hotswap_airflow.triggers.retention import RetentionTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow.sdk import Context

    from hotswap_airflow.domain.cluster_target import ClusterTarget
    from hotswap_airflow.triggers.maintenance import MaintenanceTrigger


class ReconcileOperator(BaseOperator):
    """Cancel this installation's active jobs on one cluster if their tasks have ended or do not exist any more.

    Jobs of other installations, and jobs that people submitted, are never touched. A job is cancelled only if two
    checks agree.
    """

    def __init__(self, *, target: ClusterTarget, **kwargs: Any) -> None:
        super().__init__(**target.placement, **kwargs)
        self.target = target

    def execute(self, context: Context) -> NoReturn:  # noqa: ARG002
        """Hand the maintenance to the triggerer: only the triggerer reaches clusters."""
        self.defer(trigger=self.make_trigger(airflow_settings().store_path), method_name="resume")

    def make_trigger(self, store: Path) -> MaintenanceTrigger:
        """The trigger of this maintenance, for the jobs of the installation that a store belongs to."""
        return ReconcileTrigger(target=self.target.to_json(), installation=installation(store))

    def resume(self, context: Context, event: Mapping[str, Any]) -> NoReturn:  # noqa: ARG002
        """Fail with the error of the trigger. Only an error makes the task resume."""
        self.log.error("%s", event["error"])
        raise AirflowFailException(event["error"])


class RetentionOperator(ReconcileOperator):
    """Remove what finished runs of this installation left on one cluster more than ``retention`` seconds ago.

    Before the removal, a notice stays in the run's folder for three days. ``hotswap runs keep`` exempts a run.
    """

    def __init__(self, *, retention: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.retention = retention

    def make_trigger(self, store: Path) -> MaintenanceTrigger:
        """The trigger that removes old folders."""
        return RetentionTrigger(
            target=self.target.to_json(),
            installation=installation(store),
            retention=self.retention,
            store=str(store),
        )
