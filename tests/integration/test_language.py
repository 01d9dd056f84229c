"""The keys of a workflow file, each from the file to what a job or a run does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2
import pytest

pytestmark = pytest.mark.timeout(600)
APPTAINER = """\
#!/bin/bash
printf '%s\\n' "$@" > {notes}
while [ "$1" != /bin/sh ]; do shift; done
exec env -i PATH=/usr/bin:/bin "$@"
"""
EVERYWHERE = """\
version: 1.10
project: climate
start_date: 2025-03-01
max_active_runs: 3
timeout: 2h
params: {{n: {{type: integer, default: 7}}, mode: quick}}
templates:
  small: {{slurm: {{mem: 60M}}, env: {{FROM: template, KEPT: template}}}}
  named: {{extends: small, env: {{FROM: named}}}}
jobs:
  contained:
    extends: named
    modules: [{module}]
    container: {{image: docker://debian:12, binds: ["/tmp:/tmp:ro"]}}
    env: {{OWN: job}}
    outputs: {{said: {{type: string}}, table: t.txt}}
    run: |
      echo "said=$FROM $KEPT $OWN $PARAM_N $HOTSWAP_VERSION $HOTSWAP_ENVIRONMENT ${{SLURM_MEM_PER_NODE}}" >> "$HOTSWAP_OUTPUT"
      echo x > "$OUTPUT_TABLE"
  counted:
    needs: [contained]
    shell: python3
    inputs: {{table: {{from: jobs.contained.table}}}}
    outputs: {{lines: {{type: integer}}, account: {{type: string}}}}
    run: |
      import os
      with open(os.environ["HOTSWAP_OUTPUT"], "a") as out:
          print(f"lines={{len(open(os.environ['INPUT_TABLE']).readlines())}}", file=out)
          print(f"account={{os.environ['SLURM_JOB_ACCOUNT']}}", file=out)
  ranks:
    needs: [counted]
    if: jobs.counted.lines == 1 and params.mode == "quick"
    container: {{runtime: none, launch: srun}}
    slurm: {{ntasks: 2, nodes: 2}}
    outputs: {{parts: {{path: parts, type: dir}}}}
    run: echo "$SLURM_PROCID" > "$OUTPUT_PARTS/$SLURM_PROCID"
  never:
    needs: [counted]
    if: jobs.counted.lines > 1
    run: "false"
environments:
  dev:
    params: {{n: {{default: 5}}}}
    jobs: {{contained: {{env: {{OWN: overlay}}}}}}
"""


def test_a_file_with_every_kind_of_layer(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apptainer").write_text(APPTAINER.format(notes=tmp_path / "arguments"))
    (tmp_path / "bin" / "apptainer").chmod(0o755)
    (tmp_path / "module").write_text(f"#%Module\nprepend-path PATH {tmp_path}/bin\n")
    lab.write("layers", EVERYWHERE.format(module=tmp_path / "module"))
    run = lab.api.trigger("layers")
    assert lab.api.wait_for_run("layers", run) == "success", lab.api.tasks("layers", run)
    said = lab.api.value("layers", run, "contained")["said"]
    assert said == "named template overlay 5 1.10 dev 60"
    assert "docker://debian:12" in (tmp_path / "arguments").read_text().split("\n")
    assert lab.api.value("layers", run, "counted") == {"lines": 1, "account": "climate"}
    assert sorted(p.name for p in Path(lab.api.value("layers", run, "ranks")["parts"]).iterdir()) == ["0", "1"]
    assert lab.api.tasks("layers", run)["never"] == "skipped"
    assert "its `if` does not hold: jobs.counted.lines > 1; jobs.counted.lines is 1" in lab.api.log(
        "layers", run, "never"
    )
    dag = lab.api.get("/dags/layers/details")
    assert (dag["max_active_runs"], dag["start_date"][:10], dag["dag_run_timeout"]) == (3, "2025-03-01", "PT2H")


OPERATORS = """\
params: {label: "{{ var.value.x }}"}
jobs:
  fit:
    outputs: {slope: {type: number}}
    run: echo slope=2.5 >> "$HOTSWAP_OUTPUT"
  record:
    needs: [fit]
    uses: airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator
    with:
      conn_id: lab_db
      sql: insert into fits (label, slope) values (%(label)s, %(slope)s)
      parameters: {label: {from: params.label}, slope: {from: jobs.fit.slope}}
  literal:
    needs: [record]
    uses: airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator
    with:
      conn_id: lab_db
      sql: select '{{ var.value.x }}' as said, label, slope from fits
  branch:
    needs: [fit]
    if: jobs.fit.slope < 0
    uses: airflow.providers.standard.operators.empty.EmptyOperator
  after:
    needs: {branch: done, literal: success}
    run: "true"
"""


def test_operators_of_airflow_get_values_by_reference_and_render_nothing(lab: Any) -> None:
    fields = lab.make_database("lab")
    lab.add_connection("lab_db", **fields)
    with psycopg2.connect(host=fields["host"], user=fields["login"], dbname="lab") as database:
        database.cursor().execute("create table fits (label text, slope float8)")
    lab.write("operators", OPERATORS)
    run = lab.api.trigger("operators")
    assert lab.api.wait_for_run("operators", run) == "success", lab.api.tasks("operators", run)
    hostile = "{{ var.value.x }}"
    (row,) = lab.api.xcom("operators", run, "literal", "return_value")
    assert row["__data__"] == [hostile, hostile, 2.5]
    assert lab.api.tasks("operators", run)["branch"] == "skipped"
    assert "skipped: its `if` does not hold" in lab.api.log("operators", run, "branch")
