from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.errors import JobFailed
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.slurm.causes import NOT_THE_USERS
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.retry import Retry
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.checks.files import MAX_FILES, Pack, leads_out, matches, pack_of
from hotswap_airflow.workflow.job_request import make_job_request
from hotswap_airflow.workflow.plan import Plan, make_plan
from hotswap_airflow.workflow.run_values import RunValues
from hotswap_airflow.workflow.site import implied_site
from hotswap_airflow.workflow.site_file import read_site
from hotswap_airflow.workflow.spec.references import parse_reference

SITE = """\
hotswap: site/v1
environments: {dev: {cluster: main}, prod: {cluster: big}}
clusters:
  main: {defaults: {slurm: {partition: batch, mem: 1G}, env: {LANG: C, DROP: x}}, connection: c}
  big: {}
"""
FLOW = """\
hotswap: workflow/v1
params: {n: {type: integer, default: 2}, label: a}
defaults: {slurm: {time: 5m}, env: {TWO: 2}}
jobs:
  make:
    outputs: {points: ./out//points.tsv, count: {type: integer}, where: {path: d, type: dir}}
    slurm: {nodes: {from: params.n}, mem-per-cpu: 2G}
    run: echo
  use:
    needs: {make: done}
    env: {DROP: ~}
    inputs: {p: {from: jobs.make.points}, c: {from: jobs.make.count}, e: {from: environment}, s: {from: jobs.make.state}, f: x/y}
    slurm: {mem: {from: jobs.make.count}, partition: ~}
    script: go.sh
"""


def _plan(tmp_path: Path, text: str = FLOW, environment: str = "dev") -> Plan:
    (tmp_path / "go.sh").write_text("echo go\n")
    checked = check_workflow(
        text.encode(), "flow.hotswap.yaml", DiskFolder(tmp_path), read_site(SITE.encode(), "s.yaml")
    )
    assert checked.context is not None, checked.problems
    return make_plan(checked, read_site(SITE.encode(), "s.yaml"), environment)


def test_layers_are_merged(tmp_path: Path) -> None:
    make, use = _plan(tmp_path).jobs
    assert {o.name: o.text for o in make.options} == {
        "partition": "batch", "time": "00:05:00", "nodes": None, "mem-per-cpu": "2G",
    }  # fmt: skip
    assert [option.name for option in use.options] == ["mem", "time"]
    assert dict(make.env) == {"LANG": "C", "DROP": "x", "TWO": "2"}
    assert dict(use.env) == {"LANG": "C", "TWO": "2"}
    assert make.outputs[0].output.path == "out/points.tsv"
    assert use.needs == {"make": "done"}
    assert [file.path for file in _plan(tmp_path).pack.files] == ["go.sh"]
    assert _plan(tmp_path, environment="prod").job("make").cluster == "big"
    with pytest.raises(KeyError):
        _plan(tmp_path).job("gone")


@pytest.mark.parametrize(
    ("site", "defaults", "job", "most"),
    [
        ("", "", "", None), ("3", "", "", 3), ("3", "4", "", 4), ("3", "4", "retries: 5", 5), ("3", "~", "", None),
        ("3", "4", "retries: ~", None), ("3", "4", "retry: ~", None), ("3", "", "retry: {max: 1}", 1),
    ],
)  # fmt: skip
def test_the_nearest_word_on_retries_counts_also_where_it_is_null(
    tmp_path: Path, site: str, defaults: str, job: str, most: int | None
) -> None:
    clusters = f"clusters: {{main: {{defaults: {{retries: {site}}}}}}}" if site else "clusters: {main: {}}"
    known = read_site(f"hotswap: site/v1\nenvironments: {{dev: {{cluster: main}}}}\n{clusters}\n".encode(), "s.yaml")
    head = f"hotswap: workflow/v1\ndefaults: {{retries: {defaults}}}\n" if defaults else "hotswap: workflow/v1\n"
    text = f"{head}jobs: {{a: {{run: x, {job}}}}}\n"
    checked = check_workflow(text.encode(), "f.hotswap.yaml", DiskFolder(tmp_path), known)
    assert checked.context is not None, checked.problems
    retry = make_plan(checked, known, "dev").job("a").retry
    assert retry == (Retry() if most is None else Retry(frozenset({*NOT_THE_USERS, "failed"}), most))


