"""Dags of workflow files, as Airflow gets them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from hotswap_airflow.dag_builder.maintenance import build_maintenance_dag
from hotswap_airflow.dag_builder.maintenance_dags import MAINTENANCE_DAGS
from hotswap_airflow.dag_builder.workflow import BROKEN, build_dag
from hotswap_airflow.errors import SetupError
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.operators.slurm import SlurmJobOperator, say_last
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.options import RESERVED
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.plan import make_plan
from hotswap_airflow.workflow.site import Site, implied_site


def _dag(text: str, **changes: Any) -> DAG:
    checked = check_workflow(f"hotswap: workflow/v1\n{text}".encode(), "w.hotswap.yaml", DiskFolder(Path("nowhere")))
    assert checked.context is not None, checked.problems
    site = implied_site("c")
    return build_dag(make_plan(checked, site, "dev"), **changes)


@pytest.mark.parametrize(
    ("param", "items"),
    [
        ("{type: array, default: [0.1, 0.2]}", {"type": "number"}),
        ("{type: array, default: [1, 2]}", {"type": "integer"}),
        ("{type: array, default: [1, 0.5]}", {"type": "number"}),
        ("{type: array, default: [true]}", {"type": "boolean"}),
        ("{type: array, default: [a, b]}", {"type": "string"}),
        ("{type: array, default: []}", None),
        ("{type: array, default: [a, 1]}", None),
        ("{type: array, items: {type: number}, default: []}", {"type": "number"}),
        ("{type: string, default: a}", None),
    ],
)
def test_airflows_form_is_told_what_an_array_holds(param: str, items: dict[str, str] | None) -> None:
    """Without it the form makes texts of numbers that a person edits."""
    found = _dag(f"params: {{x: {param}}}\njobs: {{a: {{run: x}}}}\n").params.get_param("x")
    assert found.schema.get("items") == items


def test_the_dag_of_a_file_whose_newest_text_is_broken_says_so() -> None:
    text = "tags: [mine]\njobs: {a: {run: x}}\n"
    dag = _dag(text, fault="w.hotswap.yaml:3:4: unknown-key: there is no key `rum`")
    assert dag.tags == {"mine", BROKEN}
    assert "w.hotswap.yaml:3:4: unknown-key" in (dag.doc_md or "")
    assert (_dag(text).tags, _dag(text).doc_md) == ({"mine"}, None)


def test_what_airflow_serializes_is_made_of_pythons_own_types() -> None:
    """Its processes speak in a format that takes no other kind of number."""
    text = "params: {a: 2, b: 0.5, c: {default: 1, enum: [1, 2], minimum: 1}, d: {type: array, default: [{e: 1}]}}\njobs: {j: {run: x}}\n"
    dag = _dag(text)
    assert [type(value) for value in dag.params.dump().values()] == [int, float, int, list]
    assert json.loads(msgspec.json.encode(DagSerialization.to_dict(dag)))
    assert msgspec.msgpack.encode(DagSerialization.to_dict(dag))


def test_the_callbacks_of_a_dags_default_arguments_are_kept() -> None:
    def mine(context: object) -> None:
        """Somebody's own callback."""

    with DAG("d", schedule=None, default_args={"on_failure_callback": mine, "on_retry_callback": [mine]}):
        task = SlurmJobOperator(task_id="a", command="x")
    assert [task.on_failure_callback, task.on_retry_callback] == [[mine, say_last]] * 2


def test_our_own_dags_begin_unpaused() -> None:
    site = Site({"dev": "c"}, {"c": replace(implied_site("c").clusters["main"], retention=90)})
    dags = [build_maintenance_dag(entry, site, "@hourly") for entry in MAINTENANCE_DAGS]
    assert len(dags) > 1
    assert [dag.is_paused_upon_creation if dag else None for dag in dags] == [False] * len(dags)


def test_a_dag_that_no_cluster_needs_is_not_there() -> None:
    (entry,) = [entry for entry in MAINTENANCE_DAGS if entry.dag_id == "hotswap-retention"]
    assert build_maintenance_dag(entry, implied_site("c"), "@hourly") is None


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_reserved_option_names_what_a_python_dag_does_instead(name: str) -> None:
    operator = SlurmJobOperator(task_id="a", command="true", slurm={name: "x"})
    with pytest.raises(SetupError, match=f"slurm option {name} may not be set; ") as caught:
        operator.make_request({}, JobKey(RunKey("i", "w", "e", "r", "n"), "a"))  # type: ignore[typeddict-item]
    assert ":`" not in str(caught.value)  # no key of a workflow file
    assert "JOB" not in str(caught.value)
