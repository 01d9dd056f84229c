"""Sweeps before anything runs: axes, points, ranges, and what follows from what was seen of an array."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.errors import JobFailed
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.slurm.array import Array, format_ranges, indices_in
from hotswap_airflow.slurm.array_result import continued
from hotswap_airflow.slurm.array_state import ArrayState, ElementEnds, Tally, failure_summary
from hotswap_airflow.slurm.history.notes import Folder
from hotswap_airflow.slurm.history.past import End, Try
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.judgement import Evidence, judge
from hotswap_airflow.slurm.request import JobRequest
from hotswap_airflow.slurm.states import JobStatus, Phase
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.checks.sweep import AxisFault, axis_values, count_points, points
from hotswap_airflow.workflow.job_request import make_job_request
from hotswap_airflow.workflow.plan import Plan, make_plan
from hotswap_airflow.workflow.run_values import RunValues
from hotswap_airflow.workflow.site import implied_site
from hotswap_airflow.workflow.spec.sweep_spec import AxisSpec

KEY = JobKey(RunKey("i", "w", "dev", "r", "n"), "b")
DONE, FAILED, RUNNING = JobStatus("COMPLETED"), JobStatus("FAILED"), JobStatus("RUNNING")


def _values(folder: Path, **axis: Any) -> list[Any]:
    found: Any = axis_values(AxisSpec.model_validate(axis), DiskFolder(folder))
    return [found[i] for i in range(len(found))]


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ({"range": [1, 4]}, [1, 2, 3]),
        ({"range": [4, 1, -1]}, [4, 3, 2]),
        ({"range": [0, 1, 0.25]}, [0.0, 0.25, 0.5, 0.75]),
        ({"range": [0, 0.3, 0.1]}, [0.0, 0.1, 0.2]),
        ({"range": [5, 5]}, []),
        ({"linspace": [0.1, 0.5, 5]}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"linspace": [0, 10, 3]}, [0, 5, 10]),
        ({"linspace": [0, 1, 3]}, [0.0, 0.5, 1.0]),
        ({"linspace": [7, 9, 1]}, [7]),
        ({"list": [1, "a", None]}, [1, "a", None]),
    ],
)
def test_the_values_of_an_axis(tmp_path: Path, axis: dict[str, Any], values: list[Any]) -> None:
    assert _values(tmp_path, **axis) == values


def test_values_from_a_file_are_text_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes('\ufeffname,x\r\n"a, b", 1\r\nc,\r\n\r\n"two\nlines",3\n'.encode())
    assert _values(tmp_path, **{"from": "s.csv", "column": "name"}) == ["a, b", "c", "two\nlines"]
    assert _values(tmp_path, **{"from": "./s.csv", "column": "x"}) == [" 1", "", "3"]
    (tmp_path / "plain.txt").write_text("1\n 2 \n\n3")
    assert _values(tmp_path, **{"from": "plain.txt"}) == ["1", " 2 ", "3"]
    (tmp_path / "latin").write_bytes(b"\xe4")
    with pytest.raises(AxisFault, match="not UTF-8"):
        _values(tmp_path, **{"from": "latin"})


def test_a_table_may_be_called_as_a_reference_and_hold_odd_cells(tmp_path: Path) -> None:
    long = "x" * 200_000
    (tmp_path / "params.csv").write_text(f'a,b\n"one\u2028two",{long[:10]}\n')
    assert _values(tmp_path, **{"from": "params.csv", "column": "a"}) == ["one\u2028two"]
    assert len(_values(tmp_path, **{"from": "params.csv"})) == 2
    (tmp_path / "long.csv").write_text(f"a\n{long}\n")
    with pytest.raises(AxisFault, match="cannot be read as CSV"):
        _values(tmp_path, **{"from": "long.csv", "column": "a"})


@pytest.mark.parametrize(
    "axis",
    [
        {"range": [0, float("inf")]},
        {"range": [0, 1, float("nan")]},
        {"range": [0, 1, 1e-300]},
        {"linspace": [0, float("-inf"), 3]},
        {"linspace": [0, 1, 10**30]},
        {"range": [0, 10**400]},
    ],
)
def test_values_without_end_are_refused(tmp_path: Path, axis: dict[str, Any]) -> None:
    with pytest.raises(AxisFault, match="too many values"):
        _values(tmp_path, **axis)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.sampled_from(["product", "zip"]))
def test_points_are_as_many_as_is_counted(lengths: list[int], mode: str) -> None:
    lengths = lengths if mode == "product" else [lengths[0]] * len(lengths)
    made = list(points([list(range(length)) for length in lengths], mode))
    assert len(made) == count_points(lengths, mode)
    assert made == sorted(made)


@given(st.sets(st.integers(0, 300)))
def test_ranges_are_read_as_they_were_written(numbers: set[int]) -> None:
    if numbers:
        assert indices_in(f"7_[{format_ranges(sorted(numbers))}%4]") == sorted(numbers)


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=1, max_size=20), st.integers(1, 5), st.data())
def test_every_element_that_is_wanted_is_in_one_index(rows: list[str | None], chunk: int, data: st.DataObject) -> None:
    done = data.draw(st.frozensets(st.integers(0, len(rows) - 1)))
    array = Array(("x",), tuple(None if row is None else (row,) for row in rows), chunk, done=done)
    assert [e for index in array.indices for e in array.elements_of(index)] == array.wanted
    assert max(array.indices, default=0) < math.ceil(len(rows) / chunk)
    request = JobRequest(KEY, "x", array=Array(array.variables, array.rows, chunk, 3, 1))
    assert JobRequest.from_json(request.to_json()) == request


def _state(count: int = 4, **changes: Any) -> ArrayState:
    return ArrayState(Array(("x",), tuple((str(i),) for i in range(count)), **changes))


def _conclude(
    state: ArrayState, now: float, accounted: Mapping[int, JobStatus] | None, *, is_sure: bool = True
) -> None:
    for _ in state.conclude_each(now, 0.0, accounted, is_sure=is_sure):
        pass


def test_what_follows_for_an_array() -> None:
    state = _state(tolerated=1)
    state.queued = {0: RUNNING, 1: JobStatus("PENDING", reason="Resources"), 2: RUNNING, 3: RUNNING}
    _conclude(state, 0.0, None)
    assert (state.status, state.tally) == (RUNNING, Tally(running=3, pending=1))
    state.queued, state.ends = {0: DONE, 1: RUNNING}, ElementEnds({0: 0, 2: 7})
    assert state.asked_of_accounting(7) == ["7_2", "7_3"]
    _conclude(state, 1.0, {2: JobStatus("FAILED", exit_status=7)})
    assert state.indices[3].state == "COMPLETING"  # nobody knows it now, which is not yet its end
    assert state.tally == Tally(done=1, failed=1, running=2)
    state.queued, state.ends = {1: DONE}, ElementEnds({0: 0, 1: 0, 2: 7})
    _conclude(state, 100.0, {}, is_sure=False)
    assert state.indices[3].state == "COMPLETING"  # accounting that is away tells nothing
    _conclude(state, 200.0, {})
    assert (state.indices[3].state, state.status.state) == ("GONE", "FAILED")
    assert {element: status.state for element, status in state.elements.items()} == {
        0: "COMPLETED", 1: "COMPLETED", 2: "FAILED", 3: "GONE"
    }  # fmt: skip


def test_elements_end_well_by_their_own_notes_alone() -> None:
    """Slurm says of what a controller lost that it ended well, or holds for ever what it would begin again."""
    held = JobStatus("PENDING", reason="launch failed requeued held")
    state = _state(2, chunk=1)
    state.queued = {0: DONE, 1: held}
    assert state.needs_notes
    _conclude(state, 0.0, {})
    assert state.tally == Tally(running=1, pending=1)
    state.ends = ElementEnds({1: 0})
    _conclude(state, 61.0, {})
    assert {element: status.state for element, status in state.elements.items()} == {0: "GONE", 1: "COMPLETED"}


def test_a_controller_that_has_not_heard_of_an_elements_good_end_is_not_waited_for() -> None:
    state = _state(2, chunk=1)
    state.queued, state.ends = {0: RUNNING, 1: RUNNING}, ElementEnds({0: 0, 1: 1})
    for now, expected in ((0.0, "RUNNING"), (14.0, "RUNNING"), (16.0, "COMPLETED")):
        _conclude(state, now, {})
        assert [state.indices[index].state for index in (0, 1)] == [expected, "RUNNING"]


def test_what_was_left_of_a_lost_element_has_not_failed_by_itself() -> None:
    state = _state(1)
    state.ends = ElementEnds({0: 143})
    _conclude(state, 0.0, {})
    _conclude(state, 61.0, {})
    assert state.element(0).state == "GONE"


@pytest.mark.parametrize(
    "word", ["TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "PREEMPTED", "NODE_FAIL", "FAILED", "DEADLINE"]
)
@pytest.mark.parametrize("ends", [ElementEnds({0: 0}), ElementEnds({0: 0}, frozenset({0}))])
@pytest.mark.parametrize("source", ["queue", "accounting", "queue before the note"])
def test_what_slurm_says_of_an_elements_end_counts_as_for_a_single_job(
    word: str, ends: ElementEnds, source: str
) -> None:
    """Whoever looks, and whenever: an exit status of 0 alone is no good end."""
    said, state = JobStatus(word), _state(1)
    if source == "queue before the note":
        state.queued = {0: said}
        _conclude(state, 99.0, {})
    state.ends = ends
    state.queued = {0: said} if source == "queue" else {}
    _conclude(state, 100.0, {0: said} if source == "accounting" else {})
    single = judge(Evidence(100.0, 0.0, 100.0, queued=said, noted_status=0, signalled=bool(ends.stopped)))
    if source == "queue before the note" and single.phase is Phase.SUCCEEDED:
        return  # what Slurm knows nothing of is run again where its note comes late
    assert state.elements[0].state == single.state
    assert state.status.phase is (Phase.SUCCEEDED if single.phase is Phase.SUCCEEDED else Phase.FAILED)


def test_the_wait_for_a_missing_element_begins_when_it_is_missed() -> None:
    """However long the pause between two looks is."""
    state, both = _state(2), dict.fromkeys((0, 1), RUNNING)
    for now, queued, expected in (
        (0.0, both, "RUNNING"),
        (600.0, {1: RUNNING}, "COMPLETING"),
        (610.0, both, "RUNNING"),
        (1300.0, {1: RUNNING}, "COMPLETING"),  # missed again, and waited for as long
        (1361.0, {1: RUNNING}, "GONE"),
    ):
        state.queued = queued
        _conclude(state, now, {})
        assert [state.indices[index].state for index in (0, 1)] == [expected, "RUNNING"]


def test_an_element_that_slurm_ended_is_not_done_before_slurm_was_asked() -> None:
    """It has left the queue, as where a site's MinJobAge is two seconds."""
    state = _state(1)
    state.ends = ElementEnds({0: 0})
    assert state.asked_of_accounting(7) == ["7_0"]
    _conclude(state, 100.0, {})
    assert not state.status.phase.is_final
    _conclude(state, 101.0, {0: JobStatus("TIMEOUT")})
    assert state.elements[0].state == "TIMEOUT"


