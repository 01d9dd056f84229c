"""Texts that YAML reads as numbers: they arrive as they were written, or the file is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.workflow.checked import CheckedWorkflow, check_workflow
from hotswap_airflow.workflow.job_request import make_job_request
from hotswap_airflow.workflow.param_text import read_params
from hotswap_airflow.workflow.plan import make_plan
from hotswap_airflow.workflow.run_values import RunValues
from hotswap_airflow.workflow.site import implied_site
from hotswap_airflow.workflow.text.numbers import WrittenFloat, WrittenInt, written

KEY = JobKey(RunKey("i", "w", "dev", "r", "n"), "a")
LOOK_LIKE_NUMBERS = ["00123", "1e3", "0x1F", "3.10", "0o17", "1.", ".5", "+5", "-0", "12345678901234567890.5", "007"]


def _checked(text: str) -> CheckedWorkflow:
    return check_workflow(f"hotswap: workflow/v1\n{text}".encode(), "w.hotswap.yaml", DiskFolder(Path("nowhere")))


def _request(text: str) -> tuple[JobRequest, dict[str, Any]]:
    checked = _checked(text)
    assert checked.context is not None, checked.problems
    plan = make_plan(checked, implied_site("c"), "dev")
    params = read_params(plan.params, [])
    return make_job_request(plan, plan.job("a"), KEY, RunValues("r", params=params)), params


def _problems(text: str) -> list[str]:
    return [f"{p.line}:{p.column}: {p.code}: {p.message}; {p.remedy}" for p in _checked(text).problems]


@pytest.mark.parametrize("text", LOOK_LIKE_NUMBERS)
def test_where_a_text_is_wanted_it_arrives_as_it_was_written(text: str) -> None:
    request, params = _request(
        f"params: {{commit: {{type: string, default: {text}}}}}\ndefaults: {{slurm: {{qos: {text}}}, env: {{ALL: {text}}}}}\njobs:\n"
        f"  a: {{run: x, env: {{OWN: {text}}}, slurm: {{account: {text}, constraint: {text}, wckey: {text}}},"
        f" inputs: {{g: {{path: {text}}}}}, sweep: {{over: {{sha: [3f9a, {text}]}}}}}}\n"
    )
    assert {option: value for option, value in request.options if value != text} == {}
    assert (dict(request.variables)["OWN"], dict(request.variables)["ALL"]) == (text, text)
    assert request.array is not None
    assert request.array.rows == (("3f9a",), (text,))
    assert (params, dict(request.variables)["PARAM_COMMIT"]) == ({"commit": text}, text)
    assert request.inputs[0].path == text


@pytest.mark.parametrize("text", ["0042", "0x1F", "3.10", "+5", "-0", "3.14159265358979323846", "1.50", "0o17"])
def test_a_number_that_would_arrive_as_another_text_is_refused(text: str) -> None:
    for place, file in (
        ("2:13", f"params: {{x: {text}}}\njobs: {{a: {{run: x}}}}\n"),
        ("2:23", f"params: {{x: {{default: {text}}}}}\njobs: {{a: {{run: x}}}}\n"),
        ("2:31", f"params: {{x: {{default: [{{deep: {text}}}], type: array}}}}\njobs: {{a: {{run: x}}}}\n"),
        ("2:42", f"jobs: {{a: {{run: x, sweep: {{over: {{v: [1, {text}]}}}}}}}}\n"),
        ("2:49", f"jobs: {{a: {{run: x, sweep: {{over: {{v: {{list: [1, {text}]}}}}}}}}}}\n"),
    ):
        (problem,) = _problems(file)
        assert problem.startswith(f"{place}: wrong-type: `{text}` would arrive as "), (problem, file)
        assert "; quote it, or write " in problem


@pytest.mark.parametrize("text", ["1.2345678901234567890e5", "01e3"])
def test_a_number_with_an_exponent_keeps_all_its_digits_or_is_refused(text: str) -> None:
    (problem,) = _problems(f"params: {{x: {text}}}\njobs: {{a: {{run: x}}}}\n")
    assert problem.startswith(f"2:13: wrong-type: `{text}` would arrive as ")


@pytest.mark.parametrize(
    ("text", "arrives"),
    [("1e3", "1000.0"), (".5", "0.5"), ("2.", "2.0"), ("0.3", "0.3"), ("-7", "-7"), ("1e-3", "0.001")],
)
def test_a_number_arrives_as_the_shortest_text_that_reads_back(text: str, arrives: str) -> None:
    request, params = _request(f"params: {{x: {text}}}\njobs: {{a: {{run: x, sweep: {{over: {{v: [{text}]}}}}}}}}\n")
    assert request.array is not None
    assert (request.array.rows, dict(request.variables)["PARAM_X"]) == (((arrives,),), arrives)
    assert json.loads(json.dumps(params)) == {"x": json.loads(arrives)}


@pytest.mark.parametrize("text", ["7e91234", ".inf", "-.INF", ".nan", "-1E999"])
def test_what_is_no_finite_number_is_to_be_quoted(text: str) -> None:
    for file in (
        f"params: {{x: {text}}}\njobs: {{a: {{run: x}}}}\n",
        f"jobs: {{a: {{run: x, sweep: {{over: {{sha: [3f9a, {text}]}}}}}}}}\n",
        f"jobs: {{a: {{run: x, env: {{X: {text}}}, slurm: {{mem: 1G}}}}}}\n",
        f"jobs: {{a: {{run: x, slurm: {{account: {text}}}}}}}\n",
    ):
        (problem,) = _problems(file)
        assert f'wrong-type: `{text}` is read as a number that is not finite; quote it: "{text}"' in problem
    quoted = f"params: {{x: '{text}'}}\njobs: {{a: {{run: x}}}}\n"
    assert _request(quoted)[1] == {"x": text}


def test_options_that_are_numbers_are_numbers() -> None:
    request, _ = _request("jobs: {a: {run: x, slurm: {cpus-per-task: 010, mem: 0x10, nodes: 02}}}\n")
    assert dict(request.options) == {"cpus-per-task": "10", "mem": "16M", "nodes": "2"}


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_written_number_is_a_number_that_can_be_copied(value: float) -> None:
    number = WrittenInt(value, f"{value}") if isinstance(value, int) else WrittenFloat(value, f"{value}")
    for other in (number, copy.deepcopy(number)):
        assert (other, json.dumps(other), written(other)) == (value, json.dumps(value), f"{value}")
