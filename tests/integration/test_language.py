"""The keys of a workflow file, each from the file to what a job or a run does."""

from __future__ import annotations

import email
import email.policy
import hashlib
import html
import json
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

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


@pytest.fixture
def fake_apptainer(tmp_path: Path) -> Path:
    """A module whose `apptainer` notes its arguments beside it and gives nothing of its environment on."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apptainer").write_text(APPTAINER.format(notes=tmp_path / "arguments"))
    (tmp_path / "bin" / "apptainer").chmod(0o755)
    (tmp_path / "module").write_text(f"#%Module\nprepend-path PATH {tmp_path}/bin\n")
    return tmp_path / "module"


def test_a_file_with_every_kind_of_layer(lab: Any, fake_apptainer: Path) -> None:
    lab.write("layers", EVERYWHERE.format(module=fake_apptainer))
    run = lab.api.trigger("layers")
    assert lab.api.wait_for_run("layers", run) == "success", lab.api.tasks("layers", run)
    said = lab.api.value("layers", run, "contained")["said"]
    assert said == "named template overlay 5 1.10 dev 60"
    assert "docker://debian:12" in fake_apptainer.with_name("arguments").read_text().split("\n")
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
    lab.api.send("DELETE", "/connections/lab_db")


SECRET = "s3cret'; touch x #-4f9a"
SECRETS = """\
secrets:
  key: {{connection: results_store}}
  token: {{variable: lab_token}}
jobs:
  use:
    modules: [{module}]
    container: {{image: docker://debian:12}}
    outputs: {{digest: {{type: string}}}}
    run: |
      while [ ! -e go ]; do sleep 0.1; done
      echo "digest=$(printf %s "$SECRET_KEY$SECRET_TOKEN" | sha256sum)" >> "$HOTSWAP_OUTPUT"
"""


def _files_with(text: bytes, *folders: Path) -> list[Path]:
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if text in path.read_bytes()]


def _rows_with(lab: Any, text: str) -> list[str]:
    """The tables of Airflow's database with a row that holds a text."""
    query = dict(parse_qsl(urlsplit(lab.services.database).query))
    with psycopg2.connect(host=query["host"], user="postgres", dbname="postgres") as database:
        cursor = database.cursor()
        cursor.execute("select table_name from information_schema.tables where table_schema = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        found = []
        for name in tables:
            cursor.execute(f'select count(*) from "{name}" as row where position(%s in row::text) > 0', (text,))  # noqa: S608 - its own tables
            found += [name] if cursor.fetchone()[0] else []
    return found


def test_a_secret_is_in_one_file_while_its_job_runs_and_nowhere_after(lab: Any, fake_apptainer: Path) -> None:
    lab.add_connection("results_store", conn_type="generic", password=SECRET)
    lab.api.send("POST", "/variables", {"key": "lab_token", "value": f"{SECRET}-t"})
    lab.write("secrets", SECRETS.format(module=fake_apptainer))
    run = lab.api.trigger("secrets")
    lab.wait_for_job("secrets", "use")
    places = [lab.work(), lab.services.folder / "airflow" / "logs", lab.services.folder / "logs", lab.store]
    lab.api.wait("the job's start", lambda: list(lab.work().glob(".hotswap/jobs/*/*/enter")))
    (kept,) = _files_with(b"s3cret", *places)
    assert (kept.name, kept.stat().st_mode & 0o777) == ("secrets", 0o600)
    assert _rows_with(lab, "s3cret") == []
    (lab.run_dir("secrets", run) / "go").touch()
    assert lab.api.wait_for_run("secrets", run) == "success", lab.api.log("secrets", run, "use")
    digest = hashlib.sha256(f"{SECRET}{SECRET}-t".encode()).hexdigest()
    assert lab.api.value("secrets", run, "use")["digest"].split()[0] == digest
    assert _files_with(b"s3cret", *places) == []
    assert _rows_with(lab, "s3cret") == []
    lab.api.send("DELETE", "/connections/results_store")


NOTICES = """\
project: climate
timeout: {timeout}
notify:
  - {{on: [success, failed], to: chat}}
  - {{on: [failed], to: pi@example.org}}
  - {{on: [failed], to: odd}}
params: {{fails: false}}
jobs:
  work: {{run: 'if [ "$PARAM_FAILS" = true ]; then exit 3; fi; while [ ! -e go ]; do sleep 0.1; done'}}
"""


class Web(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    def do_POST(self) -> None:
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """No output."""


class Mail(StreamRequestHandler):
    """Keeps the mails that it gets."""

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        while verb := self.rfile.readline()[:4].upper():
            if verb == b"DATA":
                self.wfile.write(b"354 go\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.received.append(email.message_from_bytes(b"".join(lines), policy=email.policy.default))
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            if verb == b"QUIT":
                return


@pytest.fixture
def received(lab: Any) -> Iterator[tuple[list[dict[str, Any]], list[EmailMessage]]]:
    """What a web server and a mail server of the test's own receive; Airflow knows both by connections."""
    servers: list[Any] = [ThreadingHTTPServer(("127.0.0.1", 0), Web), ThreadingTCPServer(("127.0.0.1", 0), Mail)]
    for server in servers:
        server.received = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
    web, mail = (server.server_address[1] for server in servers)
    lab.add_connection("chat", conn_type="http", host="127.0.0.1", port=web)
    lab.add_connection("odd", conn_type="ftp", host="127.0.0.1")
    extra = json.dumps({"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.org"})
    lab.add_connection("smtp_default", conn_type="smtp", host="127.0.0.1", port=mail, extra=extra)
    yield servers[0].received, servers[1].received
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_ends_of_runs_are_notified(lab: Any, received: tuple[list[dict[str, Any]], list[EmailMessage]]) -> None:
    posts, mails = received
    lab.write("notices", NOTICES.format(timeout="1h"))
    lab.write("too-late", NOTICES.format(timeout="2s"))
    good = lab.api.trigger("notices")
    lab.wait_for_job("notices", "work")
    (lab.run_dir("notices", good) / "go").touch()
    bad, late = lab.api.trigger("notices", {"fails": True}), lab.api.trigger("too-late")
    assert [lab.api.wait_for_run("notices", run) for run in (good, bad)] == ["success", "failed"]
    assert lab.api.wait_for_run("too-late", late) == "failed"
    stopped = lab.api.trigger("notices")
    lab.wait_for_task("notices", stopped, "work", "deferred")
    lab.api.send("PATCH", f"/dags/notices/dagRuns/{stopped}", {"state": "failed"})
    lab.api.wait("the notices", lambda: len(posts) == 4 and len(mails) == 3)
    found = {(post["workflow"], post["run_id"]): post for post in posts}
    assert {key: post["event"] for key, post in found.items()} == {
        ("notices", good): "success", ("notices", bad): "failed", ("too-late", late): "failed", ("notices", stopped): "failed",
    }  # fmt: skip
    assert (found["too-late", late]["reason"], found["notices", stopped]["reason"]) == ("timed_out", "set by a person")
    assert found["notices", bad]["project"] == "climate"
    sent = [mail for mail in mails if mail["Subject"] == "notices failed in dev"]
    assert {mail["To"] for mail in sent} == {"pi@example.org"}
    texts = [html.unescape(mail.get_body().get_content()) for mail in sent]
    assert sorted(run for run in (bad, stopped) if any(f"run: {run}" in text for text in texts)) == sorted(
        [bad, stopped]
    )
    assert lab.api.tasks("too-late", late)["work"] in {"skipped", "failed"}
    lab.api.wait("the queue without the late job", lambda: not lab.queue("too-late"))
