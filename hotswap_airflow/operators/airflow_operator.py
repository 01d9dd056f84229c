"""An Airflow operator that a workflow file names by ``uses``: values come by reference, and nothing is rendered."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from hotswap_airflow.errors import JobError, SetupError, StoreError
from hotswap_airflow.hooks.settings import airflow_settings
from hotswap_airflow.operators.run_context import read_run_values, skipped, why_not_ready
from hotswap_airflow.operators.run_identity import job_key
from hotswap_airflow.workflow.run_values import resolved, why_skipped
from hotswap_airflow.workflow.spec.references import references_in_arguments

if TYPE_CHECKING:
    from airflow.sdk import Context

    from hotswap_airflow.workflow.plan import Plan, PlannedJob
    from hotswap_airflow.workflow.run_values import RunValues

_ALLOWED = frozenset({"pool", "pool_slots", "queue", "priority_weight", "weight_rule"})
_OURS = frozenset(inspect.signature(BaseOperator.__init__).parameters) - _ALLOWED - {"self", "kwargs"}
"""Arguments of every operator that follow from the workflow file itself."""


class Shielded(BaseOperator):
    """Mixed into the class of an operator: its fields get the values of their references, and Jinja is off."""

    template_ext = ()
    hotswap_plan: Plan
    hotswap_job: PlannedJob
    hotswap_values: RunValues
    inherits_from_empty_operator = False  # else the scheduler would end it without its condition

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:  # noqa: ARG002
        """Put the values of references into the fields. Airflow calls this where it would render them."""
        self.hotswap_values = self._read_values(context)
        for name in self.template_fields:
            if hasattr(self, name):
                setattr(self, name, resolved(self.hotswap_plan, getattr(self, name), self.hotswap_values))

    def render_template(self, content: Any, *_: Any, **__: Any) -> Any:
        """The content as it is: some operators render texts themselves."""
        return content

    def execute(self, context: Context) -> Any:
        """Run the operator, or skip it if its needs or its ``if`` say so."""
        plan, job = self.hotswap_plan, self.hotswap_job
        try:
            reason = why_not_ready(context, job) or why_skipped(plan, job, self.hotswap_values)
        except JobError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from None
        if reason:
            raise skipped(self.log, reason)
        return super().execute(context)

    def _read_values(self, context: Context) -> RunValues:
        plan, job = self.hotswap_plan, self.hotswap_job
        folder = job_key(context, airflow_settings(), plan.environment).run.folder
        try:
            return read_run_values(context, job, folder)
        except StoreError as error:
            raise AirflowFailException(f"StoreError: {error}") from None


def make_operator(plan: Plan, job: PlannedJob, **task: Any) -> BaseOperator:
    """The task of a job that ``uses`` an operator. Raises ``SetupError``, and what its constructor raises."""
    where = f"{plan.file}: jobs.{job.name}"
    base = _imported(job.uses or "", where)
    for name in job.arguments:
        if name in _OURS:
            raise SetupError(f"{where}.with: `{name}` follows from the workflow file; remove it")
    fields = set(base.template_fields)
    for name, value in job.arguments.items():
        if name not in fields and next(references_in_arguments(value), None) is not None:
            known = ", ".join(sorted(fields)) or "none"
            raise SetupError(
                f"{where}.with.{name}: {base.__name__} needs this value before the run; "
                f"a reference may stand in: {known}"
            )
    shielded = type(base.__name__, (Shielded, base), {"__module__": base.__module__, "__doc__": base.__doc__})
    made: Any = shielded(task_id=job.name, **job.arguments, **task)
    made.hotswap_plan, made.hotswap_job = plan, job
    return made  # type: ignore[no-any-return]


def _imported(name: str, where: str) -> type[BaseOperator]:
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SetupError(f"{where}.uses: {name} cannot be imported: {error}; install its provider") from None
    if not (isinstance(found, type) and issubclass(found, BaseOperator)):
        raise SetupError(f"{where}.uses: {name} is no operator")
    return found
