"""Tables of sweeps: what they say, how they are kept, and what a task's value has of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.errors import StoreError
from hotswap_airflow.file_store.results import MOST_INLINE, ResultStore
from hotswap_airflow.slurm.array import Array
from hotswap_airflow.slurm.history.table import ElementResult, tabulate
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.states import JobStatus

KEY = JobKey(RunKey("i", "fit", "dev", "r1", "n"), "a")


def test_every_element_has_its_row() -> None:
    rows = (("0",), None, ("2",), ("3",), ("4",), ("5",))
    array = Array(("v",), rows, done=frozenset({0}), lost=frozenset({2}), saved=frozenset({5}))
    statuses = {3: JobStatus("COMPLETED", exit_status=0), 4: JobStatus("TIMEOUT")}
    table = tabulate(array, statuses, {0: {"y": 1}, 3: {"y": 2}}, {4: "JobTimedOut"})
    assert [row.state for row in table] == ["COMPLETED", "SKIPPED", "FAILED", "COMPLETED", "TIMEOUT", "PENDING"]
    assert [row.error for row in table] == ["", "", "JobFailed", "", "JobTimedOut", ""]
    assert [str(row) for row in table[2:5]] == ["2  FAILED  v=2", "3  COMPLETED  v=3  -> y=2", "4  TIMEOUT  v=4"]
    known = {2: JobStatus("FAILED", exit_status=4)}
    table = tabulate(replace(array, earlier=known), statuses, {}, {})
    assert (str(table[2]), table[2].error) == ("2  FAILED (exit status 4)  v=2", "JobFailed")
    known = {2: JobStatus("FAILED", exit_status=0)}
    assert tabulate(replace(array, earlier=known), {}, {}, {})[2].error == "OutputMissing"
    table = tabulate(replace(array, earlier={2: JobStatus("OUT_OF_MEMORY")}), {}, {}, {})
    assert (table[2].state, table[2].error) == ("OUT_OF_MEMORY", "JobOutOfMemory")
    assert str(ElementResult(7, {}, "FAILED", exit_status=3)) == "7  FAILED (exit status 3)  "


@given(point=st.dictionaries(st.text(), st.text()), value=st.none() | st.integers() | st.text())
def test_a_row_is_read_as_it_was_written(point: dict[str, str], value: Any) -> None:
    row = ElementResult(3, point, "COMPLETED", values={"y": value})
    assert "\n" not in row.to_json()
    assert ElementResult.from_json(row.to_json()) == row


def test_a_table_is_read_page_by_page(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    name = store.write(KEY, [ElementResult(n, {"v": "é\u2028"}, "COMPLETED") for n in range(10)])
    assert name == f"{KEY.run.folder}/{KEY.digest}.jsonl"
    assert [row.element for row in store.page(name, 8, 5)] == [8, 9]
    assert len(store.page(name)) == 10
    assert store.page(name, 10, 5) == []
    store.remove(KEY.run.folder, ["another"])
    assert len(store.page(name)) == 10
    store.remove(KEY.run.folder, [KEY.digest])
    assert not (tmp_path / "results" / KEY.run.folder).exists()
    with pytest.raises(StoreError, match="store_path to one persistent folder"):
        store.page(name)


def test_long_values_are_pointers_and_come_back_whole(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    many = MOST_INLINE // 4
    name = store.write(
        KEY, [ElementResult(n, {}, "COMPLETED", values={"y": n} if n % 2 else None) for n in range(many)]
    )
    values = {"y": [n if n % 2 else None for n in range(many)], "folder": "/a/b"}
    short = store.shortened(name, values)
    assert short == {"y": {"hotswap_table": name, "column": "y"}, "folder": "/a/b"}
    assert store.whole(short, KEY.run.folder) == values
    assert store.shortened(name, {"y": [1, 2]}) == {"y": [1, 2]}
    own = {"y": {"hotswap_table": name}}
    assert store.whole(own, KEY.run.folder) == own  # a job's own JSON
    with pytest.raises(StoreError, match="of this run"):
        store.whole(short, "fit/another-run")
    cunning = {"y": {"hotswap_table": f"fit/another-run/../../{name}", "column": "y"}}
    with pytest.raises(StoreError, match="of this run"):
        store.whole(cunning, "fit/another-run")


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    with pytest.raises(StoreError, match="there is no table"):
        ResultStore(tmp_path).page("../secret")
