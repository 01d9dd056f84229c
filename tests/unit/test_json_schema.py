"""The schemas for editors take what the language takes, and refuse what a schema can refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import hotswap_airflow
from hotswap_airflow import units
from hotswap_airflow.cli import main
from hotswap_airflow.testing import reference_page
from hotswap_airflow.workflow.checks.schedule_checks import PRESETS
from hotswap_airflow.workflow.spec import value_schemas
from hotswap_airflow.workflow.spec.json_schema import schema_of, schema_text
from hotswap_airflow.workflow.spec.site_spec import SiteSpec
from hotswap_airflow.workflow.spec.vocabulary import keys_of_model
from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec
from hotswap_airflow.workflow.text.document import read_document

ROOT = Path(__file__).parents[2]
FILES = ROOT / "tests" / "examples" / "files"
SHIPPED = Path(hotswap_airflow.__file__).parent / "workflow" / "schemas"
SHAPE_CODES = {"unknown-key", "wrong-type", "wrong-choice", "missing-key", "out-of-range"}
SCHEMAS = {kind: Draft202012Validator(schema_of(kind)) for kind in ("workflow", "site")}
GOOD = sorted([*FILES.glob("good/*.hotswap.*"), FILES / "good" / "site.yaml"])
BAD = [
    path
    for path in sorted(FILES.glob("bad/*.hotswap.yaml"))
    if (path.parent / path.name.replace(".hotswap.yaml", ".expected")).read_text().splitlines()[1] in SHAPE_CODES
]


def _data(raw: bytes, file: str = "x.hotswap.yaml") -> Any:
    return read_document(raw, file).data


def _errors(data: Any) -> list[str]:
    kind = "site" if data.get("hotswap") == "site/v1" else "workflow"
    return [f"{error.json_path}: {error.message}" for error in SCHEMAS[kind].iter_errors(data)]


def _workflow(text: str) -> Any:
    return _data(f"hotswap: workflow/v1\njobs:\n  fit: {{run: x}}\n{text}".encode())


def _job(text: str) -> Any:
    return _data(f"hotswap: workflow/v1\njobs:\n  fit: {text}".encode())


def _site(text: str) -> Any:
    return _data(f"hotswap: site/v1\nenvironments: {{dev: {{cluster: main}}}}\nclusters: {{main: {{{text}}}}}".encode())


@pytest.mark.parametrize("kind", ["workflow", "site"])
def test_the_shipped_schema_is_the_one_that_the_command_prints(kind: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    printed = capsys.readouterr().out
    assert printed == schema_text(kind)
    path = SHIPPED / f"{kind}.schema.json"
    assert path.read_text() == printed, f"run: hotswap schema {kind} > {path.relative_to(ROOT)}"
    Draft202012Validator.check_schema(json.loads(printed))


def test_the_page_of_every_key_is_the_one_that_is_made() -> None:
    how = "python -m hotswap_airflow.testing.reference_page > docs/reference.md"
    assert (ROOT / "docs" / "reference.md").read_text() == reference_page.page(), f"run: {how}"


@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.name)
def test_a_good_file_fits(path: Path) -> None:
    assert _errors(_data(path.read_bytes(), path.name)) == []


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.name)
def test_a_bad_shape_does_not_fit(path: Path) -> None:
    assert _errors(_data(path.read_bytes(), path.name))


def test_there_are_files_to_try() -> None:
    assert len(GOOD) > 20
    assert len(BAD) > 5


@pytest.mark.parametrize(
    "data",
    [
        _workflow("schedule: '@daily'"),
        _workflow("schedule: {cron: 0 6 * * *, timezone: Europe/Berlin}"),
        _workflow("start_date: 2026-01-31\nversion: 2\nowner: 0042"),
        _workflow("start_date: 2026-01-31T06:00:00+01:00"),
        _workflow("params: {a: 1, b: text, c: true, d: null, e: {default: [1], items: {type: integer}}, f: {enum: [1]}}"),
        _workflow("secrets: {db: {connection: lab, field: extra.token}, key: {variable: k}}"),
        _workflow("tags: null\ndefaults: null\nbudget: null\nenvironments: null\ndeploy: null"),
        _workflow("environments: {dev: null, prod: {jobs: {fit: null}, budget: {per: day}, params: {a: null}}}"),
        _workflow("software: {env: {python: {lock: uv.lock, version: 3.11}}}"),
        _workflow("deploy: {rollback: {to: 1.4}, strategy: canary, metrics: [{name: 1, from: run.cost, direction: lower, tolerance: 5%, min_runs: 2}]}"),
        _workflow("templates: {gpu: {slurm: {gpus: 1}}, none: null}"),
        _job("{run: x, needs: other}"),
        _job("{run: x, needs: [a, {job: b, when: done}]}"),
        _job("{run: x, needs: {a: failed, b: {when: done}, c: null}}"),
        _job("{run: x, extends: gpu, if: true, retries: null}"),
        _job("{run: x, inputs: {a: data.csv, b: {from: jobs.a.b}, c: 7}, outputs: {d: out, e: null, f: {type: json}}}"),
        _job("{run: x, slurm: {time: 90, mem: 4000, gpus: 'a100:2', nodes: 2-4, exclusive: user, account: 0042, qos: null}}"),
        _job("{run: x, slurm: {time: {from: params.t}, mem: {from: jobs.a.b}, nodes: {from: sweep.n}}}"),
        _job("{run: x, sweep: {over: {a: [1, b], c: {from: t.csv, column: 1}, d: {range: [1, 9]}}, tolerate: 10%}}"),
        _job("{uses: a.B, with: {sql: {from: params.a}, n: [1]}}"),
        _job("{run: x, burst: {to: sky}, retry: {on: [oom], escalate: {mem: {factor: 1.5, max: 64G}}}, env: {A: null, _b: 1}}"),
        _site("partitions: probe"),
        _site("partitions: {a: [{gpus: {a100: 2}}, {gpus: 2}], b: {mem: 8G, max_time: 1-12}}, poll: {min: 1s}"),
        _site("software: {build_on: login, retention: 30d}, prices: {currency: EUR, gpu_hour: {any: 1}}, slurm_cluster: main"),
    ],
)  # fmt: skip
def test_short_forms_and_nulls_fit(data: Any) -> None:
    assert _errors(data) == []
    model = SiteSpec if data["hotswap"] == "site/v1" else WorkflowSpec
    model.model_validate(data)


@pytest.mark.parametrize(
    "data",
    [
        _data(b"hotswap: workflow/v1"),
        _data(b"hotswap: workflow/v2\njobs: {a: {run: x}}"),
        _data(b"hotswap: workflow/v1\njobs: {}"),
        _data(b"hotswap: workflow/v1\njobs: {a: null}"),
        _data(b"hotswap: workflow/v1\njobs: {fit model: {run: x}}"),
        _workflow("name: hotswap-ours"),
        _workflow("timeout: 90"),
        _workflow("timeout: two hours"),
        _workflow("schedule: '@dayly'"),
        _workflow("start_date: 2026-01-31T06:00:00"),
        _workflow("max_active_runs: 0"),
        _workflow("params: {a: {type: text}}"),
        _workflow("params: {a: [1]}"),
        _workflow("secrets: {a: plain}"),
        _workflow("secrets: {a: {connection: lab, field: token}}"),
        _workflow("environments: {dev: {name: other}}"),
        _workflow("environments: {dev: {jobs: {fit: {slurm: {output: x}}}}}"),
        _workflow("deploy: {steps: [{runs: 5}]}"),
        _workflow("deploy: {steps: [{weight: 101}]}"),
        _workflow("budget: {currency: EUR}"),
        _workflow("budget: {amount: 1, currency: EURO}"),
        _workflow("notify: [{on: [], to: a@b}]"),
        _job("{run: x, slurm: {cpus_per_task: 2}}"),
        _job("{run: x, slurm: {job-name: x}}"),
        _job("{run: x, slurm: {ntasks: 0}}"),
        _job("{run: x, slurm: {time: '1:30'}}"),
        _job("{run: x, slurm: {time: '01:90:00'}}"),
        _job("{run: x, slurm: {mem: 4 gigabytes}}"),
        _job("{run: x, slurm: {partition: a b}}"),
        _job("{run: x, slurm: {time: {from: param.t}}}"),
        _job("{run: x, retries: 11}"),
        _job("{run: x, if: 7}"),
        _job("{run: x, needs: {a: {when: never}}}"),
        _job("{run: x, sweep: {over: {index: [1]}}}"),
        _job("{run: x, sweep: {over: {a: {linspace: [1, 2]}}}}"),
        _job("{run: x, env: {PARAM_A: 1}}"),
        _job("{run: x, outputs: {a: {path: a, publish: results}}}"),
        _job("{run: x, retry: {escalate: {mem: {factor: 1, max: 4G}}}}"),
        _job("{run: x, burst: {max_nodes: 2}}"),
        _site("partitions: none"),
        _site("defaults: {slurm: {wrap: x}}"),
        _site("prices: {cpu_hour: 1}"),
        _site("workdir: ~/runs"),
        _site("workdir: ''"),
        _site("connection: a b"),
        _site("partitions: {a: {nodes: 0}}"),
        _data(b"hotswap: site/v1\nenvironments: {}\nclusters: {a: {}}"),
    ],
)
def test_mistakes_do_not_fit(data: Any) -> None:
    assert _errors(data)


def _matches(schema: dict[str, Any], value: Any) -> bool:
    return Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize("text", ["", "1", "s", "1h30m", "2d", "30m1h", "90 s", "1-12", "1-12:30", "1-12:61", "0:00:01", "1:99:00", "1:30", "1w2d", "4x"])  # fmt: skip
def test_times_are_those_that_can_be_read(text: str) -> None:
    assert _matches(value_schemas.DURATION, text) is _reads(units.parse_duration, text)
    assert _matches(value_schemas.TIME_LIMIT, text) is _reads(units.parse_time, text)


@given(st.from_regex(re.compile(r"[0-9]{1,4} ?[KMGTkmgtx]?[Bb]?", re.ASCII), fullmatch=True))
def test_sizes_are_those_that_can_be_read(text: str) -> None:
    assert _matches(value_schemas.SIZE, text) is _reads(units.parse_size, text)


def _reads(parse: Any, text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def test_every_word_for_a_schedule_fits() -> None:
    assert all(_matches(value_schemas.CRON, word) for word in PRESETS)


def _maps(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield schema
        yield from (found for value in schema.values() for found in _maps(value))
    elif isinstance(schema, list):
        yield from (found for item in schema for found in _maps(item))


@pytest.mark.parametrize("kind", ["workflow", "site"])
def test_every_key_is_described_and_no_other_key_is_taken(kind: Any) -> None:
    schema = schema_of(kind)
    assert list(schema["properties"]) == keys_of_model(WorkflowSpec if kind == "workflow" else SiteSpec)
    for found in _maps(schema):
        assert found["additionalProperties"] is False
        assert [key for key, value in found["properties"].items() if not value.get("description")] == []