@pytest.mark.parametrize(
    ("end", "done"),
    [
        (End("1 0", "FAILED", ("JobFailed",)), {0, 1}),
        (End("1 0", "FAILED", ("JobTimedOut",), again=frozenset({1})), {0}),
        (End("1 0", "TIMEOUT", ("JobTimedOut",)), {0}),  # nobody asked Slurm about the one that was stopped
        (None, {0}),
    ],
)
def test_what_a_try_did_is_what_was_told_of_its_elements(end: End | None, done: set[int]) -> None:
    request = JobRequest(KEY, "x", array=Array(("v",), (("a",), ("b",), ("c",))))
    folder = Folder("digest", 7, Try(0, 0, end=end))
    ends = {"digest": ElementEnds({0: 0, 1: 0, 2: 1}, stopped=frozenset({1}))}
    found = continued(request, [folder], ends, {}, {"digest": {}})
    assert found.array is not None
    assert found.array.done == done


def test_of_elements_that_take_turns_those_before_the_end_of_their_index_were_done() -> None:
    state = _state(3, chunk=3)
    state.queued, state.ends = {0: JobStatus("TIMEOUT")}, ElementEnds({0: 0, 1: 0}, frozenset({1}))
    _conclude(state, 0.0, {})
    assert [status.state for status in state.elements.values()] == ["COMPLETED", "TIMEOUT", "TIMEOUT"]
    state = _state(2, chunk=2)
    state.queued, state.ends = {0: JobStatus("OUT_OF_MEMORY")}, ElementEnds({0: 0, 1: 1})
    _conclude(state, 0.0, {})
    assert {status.state for status in state.elements.values()} == {"OUT_OF_MEMORY"}


