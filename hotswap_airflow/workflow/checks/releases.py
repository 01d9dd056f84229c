"""How releases go live, and budgets and notices: what belongs together and what the file must declare."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hotswap_airflow.workflow.checks.schedule_checks import value_fault
from hotswap_airflow.workflow.spec.references import parse_reference
from hotswap_airflow.workflow.spec.values import as_written
from hotswap_airflow.workflow.spec.vocabulary import choice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.spec.param_spec import ParamSpec
    from hotswap_airflow.workflow.spec.release_spec import BudgetSpec, DeploySpec, SmokeSpec
    from hotswap_airflow.workflow.text.document import Document, Path

_IN_STEPS = {"progressive", "canary"}
_OF_RUNS = tuple(f"run.{name}" for name in ("success", "duration", "queue_wait", "cpu_hours", "gpu_hours", "cost"))
_ALL = 100


def check_releases(context: CheckContext) -> Iterator[Problem]:
    """Find problems in ``deploy``, ``budget`` and ``notify``."""
    if context.spec.deploy is not None:
        yield from _deploy(context, context.spec.deploy)
    if context.spec.budget is not None:
        yield from judge_budget(context.document, ("budget",), context.spec.budget)
    for index, notice in enumerate(context.spec.notify):
        if not notice.on and context.raw("notify", index, "on") == []:
            yield context.at_value(("notify", index, "on"), "wrong-choice", "`on` is empty", "write `on: [failed]`")


def _deploy(context: CheckContext, deploy: DeploySpec) -> Iterator[Problem]:
    here = ("deploy",)
    keys = [key for key in context.keys_of(*here) if context.raw(*here, key) not in (None, [])]
    if deploy.strategy == "blue-green" and "smoke" not in keys:
        words = "`strategy: blue-green` needs `smoke`, a trial run before the switch"
        yield context.at_key(here, "smoke-missing", words, "add `smoke:`, for example `smoke: {timeout: 15m}`")
    if deploy.strategy == "canary" and "metrics" not in keys:
        words = "`strategy: canary` needs `metrics`"
        yield context.at_key(here, "missing-key", words, "add `metrics:`, or use `strategy: progressive`")
    if deploy.strategy in _IN_STEPS and "steps" not in keys:
        words = f"`strategy: {deploy.strategy}` needs `steps`"
        yield context.at_key(here, "missing-key", words, "add `steps:`, for example `steps: [{weight: 10, runs: 5}]`")
    for key, fits in (("steps", deploy.strategy in _IN_STEPS), ("metrics", deploy.strategy == "canary")):
        if key in keys and not fits and context.raw("deploy", key):
            words = f"`{key}` and `strategy: {deploy.strategy}` exclude each other"
            yield context.at_key((*here, key), "conflict", words, f"remove `{key}`, or use `strategy: canary`")
    yield from _steps(context, deploy)
    yield from _metrics(context, deploy)
    if deploy.smoke is not None:
        yield from _smoke(context, deploy.smoke)


def _steps(context: CheckContext, deploy: DeploySpec) -> Iterator[Problem]:
    for index, step in enumerate(deploy.steps):
        here = ("deploy", "steps", index)
        if not 1 <= step.weight <= _ALL:
            words = f"the weight {step.weight} is not from 1 to 100 percent of the runs"
            yield context.at_value((*here, "weight"), "deploy-weights", words, "use 1 to 100")
        both = [key for key in context.keys_of(*here) if key in {"runs", "for"} and context.raw(*here, key) is not None]
        if len(both) > 1:
            words = "`runs` and `for` exclude each other in a step"
            yield context.at_key((*here, both[1]), "conflict", words, "keep one of them")
        elif not both and not step.approve:
            words = f"the step with weight {step.weight} lacks `runs`"
            yield context.at_key(here, "missing-key", words, "add `runs: 5`, `for: 2h`, or `approve: true`")
    for index, (before, after) in enumerate(pairwise(deploy.steps), 1):
        if 1 <= after.weight <= before.weight:
            words = f"the weight {after.weight} comes after {before.weight}"
            place = ("deploy", "steps", index, "weight")
            yield context.at_value(place, "deploy-weights", words, "write rising weights")


def _metrics(context: CheckContext, deploy: DeploySpec) -> Iterator[Problem]:
    jobs = context.spec.jobs
    for index, metric in enumerate(deploy.metrics):
        place = ("deploy", "metrics", index, "from")
        reference = parse_reference(metric.source)
        if metric.source in _OF_RUNS:
            continue
        if reference is None or reference.kind != "output" or reference.job is None:
            words = f"`{metric.source}` is no value of a run"
            yield context.at_value(place, "output-unknown", words, f"use `jobs.JOB.OUTPUT` or {', '.join(_OF_RUNS)}")
        elif reference.job not in jobs:
            words = f"`{metric.source}`: there is no job `{reference.job}`"
            yield context.at_value(place, "output-unknown", words, choice(reference.job, jobs))
        elif reference.name not in jobs[reference.job].outputs:
            words = f"`{reference.name}` is no output of jobs.{reference.job}"
            yield context.at_value(place, "output-unknown", words, choice(reference.name, jobs[reference.job].outputs))


def _of_type(param: ParamSpec, value: Any) -> Any:
    """A value as its parameter takes it: where a text is wanted, a number counts as it is written."""
    return as_written(value) if param.type == "string" else value


def _smoke(context: CheckContext, smoke: SmokeSpec) -> Iterator[Problem]:
    for index, job in enumerate(smoke.jobs):
        if job not in context.spec.jobs:
            words = f"the trial run names the job `{job}`, but there is no such job"
            yield context.at_value(
                ("deploy", "smoke", "jobs", index), "needs-unknown", words, choice(job, context.spec.jobs)
            )
    for name, value in smoke.params.items():
        place = ("deploy", "smoke", "params", name)
        if name not in context.spec.params:
            words = f"`{name}` in deploy.smoke.params is not declared under `params`"
            yield context.at_key(place, "param-unknown", words, choice(name, context.spec.params))
        elif fault := value_fault(context.spec.params[name], _of_type(context.spec.params[name], value)):
            yield context.at_value(place, "param-default", f"the value of `{name}` {fault}", "give it one that fits")


def judge_budget(document: Document, path: Path, budget: BudgetSpec) -> Iterator[Problem]:
    """Find a budget without an amount, and thresholds that do not rise."""
    owner = ".".join(map(str, path))
    if all(document.raw(*path, key) is None for key in ("amount", "cpu_hours", "gpu_hours")):
        words = f"{owner} lacks `amount`, `cpu_hours` or `gpu_hours`"
        yield document.at_key(path, "missing-key", words, "add one of them, for example `amount: 100`")
    before: float = 0
    for index, threshold in enumerate(budget.thresholds):
        if threshold <= before and document.raw(*path, "thresholds", index) is not None:
            words = f"the threshold {threshold} comes after {before}" if index else f"the threshold is {threshold}"
            yield document.at_value(
                (*path, "thresholds", index), "out-of-range", words, "write rising percentages over 0"
            )
        before = threshold
