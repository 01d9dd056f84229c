"""Makes a request for Slurm from a planned job and the values of a run."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hotswap_airflow.errors import JobFailed
from hotswap_airflow.slurm import options
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.request import PATH_TYPES, Input, JobRequest, Output, SecretSource, as_text, variable
from hotswap_airflow.workflow.checks.sweep import MAX_POINTS, count_points, points, tolerated
from hotswap_airflow.workflow.kept import refused_at_start
from hotswap_airflow.workflow.run_values import value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.workflow.plan import Plan, PlannedAxis, PlannedInput, PlannedJob, PlannedSweep
    from hotswap_airflow.workflow.run_values import RunValues

_LONGEST_VARIABLE = 128 << 10
"""Linux does not pass a variable to a program if ``NAME=TEXT`` has this number of bytes or more."""


def make_job_request(plan: Plan, job: PlannedJob, key: JobKey, values: RunValues) -> JobRequest:
    """Resolve everything that is only known at run time.

    Raises ``JobFailed`` if a value does not fit its Slurm option, an input has no value, a variable is too long, the
    sweep cannot be made from the values, or the job asks for something that this version of hotswap does not act on.
    """
    if reason := refused_at_start(job):
        raise JobFailed(reason)
    return JobRequest(
        key=key,
        text=job.text,
        script=job.script,
        options=tuple(_options(plan, job, values)),
        variables=tuple(_checked_variables(plan, job, values)),
        inputs=tuple(_paths(plan, job, values)),
        outputs=tuple(_outputs(plan, job, key, values)),
        retry=job.retry,
        saves=job.saves,
        aliases=tuple(_aliases(job)),
        shell=job.shell,
        modules=job.modules,
        container=job.container,
        launch=job.launch,
        secrets=tuple(_secrets(plan)),
        array=_array(plan, job, job.sweep, values) if job.sweep is not None else None,
    )


def _outputs(plan: Plan, job: PlannedJob, key: JobKey, values: RunValues) -> Iterator[Output]:
    """The outputs, each with the folder that it is published in."""
    run = re.sub(r"[^A-Za-z0-9._-]+", "-", key.run.run).lstrip(".")
    filled = {"{workflow}": plan.workflow, "{environment}": plan.environment, "{run}": run, "{date}": values.date[:10]}
    for planned in job.outputs:
        folder = planned.publish
        if folder is not None:
            folder = re.sub(r"\{[a-z]+\}", lambda found: filled[found[0]], folder)
        yield replace(planned.output, publish=folder)


def _secrets(plan: Plan) -> Iterator[SecretSource]:
    for name, secret in plan.secrets.items():
        if secret.connection is not None:
            yield SecretSource(variable("SECRET", name), "connection", secret.connection, secret.field or "password")
        elif secret.variable is not None:
            yield SecretSource(variable("SECRET", name), "variable", secret.variable, "")


def _aliases(job: PlannedJob) -> Iterator[tuple[str, str]]:
    """The inputs that are values of an axis: each as its variable and the variable of the axis."""
    for item in job.inputs:
        if item.reference is not None and item.reference.kind == "sweep":
            yield variable("INPUT", item.name), variable("SWEEP", item.reference.name)


def _array(plan: Plan, job: PlannedJob, sweep: PlannedSweep, values: RunValues) -> Array:
    """The elements of a sweep. Raises ``JobFailed`` if the values of its axes make no valid sweep."""
    axes = [axis.values if axis.reference is None else _list(plan, job, axis, values) for axis in sweep.axes]
    if sweep.mode == "zip" and len({len(axis) for axis in axes}) > 1:
        lengths = ", ".join(f"{axis.name} has {len(found)}" for axis, found in zip(sweep.axes, axes, strict=True))
        raise JobFailed(f"the axes of job {job.name} differ in length: {lengths}")
    count = count_points([len(axis) for axis in axes], sweep.mode)
    if count == 0 or count > MAX_POINTS:
        words = "came out empty" if count == 0 else f"has {count} points, more than {MAX_POINTS}"
        raise JobFailed(f"the sweep of job {job.name} {words}")
    rows = tuple(
        None if any(value is None for value in point) else tuple(as_text(value) for value in point)
        for point in points(axes, sweep.mode)
    )
    names = tuple(axis.name for axis in sweep.axes)
    allowed = tolerated(sweep.tolerate, count)
    return Array(names, rows, sweep.chunk, sweep.max_parallel, allowed, most_indices=sweep.most_indices)


def _list(plan: Plan, job: PlannedJob, axis: PlannedAxis, values: RunValues) -> Sequence[Any]:
    value = value_of(plan, axis.reference, values) if axis.reference is not None else None
    if not isinstance(value, list):
        shown = "has no value" if value is None else "is no list"
        raise JobFailed(f"axis {axis.name} of job {job.name} {shown}; let the job it comes from write a JSON list")
    return value


def _options(plan: Plan, job: PlannedJob, values: RunValues) -> Iterator[tuple[str, str]]:
    for option in job.options:
        if option.reference is None:
            yield option.name, option.text or ""
            continue
        value = value_of(plan, option.reference, values)
        if value is None:
            continue
        if isinstance(value, (list, dict)):
            raise JobFailed(f"slurm.{option.name} of job {job.name} got a list or a map: give it one value")
        try:
            text = options.check(option.name, value)
        except options.Refusal as refusal:
            message = f"slurm.{option.name} of job {job.name}: {refusal.message}; {refusal.remedy}"
            raise JobFailed(message) from None
        if text is not None:
            yield option.name, text


def _checked_variables(plan: Plan, job: PlannedJob, values: RunValues) -> Iterator[tuple[str, str]]:
    for name, text in _variables(plan, job, values):
        size = len(f"{name}={text}".encode())
        if size >= _LONGEST_VARIABLE:
            raise JobFailed(
                f"${name} of job {job.name} would have {size:,} bytes, and Linux takes {_LONGEST_VARIABLE:,}: "
                "let what it comes from be written to a file, and be an output with a `path`"
            )
        yield name, text


def _variables(plan: Plan, job: PlannedJob, values: RunValues) -> Iterator[tuple[str, str]]:
    yield from job.env
    for name in plan.params:
        yield variable("PARAM", name), as_text(values.params.get(name))
    for item in job.inputs:
        is_value = item.reference is not None and item.reference.kind != "sweep" and not is_path(plan, item)
        if is_value and item.reference is not None:
            yield variable("INPUT", item.name), as_text(value_of(plan, item.reference, values))
    yield "HOTSWAP_RUN_ID", values.run_id
    yield "HOTSWAP_JOB", job.name
    yield "HOTSWAP_VERSION", plan.version
    yield "HOTSWAP_ENVIRONMENT", plan.environment
    yield "HOTSWAP_DATE", values.date
    yield "HOTSWAP_INTERVAL_START", values.interval_start
    yield "HOTSWAP_INTERVAL_END", values.interval_end


def _paths(plan: Plan, job: PlannedJob, values: RunValues) -> Iterator[Input]:
    for item in job.inputs:
        if item.path is not None:
            yield Input(item.name, item.path)
        elif item.reference is not None and is_path(plan, item):
            value = value_of(plan, item.reference, values)
            if value is None:
                raise JobFailed(
                    f"input {item.name} of job {job.name} has no value: the job that makes it did not succeed"
                )
            yield Input(item.name, str(value))


def is_path(plan: Plan, item: PlannedInput) -> bool:
    """Whether an input is a file or folder: by its own type, or by the type of the output to which it refers."""
    if item.path is not None:
        return True
    if item.type is not None:
        return item.type in PATH_TYPES
    reference = item.reference
    if reference is None or reference.kind != "output" or reference.job is None:
        return False
    outputs = {planned.output.name: planned.output for planned in plan.job(reference.job).outputs}
    return reference.name in outputs and outputs[reference.name].type in PATH_TYPES