def test_many_are_asked_for_as_a_whole() -> None:
    assert _state(101).asked_of_accounting(7) == ["7"]


def test_an_array_that_never_starts_says_why() -> None:
    state = _state(2)
    state.queued = dict.fromkeys((0, 1), JobStatus("PENDING", reason="BadConstraints"))
    _conclude(state, 0.0, None)
    assert state.status.never_starts


def test_the_words_for_failed_elements() -> None:
    assert failure_summary({3: JobStatus("TIMEOUT"), 4: JobStatus("FAILED", exit_status=2)}, 9) == (
        "2 of 9 elements failed: 3 (TIMEOUT), 4 (exit status 2)"
    )
    assert failure_summary(dict.fromkeys(range(7), FAILED), 9).endswith("4 (FAILED) and 2 more")


def _plan(tmp_path: Path, sweep: str) -> Plan:
    text = f"hotswap: workflow/v1\njobs:\n  a: {{outputs: {{l: {{type: json}}}}, run: x}}\n  b: {{run: x, sweep: {sweep}}}\n"
    checked = check_workflow(text.encode(), "w.hotswap.yaml", DiskFolder(tmp_path))
    assert checked.context is not None, checked.problems
    return make_plan(checked, implied_site("c"), "dev")


def _bound(plan: Plan, value: Any) -> Array:
    array = make_job_request(plan, plan.job("b"), KEY, RunValues("r", outputs={"a": {"l": value}})).array
    assert array is not None
    return array


