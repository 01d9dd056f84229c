from __future__ import annotations

import json
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow import errors
from hotswap_airflow.slurm import options, parsing, states
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.limits import Demand
from hotswap_airflow.slurm.request import Input, JobRequest, Output, as_text, read_outputs
from hotswap_airflow.slurm.retry import Growth, Retry
from hotswap_airflow.slurm.script.render import render_script
from hotswap_airflow.slurm.states import GONE, JobStatus, Phase

RUN = RunKey("inst", "flow", "dev", "manual__2026-11-25T10:00:00+00:00", "n1")
KEY = JobKey(RUN, "fit")
_words = st.text(min_size=1, max_size=12)


@given(_words, _words, _words, _words, _words, _words)
def test_a_key_depends_on_each_of_its_parts(one: str, two: str, job: str, run: str, nonce: str, other: str) -> None:
    key = JobKey(RunKey(one, two, "dev", run, nonce), job)
    assert re.fullmatch(r"[0-9a-f]{20}-e0-g0", key.digest)
    if other != nonce:
        assert JobKey(RunKey(one, two, "dev", run, other), job).stem != key.stem
    if other != job:
        assert JobKey(key.run, other).stem != key.stem
    assert key.next_generation().digest == f"{key.stem}-e0-g1"
    assert not set(key.job_name) - set(string.ascii_letters + string.digits + "_.-")


def test_names_are_readable_and_folders_safe() -> None:
    assert KEY.job_name == f"flow.fit.hs-inst.{KEY.digest}"
    assert KEY.run.folder == f"flow/manual__2026-11-25T10-00-00-00-00-{RUN.digest[:8]}"
    assert RunKey("i", "../x", "e", "../../etc", "n").folder.startswith("-x/etc-")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("partition", "a,b", "a,b"), ("account", 7, "7"), ("time", 10, "00:10:00"), ("time", "2d", "2-00:00:00"),
        ("nodes", "1-4", "1-4"), ("nodes", 2, "2"), ("gpus", "a100:2", "a100:2"), ("gpus", "2080ti:1", "2080ti:1"), ("gpus-per-node", "3g.20gb:1,a100:2", "3g.20gb:1,a100:2"), ("mem", 100, "100M"), ("mem", 0, "0"),
        ("mem", "2g", "2G"), ("nice", -5, "-5"), ("requeue", False, "no"), ("exclusive", True, ""),
        ("exclusive", False, None), ("exclusive", "mcs", "mcs"), ("signal", "B:USR1@60", "B:USR1@60"),
    ],
)  # fmt: skip
def test_options_as_sbatch_takes_them(name: str, value: options.Value, text: str | None) -> None:
    assert options.check(name, value) == text


@pytest.mark.parametrize(
    ("name", "value", "code", "remedy"),
    [
        ("partition", True, "wrong-type", "VALUE"), ("partition", "", "wrong-type", "VALUE"),
        ("account", "a\x00b", "slurm-value-unsafe", "remove"), ("ntasks", 0, "out-of-range", "1"),
        ("ntasks", "two", "wrong-type", "1"), ("nodes", "two", "wrong-type", "1"), ("nodes", "1\n2", "slurm-value-unsafe", ""),
        ("mem", -1, "out-of-range", "4G"), ("mem", 1.5, "size-invalid", "4G"), ("mem", "many", "size-invalid", "4G"),
        ("time", True, "duration-invalid", "2h"), ("time", "3 hours", "duration-invalid", "3h"),
        ("time", 0, "out-of-range", "1m"), ("time", "1:30", "time-ambiguous", "01:30:00"),
        ("requeue", "yes", "wrong-type", "true"), ("exclusive", "all", "wrong-choice", "mcs"),
        ("constraint", "a b", "slurm-value-unsafe", "own key"), ("constraint", "a\u2028b", "slurm-value-unsafe", "one line"), ("account", "a\u200bb", "slurm-value-unsafe", "anew"),
    ],
)  # fmt: skip
def test_options_refused(name: str, value: options.Value, code: str, remedy: str) -> None:
    with pytest.raises(options.Refusal) as caught:
        options.check(name, value)
    assert caught.value.code == code
    assert remedy in caught.value.remedy


