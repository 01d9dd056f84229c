"""Run a job on a Slurm cluster as a task that occupies no worker while the job waits or runs."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.sdk.execution_time.xcom import XCom
from airflow.sdk.listener import get_listener_manager

from hotswap_airflow.domain.cluster_target import POLL, ClusterTarget
from hotswap_airflow.errors import (
    CommandFailed,
    HotswapError,
    LoginRequired,
    SetupError,
    StoreError,
    SubmissionRefused,
)
from hotswap_airflow.hooks.settings import airflow_settings
from hotswap_airflow.operators import run_identity
from hotswap_airflow.settings import DEFAULT_CONNECTION, Settings
from hotswap_airflow.slurm import options as slurm_options
from hotswap_airflow.slurm.causes import NEED_PERSON
from hotswap_airflow.slurm.paths import literal_fault, workdir_fault
from hotswap_airflow.slurm.request import JobRequest, as_text
from hotswap_airflow.slurm.retry import WHEN_ASKED
from hotswap_airflow.triggers.job import REQUEST_KEY, SlurmJobTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from hotswap_airflow.slurm.identity import JobKey

SMALL_ENOUGH = 1_500
"""Most bytes of a packed request in the trigger's row. A larger request goes by XCom, which costs two calls.

A triggerer hands over 50 rows at a time, and hangs if they fill its socket.
"""
IGNORED_LISTENERS = ("hotswap_airflow", "airflow.example_dags")
"""Plugins that need not be notified of an end: our own, and the example listener of Airflow."""
_NO_TEXTS = frozenset({"whole", "any-whole", "switch", "exclusive"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INSTEAD = {
    "output": "the log is in the task's log",
    "job-name": "the job is named after the task",
    "array": "map the task with `expand`",
    "dependency": "set the order of the tasks",
    "comment": "use `doc_md`",
    "wrap": "use `command`",
    "chdir": "all jobs start in the run directory; use `cd` in `command`",
    "export": "use `env`",
    "wait": "set the order of the tasks",
    "mail-type": "use the task's callbacks",
}
"""What a Python Dag does instead of a reserved option, if the remedy for a workflow file does not apply."""
_MENDED_BY_A_PERSON: tuple[type[HotswapError], ...] = (
    LoginRequired,
    CommandFailed,
    SubmissionRefused,
    SetupError,
    StoreError,
    *NEED_PERSON,
)


class SlurmJobOperator(BaseOperator):
    """Submit ``command`` (bash text) or ``script`` (a file on the cluster) and wait, deferred, for the end of the job.

    ``slurm`` holds sbatch's long options without dashes. ``env`` holds variables that the job gets exactly as given.
    ``workdir`` is the folder on the cluster that holds the folders of runs (default: the connection's).
    ``slurm_cluster`` is Slurm's name of the cluster, needed if one login serves several clusters. ``monitor`` is the
    connection of a monitor account, which polls for the jobs of all accounts. ``poll`` holds the seconds between two
    polls of the cluster: after a change, usually, and after a long silence.
    If a job fails, each of the task's ``retries`` submits it again. An error in the request or the account fails the
    task at once.
    """

    template_fields: Sequence[str] = ("command", "script", "slurm", "env", "slurm_conn_id")
    template_ext: Sequence[str] = ()
    ui_color = "#dbe9f6"

    def __init__(  # noqa: PLR0913 - each is a field that a Dag's author may set
        self,
        *,
        command: str | None = None,
        script: str | None = None,
        slurm: Mapping[str, Any] | None = None,
        env: Mapping[str, Any] | None = None,
        slurm_conn_id: str = DEFAULT_CONNECTION,
        workdir: str = "",
        slurm_cluster: str = "",
        monitor: str = "",
        poll: Sequence[float] = POLL,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # After the callbacks that the task or its Dag's default_args name.
        self.on_failure_callback = [*_listed(self.on_failure_callback), say_last]
        self.on_retry_callback = [*_listed(self.on_retry_callback), say_last]
        self.command = command
        self.script = script
        self.slurm = slurm
        self.env = env
        self.slurm_conn_id = slurm_conn_id
        self.workdir = workdir
        self.slurm_cluster = slurm_cluster
        self.monitor = monitor
        self.poll = tuple(poll)

    @property
    def target(self) -> ClusterTarget:
        """How the cluster is reached. The connection may come from a template."""
        shortest, usual, longest = self.poll
        return ClusterTarget(
            self.slurm_conn_id, self.workdir, self.slurm_cluster, self.monitor, (shortest, usual, longest)
        )

    def execute(self, context: Context) -> NoReturn:
        """Render the job and hand it to the triggerer."""
        settings = airflow_settings()
        try:
            request = self.make_request(context, run_identity.job_key(context, settings, self.environment(settings)))
        except SetupError as error:
            raise AirflowFailException(str(error)) from None
        self._defer(context, settings, request)

    def make_request(self, context: Context, key: JobKey) -> JobRequest:  # noqa: ARG002
        """The job of this task. Raises ``SetupError`` for invalid arguments."""
        if (self.command is None) == (self.script is None):
            raise SetupError(f"task {self.task_id}: give either command or script")
        if self.script is not None and (fault := literal_fault(self.script)):
            raise SetupError(f"task {self.task_id}: script: {'; '.join(fault)}")
        if words := workdir_fault(self.workdir):
            raise SetupError(f"task {self.task_id}: workdir: {words}")
        return JobRequest(
            key=key,
            text=self.command,
            script=self.script,
            options=tuple(_checked(self.slurm or {})),
            variables=tuple((_variable(name), as_text(value)) for name, value in (self.env or {}).items()),
            retry=WHEN_ASKED,
        )

    def environment(self, settings: Settings) -> str:
        """The environment that the run belongs to."""
        return settings.environment or "default"

    def pack_digest(self) -> str:
        """The digest of the pack of the workflow's files; empty if there are none."""
        return ""

    def _defer(self, context: Context, settings: Settings, request: JobRequest) -> NoReturn:
        text = request.to_text()
        is_small = len(text.encode()) <= SMALL_ENOUGH
        if not is_small:
            context["ti"].xcom_push(REQUEST_KEY, text)
        limit = self.execution_timeout
        self.defer(
            trigger=SlurmJobTrigger(
                target=self.target.to_json(),
                key=request.key.to_json(),
                request=text if is_small else None,
                asked=run_identity.asked(context),
                pack=self.pack_digest(),
                store=str(settings.store_path),
                resumes=self._ends_in_worker(settings),
                deadline=time.time() + limit.total_seconds() if limit else None,
            ),
            method_name="resume",
        )

    def _ends_in_worker(self, settings: Settings) -> bool:
        """Whether a worker must end the task even after a success: only a worker has asset events and listeners."""
        if self.outlets or self.on_success_callback or settings.finish_in == "worker":
            return True
        return settings.finish_in == "auto" and _is_listened_to()

    def resume(self, context: Context, event: Mapping[str, Any] | str) -> Any:
        """End the task as its job ended."""
        # `airflow dags test` passes on the end in the trigger as a plain word.
        if isinstance(event, str) or event["error"] is None:
            ti = context["ti"]
            return XCom.get_one(
                key="return_value", dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index
            )
        error = event["error"]
        message = f"{error}: {event['message']}"
        self.log.error("%s", message)
        if self.is_retried(error, int(event.get("failed_before", 0))):
            raise AirflowException(message)
        raise AirflowFailException(message)

    def is_retried(self, error: str, failed_before: int) -> bool:  # noqa: ARG002
        """Whether the task's retries apply to an error. They do not if only a person can repair the cause."""
        return error not in {kind.__name__ for kind in _MENDED_BY_A_PERSON}


def say_last(context: Context) -> None:
    """Log once more why a task failed: below Airflow's traceback, where people look first."""
    error: Any = context.get("exception")
    if error is not None:
        context["task"].log.error("%s", error)


def _listed(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def _is_listened_to() -> bool:
    """Whether a foreign plugin is notified of the ends of tasks, for example OpenLineage's."""
    hooks = get_listener_manager().hook.on_task_instance_success.get_hookimpls()
    modules = (getattr(found.plugin, "__name__", type(found.plugin).__module__) for found in hooks)
    return any(not module.startswith(IGNORED_LISTENERS) for module in modules)


def _variable(name: str) -> str:
    """The name of a variable, if a job may get it. Raises ``SetupError`` if not."""
    if not _VARIABLE.fullmatch(name) or name.startswith(("SLURM_", "HOTSWAP_")):
        raise SetupError(
            f"env: {name!r} cannot be a variable of a job; use letters, digits and `_`, not SLURM_ or HOTSWAP_"
        )
    return name


def _from_template(name: str, value: Any) -> Any:
    """A template's text as the type that the option takes: Jinja writes numbers and booleans as text."""
    if not isinstance(value, str) or slurm_options.OPTIONS[name] not in _NO_TEXTS:
        return value
    words = {"true": True, "false": False}
    return int(value) if value.strip().lstrip("-").isdecimal() else words.get(value.strip().lower(), value)


def _checked(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Options as pairs of name and text, as sbatch takes them. Raises ``SetupError``."""
    pairs = []
    for name, value in given.items():
        if name in slurm_options.RESERVED:
            raise SetupError(f"slurm option {name} may not be set; {_INSTEAD.get(name, slurm_options.RESERVED[name])}")
        if name not in slurm_options.OPTIONS:
            raise SetupError(f"there is no slurm option {name!r}")
        if value is None:
            continue
        try:
            text = slurm_options.check(name, _from_template(name, value))
        except slurm_options.Refusal as refusal:
            raise SetupError(f"slurm.{name}: {refusal.message}; {refusal.remedy}") from None
        if text is not None:
            pairs.append((name, text))
    return pairs