def test_axes_from_an_earlier_job(tmp_path: Path) -> None:
    plan = _plan(tmp_path, "{over: {i: {from: jobs.a.l}, j: [1, 2]}, chunk: 2, max_parallel: 3, tolerate: 50%}")
    assert plan.job("b").needs == {"a": "success"}
    array = _bound(plan, ["x", None, {"k": 1}])
    assert array.rows == (("x", "1"), ("x", "2"), None, None, ('{"k": 1}', "1"), ('{"k": 1}', "2"))
    assert (array.variables, array.tolerated, array.option) == (("i", "j"), 3, "0,2%3")


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "has no value"), ("text", "is no list"), ([], "came out empty"), ([1, 2, 3], "differ in length: i has 3, j has 2")],
)  # fmt: skip
def test_axes_that_come_out_wrong(tmp_path: Path, value: Any, words: str) -> None:
    mode = "zip" if value == [1, 2, 3] else "product"
    plan = _plan(tmp_path, f"{{mode: {mode}, over: {{i: {{from: jobs.a.l}}, j: [1, 2]}}}}")
    with pytest.raises(JobFailed, match=words):
        _bound(plan, value)


def test_the_table_of_a_sweep_travels_with_the_workflow(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("p\nq\n")
    plan = _plan(tmp_path, "{over: {i: {from: s.txt}}}")
    assert [file.path for file in plan.pack.files] == ["s.txt"]
    assert _bound(plan, None).rows == (("p",), ("q",))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('sample,fastq\n"S1,a\nS2,b\n', "`t.csv:2`: a quote is never closed"),
        ('sample,fastq\nS1,a\n"S2\n",b\nS3,"c\n', "`t.csv:5`: a quote is never closed"),
        ("sample,fastq\nS1\nS2,b,c\n", "`t.csv:2`: the row has 1 cell(s), but the header has 2"),
        ("sample,fastq\r\nS1,a\r\n\r\nS2,b,c\r\n", "`t.csv:4`: the row has 3 cell(s), but the header has 2"),
        ('sample,fastq\n"S1"x,a\n', "`t.csv:2`: this cannot be read as CSV"),
        ("sample,sample\nS1,a\n", "column `sample` stands twice in `t.csv`"),
        ("sample;fastq\nS1;a\n", "there is no column `sample` in `t.csv`"),
        ("", "`t.csv` is empty"),
    ],
)
def test_a_table_that_is_not_what_it_seems_is_refused(tmp_path: Path, table: str, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(table.encode())
    text = "hotswap: workflow/v1\njobs: {a: {run: x, sweep: {over: {s: {from: t.csv, column: sample}}}}}\n"
    (problem,) = check_workflow(text.encode(), "w.hotswap.yaml", DiskFolder(tmp_path)).problems
    assert (problem.code, problem.line) == ("sweep-source", 2)
    assert words in problem.message


def test_a_table_with_quoted_commas_and_line_breaks_is_read(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes(b'\xef\xbb\xbfi,j\r\n"a,\r\nb"," c "\r\n\r\n"""d""",e\r\n')
    plan = _plan(tmp_path, "{over: {i: {from: s.csv, column: i}}}")
    assert _bound(plan, None).rows == (("a,\r\nb",), ('"d"',))
