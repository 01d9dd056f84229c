"""Which jobs start, and how a run ends."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.workflow.plan import Plan, PlannedJob
from hotswap_airflow.workflow.run_state import JobState, readiness, run_state, unhandled

STATES = get_args(JobState)


def _plan(**needs: dict[str, str]) -> Plan:
    jobs = tuple(
        PlannedJob(name, "main", ClusterTarget("c"), "true", None, needs=which) for name, which in needs.items()
    )
    return Plan("w", "dev", "w.hotswap.yaml", jobs, {})


@pytest.mark.parametrize(
    ("when", "state", "expected"),
    [
        ("success", "success", "start"), ("success", "failed", "skip"), ("success", "skipped", "skip"),
        ("failed", "success", "skip"), ("failed", "failed", "start"), ("failed", "skipped", "skip"),
        ("done", "success", "start"), ("done", "failed", "start"), ("done", "skipped", "start"),
    ],
)  # fmt: skip
def test_each_need_is_judged_by_itself(when: str, state: JobState, expected: str) -> None:
    plan = _plan(a={}, b={}, c={"a": when, "b": "success"})
    assert readiness(plan.job("c"), {"a": state, "b": "success"}) == expected
    assert readiness(plan.job("c"), {"a": state, "b": "failed"}) == "skip"
    assert readiness(plan.job("c"), {"a": state}) == "wait"


@given(st.lists(st.tuples(st.sampled_from(["success", "failed", "done"]), st.sampled_from(STATES)), max_size=5))
def test_a_failure_counts_unless_a_job_that_waited_for_it_succeeded(after: list[tuple[str, JobState]]) -> None:
    names = [f"after{number}" for number in range(len(after))]
    plan = _plan(a={}, **{name: {"a": when} for name, (when, _) in zip(names, after, strict=True)})
    states: dict[str, JobState] = {"a": "failed"}
    states |= {name: "skipped" if state == "failed" else state for name, (_, state) in zip(names, after, strict=True)}
    is_handled = any(when != "success" and state == "success" for when, state in after)
    assert unhandled(plan, states) == ([] if is_handled else ["a"])
    assert run_state(plan, states) == ("success" if is_handled else "failed")
    assert run_state(plan, {**states, "a": "success"}) == "success"