def test_null_instead_of_a_map_takes_away_all_that_the_layers_below_say(tmp_path: Path) -> None:
    text = (
        "hotswap: workflow/v1\ndefaults: {slurm: {time: 1h}, env: {B: y}}\n"
        "jobs: {a: {run: x, slurm: ~, env: ~}, b: {run: x, slurm: {}, env: {}}}\n"
    )
    first, second = _plan(tmp_path, text).jobs
    assert (first.options, first.env) == ((), ())
    assert [option.name for option in second.options] == ["partition", "mem", "time"]
    assert dict(second.env) == {"LANG": "C", "DROP": "x", "B": "y"}
    text = "hotswap: workflow/v1\ndefaults: {slurm: ~}\njobs: {a: {run: x, checkpoint: {}, slurm: {mem: 2G}}}\n"
    assert {option.name: option.text for option in _plan(tmp_path, text).job("a").options} == {
        "mem": "2G", "signal": "B:USR1@120",
    }  # fmt: skip


def test_a_job_that_names_no_cluster_by_null_runs_where_its_environment_does(tmp_path: Path) -> None:
    text = "hotswap: workflow/v1\ndefaults: {cluster: big}\njobs: {a: {run: x, cluster: ~}, b: {run: x}}\n"
    assert [job.cluster for job in _plan(tmp_path, text).jobs] == ["main", "big"]


def test_the_version_changes_with_what_a_run_does_and_with_nothing_else(tmp_path: Path) -> None:
    first = _plan(tmp_path).digest
    assert _plan(tmp_path, FLOW + "# a remark\ndescription: words\n").digest == first
    assert _plan(tmp_path, FLOW.replace("run: echo", "run: echo 1")).digest != first
    assert _plan(tmp_path, environment="prod").digest != first


def _key(plan: Plan, job: str) -> JobKey:
    return JobKey(RunKey("i", plan.workflow, plan.environment, "r", "n"), job)


