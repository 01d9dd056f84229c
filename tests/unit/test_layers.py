"""The layers of a file: overlays of environments, templates, defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.workflow.checked import CheckedWorkflow, check_workflow
from hotswap_airflow.workflow.layers import merge_layers
from hotswap_airflow.workflow.plan import Plan, PlannedAxis, PlannedJob, make_plan
from hotswap_airflow.workflow.site_file import read_site
from hotswap_airflow.workflow.spec.references import Reference
from hotswap_airflow.workflow.text.document import read_document

SITE = read_site(
    b"""\
hotswap: site/v1
environments: {dev: {cluster: main}, prod: {cluster: main}}
clusters:
  main: {defaults: {slurm: {mem: 1G}, modules: [site], env: {SITE: s}, container: {image: docker://site}}}
projects: {climate: {account: climate, connection: theirs}}
policy: {max_active_runs: 8}
""",
    "site.yaml",
)


def _checked(text: str) -> CheckedWorkflow:
    return check_workflow(f"hotswap: workflow/v1\n{text}".encode(), "w.hotswap.yaml", DiskFolder(Path("nowhere")), SITE)


def _plan(text: str, environment: str = "dev") -> Plan:
    checked = _checked(text)
    assert checked.problems == ()
    return make_plan(checked, SITE, environment)


def _job(text: str, environment: str = "dev") -> PlannedJob:
    """The first job of a file."""
    return _plan(text, environment).jobs[0]


def _options(text: str, environment: str = "dev") -> dict[str, str | None]:
    return {option.name: option.text for option in _job(text, environment).options}


TEMPLATES = """\
templates:
  one: {slurm: {mem: 2G, time: 1h}, env: {A: one, B: one}, modules: [one]}
  two: {extends: one, slurm: {mem-per-cpu: 1G}, env: {A: two}}
  three: {env: {A: three, C: three}, run: "true"}
"""


def test_a_later_template_wins_and_the_job_over_all() -> None:
    job = _job(TEMPLATES + "jobs: {a: {extends: [two, three], env: {C: job}}}")
    assert dict(job.env) == {"SITE": "s", "A": "three", "B": "one", "C": "job"}
    assert {option.name: option.text for option in job.options} == {"mem-per-cpu": "1G", "time": "01:00:00"}
    assert (job.modules, job.text) == (("one",), "true")


def test_null_of_a_job_removes_what_templates_and_defaults_set() -> None:
    text = (
        TEMPLATES
        + "defaults: {slurm: {time: 2h}, env: {D: d}}\njobs: {a: {run: x, extends: one, slurm: {time: ~, mem: ~}, env: {A: ~, D: ~}, modules: ~, container: ~}}"
    )
    job = _job(text)
    assert job.options == ()
    assert dict(job.env) == {"SITE": "s", "B": "one"}
    assert (job.modules, job.container) == ((), None)


@pytest.mark.parametrize(
    ("lower", "upper", "key", "value"),
    [
        ("run: x, shell: python3", "script: s.sh", "text", None),
        ("script: s.sh", "run: x", "script", None),
        ("run: x, retry: {max: 5, on: [oom]}", "retries: 1", "retry.max_retries", 1),
        ("run: x, retries: 1", "retry: {max: 5}", "retry.max_retries", 5),
        ("run: x, slurm: {signal: USR2@10}", "checkpoint: {}", "options", {"mem": "1G", "signal": "B:USR1@120"}),
        ("run: x, checkpoint: {}", "slurm: {signal: USR2@10}", "options", {"mem": "1G", "signal": "USR2@10"}),
        ("run: x, software: s", "container: {image: i.sif}", "software", None),
        ("run: x, software: s", "container: {runtime: none}", "software", "s"),
        ("run: x, software: s, container: {runtime: none}", "container: {runtime: apptainer, image: i.sif}", "software", None),
        ("run: x, retry: {escalate: {mem: {max: 4G}}}", "retry: {escalate: {mem: {factor: 2}}}", "retry.mem.maximum", 4 << 20),
        ("run: x, sweep: {over: {i: [1], j: [2]}}", "sweep: {over: {j: ~}}", "sweep.axes", (PlannedAxis("i", (1,)),)),
        ("run: x, slurm: {mem-per-cpu: 2G}", "slurm: {mem: ~}", "options", {"mem-per-cpu": "2G"}),
        ("run: x, container: {image: i.sif}", "software: s", "container", None),
        ("run: x, inputs: {i: {from: environment}}", "inputs: {i: a}", "inputs.0.reference", None),
        ("run: x, inputs: {i: a}", "inputs: {i: {from: environment}}", "inputs.0.path", None),
        ("run: x, sweep: {over: {i: {linspace: [0, 1, 3]}}}", "sweep: {over: {i: [7]}}", "sweep.axes.0.values", (7,)),
        ("run: x, sweep: {over: {i: [7]}}", "sweep: {over: {i: {range: [1, 3]}}}", "sweep.axes.0.values", (1, 2)),
    ],
)  # fmt: skip
def test_what_excludes_each_other_in_two_layers_goes_by_the_later(
    tmp_path: Path, lower: str, upper: str, key: str, value: Any
) -> None:
    (tmp_path / "s.sh").write_text("echo\n")
    text = f"hotswap: workflow/v1\nsoftware: {{s: {{setup: s.sh}}}}\ntemplates: {{t: {{{lower}}}}}\njobs: {{a: {{extends: t, {upper}}}}}\n"
    checked = check_workflow(text.encode(), "w.hotswap.yaml", DiskFolder(tmp_path), SITE)
    assert checked.problems == ()
    found: Any = make_plan(checked, SITE, "dev").jobs[0]
    for step in key.split("."):
        found = found[int(step)] if step.isdecimal() else getattr(found, step)
    assert ({option.name: option.text for option in found} if key == "options" else found) == value


OVERLAID = """\
name: flow
version: 1.10
schedule: "0 6 * * *"
params: {n: {type: integer, default: 8, minimum: 1}, gone: 1, short: 2}
templates: {t: {slurm: {time: 1h}}}
jobs:
  a: {extends: t, run: x, needs: {b: {when: done}}, outputs: {o: a.txt}, slurm: {nodes: 2}}
  b: {run: y}
notify: [{on: [failed], to: a@b.c}]
environments:
  dev:
    schedule: ~
    params: {n: 3, gone: ~, short: {default: 5, maximum: 9}}
    templates: {t: {slurm: {time: 5m}}}
    jobs: {a: {needs: [b], outputs: {o: {path: b.txt}}, slurm: {nodes: ~}}}
    notify: []
"""


def test_an_overlay_changes_its_environment_alone() -> None:
    dev, prod = _plan(OVERLAID, "dev"), _plan(OVERLAID, "prod")
    assert (dev.schedule, prod.schedule and prod.schedule.cron) == (None, "0 6 * * *")
    assert {name: param.default for name, param in dev.params.items()} == {"n": 3, "short": 5}
    assert (dev.params["n"].minimum, dev.params["n"].type, dev.params["short"].maximum) == (1, "integer", 9)
    assert {name: param.default for name, param in prod.params.items()} == {"n": 8, "gone": 1, "short": 2}
    assert _options(OVERLAID, "dev") == {"mem": "1G", "time": "00:05:00"}
    assert _options(OVERLAID, "prod") == {"mem": "1G", "time": "01:00:00", "nodes": "2"}
    assert (dict(dev.jobs[0].needs), dict(prod.jobs[0].needs)) == ({"b": "success"}, {"b": "done"})
    assert [plan.jobs[0].outputs[0].output.path for plan in (dev, prod)] == ["b.txt", "a.txt"]
    assert (len(dev.notify), len(prod.notify), dev.version) == (0, 1, "1.10")


def test_a_schedule_of_another_kind_replaces_the_first() -> None:
    text = "schedule: {cron: '0 6 * * *', timezone: Europe/Zurich}\njobs: {a: {run: x}}\nenvironments: {dev: {schedule: {assets: ['x://y']}}}"
    schedule = _plan(text, "dev").schedule
    assert schedule is not None
    assert (schedule.assets, schedule.cron) == (["x://y"], None)


def test_a_problem_is_shown_once_at_its_own_place() -> None:
    text = "templates:\n  t: {run: 'echo $PARAM_GONE', slurm: {tiem: 1h}}\njobs:\n  a: {extends: t}\n  b: {extends: t}\nenvironments:\n  dev: {jobs: {a: {slurm: {nodes: x}}}}\n"
    found = [(p.line, p.column, p.code) for p in _checked(text).problems]
    assert found == [(3, 12, "param-unknown"), (3, 40, "unknown-key"), (8, 35, "wrong-type")]


def test_an_overlay_without_the_file_is_judged_too() -> None:
    text = "jobs: {a: {run: x}}\nenvironments:\n  dev: {name: other, hotswap: workflow/v1, environments: {}, jobs: {b: {run: y}}}\n  test: {}\n"
    found = [(p.line, p.column, p.code) for p in _checked(text).problems]
    assert found == [
        (4, 9, "misplaced-key"), (4, 22, "misplaced-key"), (4, 44, "misplaced-key"), (4, 69, "environment-new-job"),
        (5, 3, "environment-unknown"),
    ]  # fmt: skip


def test_a_project_fills_in_its_account_and_connection() -> None:
    plan = _plan("project: climate\nmax_active_runs: 3\njobs: {a: {run: x}, b: {run: y, slurm: {account: climate}}}")
    assert [{o.name: o.text for o in job.options}["account"] for job in plan.jobs] == ["climate", "climate"]
    assert ({job.target.connection for job in plan.jobs}, plan.max_active_runs) == ({"theirs"}, 3)
    assert _plan("jobs: {a: {run: x}}").max_active_runs == 8


def test_containers_merge_by_key() -> None:
    container = _job("defaults: {container: {binds: [/a]}}\njobs: {a: {run: x, container: {launch: srun}}}").container
    assert container is not None
    assert (container.image, container.binds) == ("docker://site", ("/a",))
    assert _job("jobs: {a: {run: x, container: {runtime: none, launch: srun}}}").launch == "srun"


_scalars = st.one_of(st.none(), st.integers(0, 9), st.sampled_from(["a", "b"]))
_maps = st.dictionaries(st.sampled_from("ABCD"), _scalars, max_size=4)


def _simple(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Rule 8 for a map of scalars."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    return {key: str(value) for key, value in merged.items() if value is not None}


@given(_maps, _maps, _maps, _maps)
def test_variables_merge_by_the_rule(
    defaults: dict[str, Any], lower: dict[str, Any], upper: dict[str, Any], job: dict[str, Any]
) -> None:
    data = {
        "hotswap": "workflow/v1",
        "defaults": {"env": {"SITE": None, **defaults}},
        "templates": {"t": {"env": lower}, "u": {"extends": "t", "env": upper}},
        "jobs": {"a": {"run": "x", "extends": "u", "env": job, "container": None}},
    }
    checked = check_workflow(json.dumps(data).encode(), "w.hotswap.json", DiskFolder(Path("nowhere")), SITE)
    assert checked.problems == ()
    assert dict(make_plan(checked, SITE, "dev").jobs[0].env) == _simple([defaults, lower, upper, job])


@given(_maps, _maps)
def test_an_overlay_of_null_takes_a_key_out_of_the_file(file: dict[str, Any], overlay: dict[str, Any]) -> None:
    data = {"jobs": {"a": {"env": file}}, "environments": {"dev": {"jobs": {"a": {"env": overlay}}}}}
    merged = merge_layers(read_document(json.dumps(data).encode(), "w.json"), "dev").document
    expected = {**file, **overlay}
    removed = {key for key, value in overlay.items() if value is None and key in file}
    assert merged.raw("jobs", "a", "env") == {k: v for k, v in expected.items() if k not in removed}


def test_a_reference_replaces_a_map() -> None:
    text = "params: {p: 1}\ntemplates: {t: {uses: a.B, with: {x: {a: 1}, y: {from: params.p}, z: 1}}}\njobs: {a: {extends: t, with: {x: {from: params.p}, y: {b: 2}, z: ~}}}"
    site = read_site(
        b"hotswap: site/v1\nenvironments: {dev: {cluster: m}}\nclusters: {m: {}}\npolicy: {operators: [a.B]}", "s"
    )
    checked = check_workflow(
        f"hotswap: workflow/v1\n{text}".encode(), "w.hotswap.yaml", DiskFolder(Path("nowhere")), site
    )
    assert checked.problems == ()
    assert make_plan(checked, site, "dev").jobs[0].arguments == {"x": Reference("param", "p"), "y": {"b": 2}}


def test_a_null_beside_an_alternative_counts_as_absent() -> None:
    text = "jobs: {a: {run: x, inputs: {i: {path: a, from: ~}}, outputs: {o: {path: ~}}}}\nsecrets: {s: {connection: lab, variable: ~}}\ndeploy: {strategy: progressive, steps: [{weight: 1, runs: ~, for: 2h}]}"
    assert [problem.code for problem in _checked(text).problems] == ["secret-not-allowed"]
