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
    """Wait, deferred, for the end of a job: by ``job_id``, by ``job_name``, or by the ``key`` of a job of hotswap.

    The sensor succeeds if the job (every element of an array) completed; otherwise it fails. It waits for an unknown
    job until ``timeout`` (seconds), because the job may still be submitted. If several jobs have the name, the newest
    counts. ``slurm_cluster`` is Slurm's name of the cluster, needed if one login serves several clusters.
    ``poke_interval`` is the pause between two polls, in seconds.
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
        """Let the triggerer wait."""
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
        # `airflow dags test` passes on the end in the trigger as a plain word.
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
    """A job id as a number; it may come as text from a template. Raises ``SetupError``."""
    if job_id is None:
        return None
    text = str(job_id).strip()
    if not (text.isascii() and text.isdigit()):
        raise SetupError(f"{job_id!r} is no job id")
    return int(text)