def test_a_job_gets_the_values_of_its_run(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    values = RunValues(
        "r", {"n": 3, "label": "x'"}, {"make": {"points": "/w/out/points.tsv", "count": 7}}, {"make": "success"}, "2026"
    )
    made = make_job_request(plan, plan.job("make"), _key(plan, "make"), values)
    assert ("nodes", "3") in made.options
    assert dict(made.variables)["PARAM_LABEL"] == "x'"
    used = make_job_request(plan, plan.job("use"), _key(plan, "use"), values)
    assert [(i.name, i.path) for i in used.inputs] == [("p", "/w/out/points.tsv"), ("f", "x/y")]
    told = dict(used.variables)
    assert (told["INPUT_C"], told["INPUT_E"], told["INPUT_S"], told["HOTSWAP_DATE"]) == ("7", "dev", "success", "2026")
    assert ("mem", "7M") in used.options


@pytest.mark.parametrize("value", ["a b", [1], True, {"x": 1}])
def test_a_value_that_fits_no_option_fails_the_job_with_words(tmp_path: Path, value: object) -> None:
    plan = _plan(tmp_path)
    outputs = {"make": {"points": "/p", "count": value}}
    with pytest.raises(JobFailed, match=r"slurm\.mem of job use"):
        make_job_request(plan, plan.job("use"), _key(plan, "use"), RunValues("r", {}, outputs))


def test_a_value_that_no_program_can_be_given_fails_the_job_with_words(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    values = RunValues("r", {"label": "é" * (64 << 10)})
    with pytest.raises(JobFailed, match=r"\$PARAM_LABEL of job make would have 131,084 bytes.*with a `path`"):
        make_job_request(plan, plan.job("make"), _key(plan, "make"), values)


def test_values_of_a_job_that_did_not_succeed_are_null(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    with pytest.raises(JobFailed, match="input p of job use has no value"):
        make_job_request(plan, plan.job("use"), _key(plan, "use"), RunValues("r"))
    request = make_job_request(plan, plan.job("make"), _key(plan, "make"), RunValues("r"))
    assert dict(request.options).keys() == {"partition", "time", "mem-per-cpu"}


@pytest.mark.parametrize("text", ["params.", "jobs.a", "jobs.a.b.c", "env", "params.a b", ""])
def test_no_reference(text: str) -> None:
    assert parse_reference(text) is None


def _folder(tmp_path: Path) -> DiskFolder:
    for name in (
        "src/a.py", "src/deep/b.py", "src/.hidden/c.py", "src/__pycache__/d.pyc", "src/.e", "data.csv", "x1.txt", "x2.txt",
        "y1.txt", "y[1].txt",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "inside").symlink_to("data.csv")
    (tmp_path / "outside").symlink_to("/etc/hostname")
    (tmp_path / "gone").symlink_to("nowhere")
    return DiskFolder(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("src", ["src/a.py", "src/deep/b.py"]), ("./src/", ["src/a.py", "src/deep/b.py"]),
        ("src/**", ["src/a.py", "src/deep/b.py"]), ("**/*.py", ["src/a.py", "src/deep/b.py"]),
        ("src/*", ["src/a.py"]), ("src/.*", ["src/.e"]), ("src/.hidden/*", ["src/.hidden/c.py"]),
        ("src/__pycache__/**", ["src/__pycache__/d.pyc"]), ("*.csv", ["data.csv"]), ("x[12].txt", ["x1.txt", "x2.txt"]),
        ("x[!1].txt", ["x2.txt"]), ("x?.txt", ["x1.txt", "x2.txt"]), ("inside", ["inside"]), ("outside", []), ("gone", []),
        ("none/**", []), ("src/a.py", ["src/a.py"]), ("x[", []), ("y[1].txt", ["y[1].txt"]), ("y[1]*", ["y1.txt"]),
    ],
)  # fmt: skip
def test_patterns(tmp_path: Path, pattern: str, found: list[str]) -> None:
    assert [entry.path for entry in matches(_folder(tmp_path), pattern)] == found


def test_a_folder_that_leads_out_is_empty(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "w" / "up").symlink_to("..")
    folder = DiskFolder(tmp_path / "w")
    assert list(folder.walk("..", None)) == []
    assert folder.entry("up/secret.txt") is None
    assert folder.entry("../secret.txt") is None
    assert folder.entry("a\x00b") is None


def test_a_pack_is_its_content(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    pack = pack_of(folder, ["src", "src/a.py", "data.csv"])
    assert [file.path for file in pack.files] == ["data.csv", "src/a.py", "src/deep/b.py"]
    (tmp_path / "src/a.py").chmod(0o755)
    assert pack_of(folder, ["src", "data.csv"]).digest != pack.digest
    assert Pack().digest == ""


def test_too_many_files_are_shown_at_the_item_that_passes_the_limit(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 1):
        (tmp_path / f"f{number}").touch()
    text = "hotswap: workflow/v1\nfiles: [f1, 'f*', f2]\njobs: {a: {run: x}}\n"
    checked = check_workflow(text.encode(), "w.hotswap.yaml", DiskFolder(tmp_path))
    assert [(p.line, p.column, p.code) for p in checked.problems] == [(2, 13, "files-too-large")]


@given(st.lists(st.sampled_from(["a", "..", ".", "b", ""]), min_size=1, max_size=6))
def test_a_path_leads_out_when_it_climbs_above_its_start(parts: list[str]) -> None:
    depth, lowest = 0, 0
    for part in parts:
        depth += {"a": 1, "b": 1, "..": -1}.get(part, 0)
        lowest = min(lowest, depth)
    path = "/".join(parts)
    if not path.startswith("/"):
        assert leads_out(path) == (depth < 0 or (lowest < 0 and _net_climbs(parts)))


def _net_climbs(parts: list[str]) -> bool:
    kept: list[str] = []
    for part in parts:
        if part == ".." and kept and kept[-1] != "..":
            kept.pop()
        elif part not in {".", ""}:
            kept.append(part)
    return bool(kept) and kept[0] == ".."


def test_the_site_nobody_wrote() -> None:
    site = implied_site("ssh_main")
    assert site.cluster_of(site.default_environment).target.connection == "ssh_main"


def test_a_plan_is_json_at_heart(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    assert json.loads(json.dumps({name: p.model_dump(mode="json") for name, p in plan.params.items()}))
    assert textwrap.shorten(plan.digest, 12) == plan.digest
