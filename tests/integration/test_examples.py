"""The example files, dropped into the DAGs folder of a real Airflow and run on a real cluster."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import psycopg2
import pytest

pytestmark = pytest.mark.timeout(900)
EXAMPLES = Path(__file__).parents[1] / "examples" / "files" / "good"
ENDS: dict[str, dict[str, Any]] = {
    "blue-green": {}, "budget-burst": {"spread": {"spread": float}}, "canary": {"fit": {"rmse": float}},
    "conditional": {"measure": {"quality": 0.8}}, "gpu-train": {"train": {"loss": 0.343}},
    "licences": {"stiffness": {"newton_per_mm": float}}, "mixed-operators": {"fit": {"slope": float}},
    "mpi-container": {"sum": {"integral": 3.14159265}}, "nightly": {"means": {"rows": 5}},
    "progressive": {}, "protein-fold": {"predict": {"plddt": [86, 84, 82]}},
    "retry-escalate": {"flaky": {"attempts": 3}}, "sweep-csv": {}, "chain-500": {},
}  # fmt: skip
"""The files that a plain host can run, with values that their jobs give; `hello`, `own-code` and three
sweeps are in other tests, and `software` is not acted on."""
SKIPPED = {"conditional": {"full-analysis", "repair", "explain"}, "nightly": {"publish"}}
STEPS = 20


def _drop(lab: Any, stem: str) -> str:
    """Put an example into the DAGs folder; its Dag id."""
    text = (EXAMPLES / f"{stem}.hotswap.yaml").read_text()
    if stem == "chain-500":
        text = re.sub(rf"(?s)(  step-{STEPS:03d}: [^\n]*\n).*", r"\1", text)
    text = re.sub(r"(?m)^ +burst: .*\n", "", text)  # kept only so far, and the lab has no cloud cluster
    (lab.dags / "examples" / f"{stem}.hotswap.yaml").write_text(text)
    return str(re.search(r"(?m)^name: (\S+)", text)[1])  # type: ignore[index]


@pytest.fixture
def lab_db(lab: Any) -> Any:
    """The database that `mixed-operators` writes to."""
    fields = lab.make_database("examples")
    lab.add_connection("lab_db", **fields)
    lab.add_connection("results_store", conn_type="generic", password="a-key-for-the-store")
    database = psycopg2.connect(host=fields["host"], user=fields["login"], dbname="examples")
    database.autocommit = True
    database.cursor().execute("create table fits (label text, slope float8)")
    yield database
    database.close()
    for name in ("lab_db", "results_store"):
        lab.api.send("DELETE", f"/connections/{name}")


def test_the_examples_run_to_the_right_ends(lab: Any, lab_db: Any) -> None:
    folder = lab.dags / "examples"
    folder.mkdir()
    for name in ("samples.csv", "scripts"):
        copy = shutil.copytree if (EXAMPLES / name).is_dir() else shutil.copy
        copy(EXAMPLES / name, folder / name)
    dags = {stem: _drop(lab, stem) for stem in ENDS}
    runs = {stem: lab.api.trigger(dag) for stem, dag in dags.items()}
    for stem, values in ENDS.items():
        assert lab.api.wait_for_run(dags[stem], runs[stem]) == "success", (stem, lab.api.tasks(dags[stem], runs[stem]))
        states = lab.api.tasks(dags[stem], runs[stem])
        assert {task for task, state in states.items() if state == "skipped"} == SKIPPED.get(stem, set())
        for job, expected in values.items():
            found = lab.api.value(dags[stem], runs[stem], job)
            seen = (stem, found, lab.api.get(f"/dags/{dags[stem]}/details")["params"])
            for name, value in expected.items():
                assert isinstance(found[name], value) if isinstance(value, type) else found[name] == value, seen
    assert re.search(r"gene9(\s+\d+){6}", lab.api.log("count-samples", runs["sweep-csv"], "matrix"))
    assert "on 1 GPU" in lab.api.log("gpu-train", runs["gpu-train"], "train")
    assert len(lab.api.tasks("chain-500", runs["chain-500"])) == STEPS
    cursor = lab_db.cursor()
    cursor.execute("select label, slope from fits")
    ((label, slope),) = cursor.fetchall()
    assert (label, slope) == ("demo", lab.api.value("fit-and-record", runs["mixed-operators"], "fit")["slope"])
    shutil.rmtree(folder)