@given(st.sampled_from(sorted(options.OPTIONS)), st.text(max_size=20) | st.integers() | st.floats() | st.booleans())
def test_no_value_becomes_more_than_one_argument(name: str, value: options.Value) -> None:
    try:
        text = options.check(name, value)
    except options.Refusal:
        return
    argument = options.argument(name, text or "")
    assert argument.startswith("--")
    assert not re.search(r"[\s\x00-\x1f]", argument)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, (1, 1, 0, 0)), ({"nodes": 2, "ntasks": 8}, (2, 4, 0, 0)), ({"ntasks-per-node": 3, "cpus-per-task": 2}, (1, 6, 0, 0)),
        ({"mem-per-cpu": "1G", "cpus-per-task": 4}, (1, 4, 4 * 1024**2, 0)),
        ({"mem-per-gpu": "1G", "gpus": 2}, (1, 1, 2 * 1024**2, 2)),
        ({"gpus-per-task": 2, "ntasks": 2}, (1, 2, 0, 4)), ({"gres": "gpu:a100:2,shard:1"}, (1, 1, 0, 2)), ({"gres": "gpu"}, (1, 1, 0, 1)), ({"gpus": "2080ti:1,3g.20gb:2"}, (1, 1, 0, 3)),
        ({"nodes": "2-4"}, (2, 1, 0, 0)),
    ],
)  # fmt: skip
def test_what_a_job_asks_for(asked: dict[str, object], expected: tuple[int, int, int, int]) -> None:
    demand = Demand.of(asked)
    assert (demand.nodes, demand.cpus_per_node, demand.mem_per_node, demand.gpus) == expected


@pytest.mark.parametrize(
    ("state", "phase"),
    [("COMPLETED", Phase.SUCCEEDED), ("RUNNING", Phase.RUNNING), ("COMPLETING", Phase.RUNNING), ("PENDING", Phase.WAITING),
     ("REQUEUE_HOLD", Phase.WAITING), ("NEW_IN_SLURM_99", Phase.WAITING), ("TIMEOUT", Phase.FAILED), ("GONE", Phase.GONE),
     ("UNREACHABLE", Phase.UNREACHABLE), ("BOOT_FAIL", Phase.FAILED)],
)  # fmt: skip
def test_phases(state: str, phase: Phase) -> None:
    assert JobStatus(state).phase is phase


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (JobStatus("FAILED", exit_status=3), errors.JobFailed), (JobStatus("FAILED", exit_status=0, signal=125), errors.JobOutOfMemory),
        (JobStatus("OUT_OF_MEMORY"), errors.JobOutOfMemory), (JobStatus("TIMEOUT"), errors.JobTimedOut),
        (JobStatus("DEADLINE"), errors.JobPastDeadline), (JobStatus("CANCELLED", by="1000"), errors.JobCancelled),
        (JobStatus("PREEMPTED"), errors.JobPreempted), (JobStatus("NODE_FAIL", nodes="n1"), errors.JobNodeFailed),
        (GONE, errors.JobNodeFailed), (JobStatus("PENDING", "BadConstraints"), errors.JobNeverStarts),
        (JobStatus("FAILED"), errors.JobFailed), (JobStatus("FAILED", signal=9), errors.JobFailed),
    ],
)  # fmt: skip
def test_each_failure_has_its_class(status: JobStatus, kind: type[errors.JobError]) -> None:
    assert type(states.error_of(status, "fit")) is kind


@pytest.mark.parametrize("state", ["COMPLETED", "RUNNING", "PENDING", "UNREACHABLE", "SOMETHING"])
def test_no_error_without_a_failure(state: str) -> None:
    assert states.error_of(JobStatus(state), "fit") is None


