"""Requests: their text, command line, values and outputs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.request import Input, JobRequest, Output, as_text, read_outputs
from hotswap_airflow.slurm.retry import Growth, Retry
from hotswap_airflow.slurm.script.render import render_script

RUN = RunKey("inst", "flow", "dev", "manual__2026-11-25T10:00:00+00:00", "n1")


KEY = JobKey(RUN, "fit")


def _request(**changes: object) -> JobRequest:
    return JobRequest(**{"key": KEY, "text": "echo hi", **changes})  # type: ignore[arg-type]


def test_a_request_reads_back() -> None:
    request = _request(
        options=(("time", "00:10:00"),), variables=(("PARAM_X", "'\n"),), inputs=(Input("i", "a"),),
        outputs=(Output("o", "file", "p"), Output("v", "number")), retry=Retry(max_retries=1, mem=Growth(2, 5)), saves=True,
    )  # fmt: skip
    assert JobRequest.from_json(request.to_json()) == request


def test_the_command_line() -> None:
    argv = _request(options=(("time", "00:10:00"), ("exclusive", ""))).argv
    assert argv == (
        "sbatch", "--parsable", "--export=NONE", "--open-mode=append", "--output=job.log", f"--job-name={KEY.job_name}",
        "--time=00:10:00", "--exclusive", "script",
    )  # fmt: skip


def test_values_as_they_arrive() -> None:
    assert [as_text(v) for v in (True, None, 0.3, 1e3, 3, "x", [1], {"a": "ä"})] == [
        "true", "", "0.3", "1000.0", "3", "x", "[1]", '{"a": "ä"}',
    ]  # fmt: skip


OUTPUTS = (
    Output("f", "file", "out/f"), Output("s", "string"), Output("i", "integer"), Output("n", "number"),
    Output("b", "boolean"), Output("j", "json"),
)  # fmt: skip


def test_outputs_are_read_by_their_types() -> None:
    said = "s=a=b\ni=1\ni= 2\nn=0.5\nb=true\nj=[1]\nnot a pair\n"
    values, complaints = read_outputs(OUTPUTS, "/run", said)
    assert values == {"f": "/run/out/f", "s": "a=b", "i": 2, "n": 0.5, "b": True, "j": [1]}
    assert complaints == []


def test_outputs_that_are_not_what_was_declared() -> None:
    _, complaints = read_outputs(OUTPUTS, "/run", "i=x\nn=\nb=yes\nj={\n")
    assert len(complaints) == 5
    assert "output `s` was not written to $HOTSWAP_OUTPUT" in complaints


@given(st.text(max_size=60))
def test_a_number_that_is_an_integer_stays_one(text: str) -> None:
    values, complaints = read_outputs((Output("n", "number"),), "/run", f"n={text}")
    assert len(values) + len(complaints) >= 1
    assert json.dumps(values, allow_nan=False)


@pytest.mark.parametrize(
    "line",
    [
        'j={"__id__": 1}',
        'j=[{"a": {"__classname__": 1}}]',
        "j=" + "[" * 101 + "]" * 101,
        "j=" + "[" * 9_999,
        "s=a\0b",
        'j=["\\u0000"]',
        'j={"\\ud800": 1}',
        "n=nan",
        "n=-inf",
        "n=1e999",
        "j=NaN",
        'j={"a": [Infinity]}',
        "j=[1e999]",
        f"j=[{1 << 63}]",
        f"i={1 << 63}",
    ],
)
def test_a_value_that_airflow_cannot_carry_is_none(line: str) -> None:
    (output,) = (output for output in OUTPUTS if output.name == line[0])
    values, complaints = read_outputs((output,), "/run", line)
    assert values == {}
    (complaint,) = complaints
    reasons = (f"is no {output.type}: {line[2:202]!r}", "is not a value that Airflow can carry: ")
    assert complaint.startswith(tuple(f"output `{output.name}` {reason}" for reason in reasons))
    assert len(complaint) < 300


def test_an_absolute_output_is_where_it_says() -> None:
    assert read_outputs((Output("t", "file", "/scratch/t.csv"),), "/run", "")[0] == {"t": "/scratch/t.csv"}


def test_the_rows_of_a_sweep_change_with_what_all_elements_are_given() -> None:
    array = Array(("v",), (("1",), ("2",)))
    plain = _request(array=array, variables=(("PARAM_X", "1"), ("HOTSWAP_VERSION", "v1")))
    given = [_request(array=array, variables=(("INPUT_SCALE", scale),)) for scale in ("1", "2")]
    assert plain.rows == array.digest
    assert len({plain.rows, *(request.rows for request in given)}) == 3
    assert _request().rows == ""


def test_a_script_shows_what_the_person_wrote() -> None:
    script = render_script(_request(text="END_OF_RUN\necho $PARAM_X\n"))
    assert "<<'END_OF_RUN_' || finish 1\nEND_OF_RUN\necho $PARAM_X\nEND_OF_RUN_\n" in script
