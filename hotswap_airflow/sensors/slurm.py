"""Wait for a Slurm job that somebody else submitted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from hotswap_airflow.cluster.watch.foreign_job import SoughtJob
from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.errors import SetupError
from hotswap_airflow.settings import DEFAULT_CONNECTION
from hotswap_airflow.triggers.foreign_job import AwaitJobTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context


class SlurmSensor(BaseSensorOperator):
    """Wait for the end of a job, deferred: by ``job_id``, ``job_name``, or the ``key`` of a job of hotswap.

    Succeeds where the job (every element of an array) completed, and fails where it did not. A job that nobody knows
    is waited for until ``timeout`` (seconds): it may be submitted yet. Of several jobs of a name the newest counts.
    ``slurm_cluster`` is Slurm's name of the cluster, where one login serves several. ``poke_interval`` is the pause
    between two questions, in seconds.
    """

    template_fields: Sequence[str] = ("job_id", "job_name", "key", "slurm_conn_id")

    def __init__(
        self,
        *,
        job_id: int | str | None = None,
        job_name: str | None = None,
        key: str | None = None,
        slurm_conn_id: str = DEFAULT_CONNECTION,
        workdir: str = "",
        slurm_cluster: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"poke_interval": 15.0, **kwargs})
        self.job_id = job_id
        self.job_name = job_name
        self.key = key
        self.slurm_conn_id = slurm_conn_id
        self.workdir = workdir
        self.slurm_cluster = slurm_cluster

    def execute(self, context: Context) -> NoReturn:  # noqa: ARG002
        """Hand the waiting to the triggerer."""
        try:
            sought = SoughtJob(_number(self.job_id), self.job_name, self.key)
            sought.check()
        except SetupError as error:
            raise AirflowFailException(f"task {self.task_id}: {error}") from None
        self.defer(
            trigger=AwaitJobTrigger(
                target=ClusterTarget(self.slurm_conn_id, self.workdir, self.slurm_cluster).to_json(),
                deadline=time.time() + float(self.timeout),
                interval=float(self.poke_interval),
                job_id=sought.job_id,
                job_name=sought.name,
                key=sought.key,
                resumes=bool(self.outlets) or bool(self.on_success_callback),
            ),
            method_name="resume",
        )

    def resume(self, context: Context, event: Mapping[str, Any] | str) -> None:  # noqa: ARG002
        """End the task as the job ended."""
        # `airflow dags test` hands on the plain word of an end in the trigger.
        if isinstance(event, str) or event["error"] is None:
            return
        error = event["error"]
        message = f"{error}: {event['message']}"
        self.log.error("%s", message)
        if self.soft_fail:
            raise AirflowSkipException(message)
        kinds = {"SensorTimedOut": AirflowSensorTimeout, "ConnectionLost": AirflowException}
        raise kinds.get(error, AirflowFailException)(message)


def _number(job_id: int | str | None) -> int | None:
    """A job id that may come as text, from a template. Raises ``SetupError``."""
    if job_id is None:
        return None
    text = str(job_id).strip()
    if not (text.isascii() and text.isdigit()):
        raise SetupError(f"{job_id!r} is no job id")
    return int(text)