def test_a_status_in_words() -> None:
    assert JobStatus("PENDING", "Priority").sentence == "PENDING (Priority: jobs of higher priority are before it)"
    assert JobStatus("PENDING", "Odd").sentence == "PENDING (Odd)"
    assert JobStatus("RUNNING", nodes="n[1-2]").sentence == "RUNNING on n[1-2]"
    assert JobStatus("PENDING").sentence == "PENDING"


def test_the_sentinel_counts_where_the_cluster_said_nothing_better() -> None:
    assert GONE.with_sentinel(0).phase is Phase.SUCCEEDED
    assert GONE.with_sentinel(3).phase is Phase.FAILED
    assert JobStatus("TIMEOUT").with_sentinel(0).phase is Phase.FAILED
    assert JobStatus("FAILED", exit_status=4).with_sentinel(1).exit_status == 4


@pytest.mark.parametrize(
    ("said", "job_id", "cluster"),
    [("4711\n", 4711, None), ("4711;alps\n", 4711, "alps"), ("Welcome to alps\nnote: use scratch\n12\n", 12, None)],
)
def test_what_sbatch_says(said: str, job_id: int, cluster: str | None) -> None:
    assert parsing.parse_submission(said) == parsing.SubmittedJob(job_id, cluster)


@pytest.mark.parametrize("said", ["", "Submitted batch job 12", "0\n", "job 12 ok"])
def test_sbatch_without_an_id_is_an_error(said: str) -> None:
    with pytest.raises(errors.UnreadableAnswer):
        parsing.parse_submission(said)


@pytest.mark.parametrize(
    ("said", "unknown"),
    [("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
     ("sbatch: error: Unable to contact slurm controller (connect failure)", True),
     ("sbatch: error: Batch job submission failed: Invalid partition name specified", False), ("", False)],
)  # fmt: skip
def test_which_refusals_may_be_none(said: str, unknown: bool) -> None:
    assert parsing.outcome_is_unknown(said) is unknown


def test_squeue_and_sacct_lines() -> None:
    (job,) = parsing.parse_squeue("12|RUNNING|None|n1|a|b\n\n")
    assert (job.job_id, job.name, job.status.nodes) == ("12", "a|b", "n1")
    one, two = parsing.parse_sacct("12|CANCELLED by 0|0:15|None assigned|alps|a\n13|COMPLETED+|x|n|alps|b\n")
    assert (one.status.by, one.status.signal, two.status.state, two.status.exit_status) == ("0", 15, "COMPLETED", None)


@pytest.mark.parametrize("parse", [parsing.parse_squeue, parsing.parse_sacct])
def test_a_line_that_is_cut_off_is_an_error_and_no_state(parse: object) -> None:
    with pytest.raises(errors.UnreadableAnswer):
        list(parse("12|RUNN"))  # type: ignore[operator]


@given(st.text(max_size=300))
def test_whatever_is_said_is_read_or_an_error(said: str) -> None:
    for parse in (parsing.parse_squeue, parsing.parse_sacct, lambda said: [parsing.parse_submission(said)]):
        try:
            list(parse(said))
        except errors.UnreadableAnswer as error:
            assert str(error)


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
    reasons = (f"is no {output.type}: {line[2:202]!r}", "is nothing that Airflow can carry: ")
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


def test_a_switch_that_is_off_is_said_only_where_slurm_has_a_word_for_it() -> None:
    assert [options.check(name, False) for name in ("requeue", "oversubscribe")] == ["no", None]
    assert "--no-requeue" in _request(options=(("requeue", "no"),)).argv


def test_a_script_shows_what_the_person_wrote() -> None:
    script = render_script(_request(text="END_OF_RUN\necho $PARAM_X\n"))
    assert "<<'END_OF_RUN_' || finish 1\nEND_OF_RUN\necho $PARAM_X\nEND_OF_RUN_\n" in script
