"""Mistakes in site files: place, code, remedy; and what the keys become."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import yaml

from hotswap_airflow.errors import Problem, SpecError
from hotswap_airflow.workflow.site_file import read_site
from hotswap_airflow.workflow.spec.site_spec import SiteSpec
from hotswap_airflow.workflow.spec.vocabulary import WORKFLOW, keys_of_model
from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec

WHOLE = """\
hotswap: site/v1
environments:
  dev: {cluster: main}
  prod: {cluster: main, approvals: 2, soak: 1d, freeze: [{cron: "0 0 20 12 *", for: 2w}]}
clusters:
  main:
    kind: slurm
    workdir: own
    connection: c
    monitor: m
    licenses: {solver: 2}
    retention: 30d
    poll: {min: 1s, usual: 5s, max: 30s}
    queue: near
    defaults: {slurm: {mem: 1G}, modules: [gcc], retries: 1, env: {A: 1}, container: {image: docker://x}}
    partitions:
      gpu: [{nodes: 1, gpus: {a100: 4}, features: [ib]}, {nodes: 2, gpus: 2, max_time: 1d, max_nodes: 2}]
      probe-not: {cpus: 4, mem: 8G}
    prices: {currency: EUR, cpu_hour: 0.02, gpu_hour: {any: 0.9, a100: 1.50}, mem_gb_hour: 0.002, storage: 0.03}
    software: {build_on: gpu, retention: 30d}
  sky: {partitions: probe, cloud: {provider: aws, region: eu, max_nodes: 8, max_cost: 200, idle: 10m}}
  here: {kind: local}
projects:
  a: {members: [ada], account: a, connection: ca, folders: [x], secrets: [s], budget: {amount: 5, thresholds: [50, 90]}}
  b: {members: {ada: maintainer, bob: viewer}}
policy: {operators: [a.B], max_jobs: 5, max_sweep: 9, max_active_runs: 2, max_retries: 0, images: [], require_project: true, secrets: [x]}
"""


def _without(text: str, *path: str | int, value: Any) -> str:
    data = yaml.safe_load(text)
    here = data
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=True)


def _problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        read_site(text.encode(), "s")
    return caught.value.problems


def test_every_key_is_read() -> None:
    site = read_site(WHOLE.encode(), "s")
    main = site.clusters["main"]
    assert (site.policy.max_retries, site.policy.images, site.projects["a"].account) == (0, [], "a")
    assert [shape.gpus for shape in main.limits.partitions["gpu"].shapes] == [4, 2]
    assert site.clusters["sky"].cloud is not None
    assert site.clusters["sky"].cloud.max_cost == Decimal(200)
    assert site.clusters["here"].is_local


@pytest.mark.parametrize(
    ("path", "value", "code", "remedy"),
    [
        (("environments", "prod", "approvals"), -1, "out-of-range", "0 or more"),
        (("environments", "prod", "soak"), "soon", "duration-invalid", "1d"),
        (("environments", "prod", "freeze"), [{"cron": "x", "for": "1d"}], "cron-invalid", "0 6 * * *"),
        (("environments", "prod", "freeze"), [{"cron": "0 0 1 1 *"}], "missing-key", "`for:`"),
        (("environments", "prod", "cluster"), "mian", "cluster-unknown", "main"),
        (("environments", "a b"), {"cluster": "main"}, "name-invalid", "a-b"),
        (("clusters", "auto"), {}, "name-invalid", "rename"),
        (("clusters", "main", "kind"), "pbs", "wrong-choice", "slurm"),
        (("clusters", "main", "monitr"), "m", "unknown-key", "monitor"),
        (("clusters", "here", "connection"), "c", "conflict", "remove"),
        (("clusters", "main", "software", "build_on"), "gpo", "partition-unknown", "gpu"),
        (("clusters", "main", "prices", "currency"), "Euro", "wrong-choice", "ISO 4217"),
        (("clusters", "main", "prices", "cpu_hour"), "free", "wrong-type", "a number"),
        (("clusters", "main", "prices", "gpu_hour"), 0.9, "wrong-type", "{KEY: VALUE}"),
        (("clusters", "main", "prices", "gpu_hour", "any"), -1, "out-of-range", "0 or more"),
        (("clusters", "sky", "cloud", "idle"), 10, "duration-invalid", "30m"),
        (("clusters", "sky", "cloud", "max_nodes"), 0, "out-of-range", "1 or more"),
        (("clusters", "main", "partitions", "gpu"), [{"features": "ib"}], "wrong-type", "[VALUE]"),
        (("clusters", "main", "partitions", "probe-not", "max_time"), True, "duration-invalid", "2d"),
        (("clusters", "main", "partitions", "probe-not", "max_time"), -1, "duration-invalid", "2d"),
        (("clusters", "main", "partitions", "probe-not", "mem"), True, "size-invalid", "8000M"),
        (("clusters", "main", "partitions", "probe-not", "mem"), -1, "size-invalid", "8000M"),
        (("clusters", "main", "software", "retention"), "0s", "out-of-range", "1s or more"),
        (("clusters", "main", "defaults", "slurm", "output"), "x", "slurm-key-reserved", "outputs"),
        (("clusters", "main", "max_nodes"), 3, "misplaced-key", "partitions"),
        (("projects", "b", "members", "bob"), "owner", "wrong-choice", "viewer"),
        (("projects", "a", "folders"), ["../x"], "wrong-type", "genomics"),
        (("projects", "a", "budget"), {"per": "week"}, "missing-key", "amount"),
        (("projects", "a", "budget", "thresholds"), [90, 50], "out-of-range", "rising"),
        (("policy", "max_jobs"), 0, "out-of-range", "1 or more"),
        (("policy", "operators"), "a.B", "wrong-type", "[VALUE]"),
        (("policy", "require_project"), "yes", "wrong-type", "true"),
        (("clusters", "main", "connection"), "a b", "slurm-value-unsafe", "without white space"),
        (("clusters", "main", "connection"), "", "wrong-type", "a text"),
        (("clusters", "main", "monitor"), "a\nb", "slurm-value-unsafe", "without white space"),
        (("clusters", "main", "queue"), "a\tb", "slurm-value-unsafe", "without white space"),
        (("clusters", "sky", "workdir"), "", "wrong-type", "a folder"),
        (("projects", "a", "account"), "a b", "slurm-value-unsafe", "without white space"),
        (("projects", "a", "account"), "a\x1bb", "slurm-value-unsafe", "without white space"),
        (("projects", "a", "account"), "a\n", "slurm-value-unsafe", "without white space"),
        (("projects", "a", "connection"), "a b", "slurm-value-unsafe", "without white space"),
        (("projects", "a", "secrets"), ["s t"], "slurm-value-unsafe", "without white space"),
        (("projects", "a", "secrets"), ["s", "m"], "conflict", "remove it"),
        (("projects", "a", "members"), ["bob", {"ada": "viewer"}], "wrong-type", "{NAME: viewer}"),
        (("projects", "a", "members"), [True], "wrong-type", "names alone"),
        (("policy", "secrets"), ["x y"], "slurm-value-unsafe", "without white space"),
        (("policy", "secrets"), ["c"], "conflict", "remove it"),
        (("policy", "secrets"), ["sky"], "conflict", "remove it"),
        (("policy", "max_retries"), 11, "out-of-range", "10 or less"),
        (("clusters", "main", "partitions", "probe-not", "nodes"), 0, "out-of-range", "1 or more"),
        (("clusters", "main", "partitions", "probe-not", "cpus"), 0, "out-of-range", "1 or more"),
        (("clusters", "main", "partitions", "probe-not", "mem"), 0, "out-of-range", "1 or more"),
        (("clusters", "main", "partitions", "probe-not", "max_nodes"), 0, "out-of-range", "1 or more"),
        (("clusters", "main", "partitions", "probe-not", "max_time"), 0, "out-of-range", "1m or more"),
        (("clusters", "main", "partitions", "probe-not"), [], "missing-key", "nodes: 1"),
        (("clusters", "main", "partitions", "a b"), {}, "name-invalid", "`sinfo`"),
        (("clusters", "main", "partitions", "a,b"), {}, "name-invalid", "`sinfo`"),
        (("clusters", "main", "partitions", "probe-not", "gpus"), {"a 100": 1}, "name-invalid", "`sinfo -o %G`"),
        (("clusters", "main", "partitions", "gpu", 0, "gpus"), {"a 100": 1}, "name-invalid", "`sinfo -o %G`"),
        (("clusters", "sky", "partitions"), "prob", "wrong-choice", "partitions: probe"),
        (("clusters", "main", "defaults", "slurm", "partition"), "gpo", "partition-unknown", "gpu"),
        (("clusters", "main", "defaults", "slurm"), {"partition": "gpu", "time": "2d"}, "partition-limit", "ask for 1d"),
        (("clusters", "main", "defaults", "slurm"), {"partition": "probe-not", "mem": "9G"}, "node-limit", "ask for 8G"),
        (("clusters", "main", "defaults", "slurm"), {"partition": "probe-not", "cpus-per-task": 5}, "node-limit", "ask for 4"),
        (("clusters", "main", "defaults", "slurm", "licenses"), "solvr", "license-unknown", "solver"),
        (("clusters", "main", "defaults", "container"), {"binds": ["/a"]}, "missing-key", "runtime: none"),
        (("clusters", "main", "defaults", "container", "image"), "a b", "slurm-value-unsafe", "alone"),
        (("clusters", "main", "defaults", "container", "binds"), ["a"], "wrong-type", "/SRC:/DST"),
        (("clusters", "main", "defaults", "container", "binds"), ["/a b"], "slurm-value-unsafe", "SRC:DST"),
        (("clusters", "main", "defaults", "modules"), ["gcc 12"], "slurm-value-unsafe", "one name"),
        (("clusters", "here", "defaults"), {"software": "x"}, "software-unknown", "remove it"),
        (("clusters", "main", "defaults", "cluster"), "sky", "misplaced-key", "environments.NAME"),
        (("policy", "max_cost"), 5, "misplaced-key", "cloud"),
    ],
)  # fmt: skip
def test_mistakes(path: tuple[str | int, ...], value: Any, code: str, remedy: str) -> None:
    (problem,) = _problems(_without(WHOLE, *path, value=value))
    assert problem.code == code, problem
    assert remedy in problem.remedy, problem


@pytest.mark.parametrize("key", ["jobs", "name", "schedule"])
def test_a_key_of_workflows_belongs_into_one(key: str) -> None:
    (problem,) = _problems(f"{WHOLE}{key}: x\n")
    assert (problem.code, problem.remedy) == (
        "misplaced-key",
        "put it into a file that begins with `hotswap: workflow/v1`",
    )


def test_every_key_of_site_files_alone_is_misplaced_in_a_workflow() -> None:
    for key in keys_of_model(SiteSpec):
        if key not in keys_of_model(WorkflowSpec):
            code, _, remedy = WORKFLOW.judge((), key)
            assert (code, "site/v1" in remedy) == ("misplaced-key", True), key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("environments: {spot: }\nclusters: {c: {}}", "`spot` is empty, but must be a map"),
        ("environments: {e: {cluster: c}}\nclusters: {c: {partitions: {gpu: }}}", "`gpu` is empty, but must be a list"),
        ("environments: {e: {cluster: c}}\nclusters: {c: {kind: ''}}", "`kind` cannot be empty"),
        (
            "environments: {e: {cluster: c}}\nclusters: {c: {}}\nprojects: {p: {members: {ada: }}}",
            "`ada` cannot be empty",
        ),
        ("environments:\nclusters: {c: {}}", "the file lacks `environments`"),
        ("environments: {e: {cluster: }}\nclusters: {c: {}}", "environments.e lacks `cluster`"),
    ],
)
def test_a_value_that_is_left_out_is_called_empty(text: str, message: str) -> None:
    assert message in [problem.message for problem in _problems(f"hotswap: site/v1\n{text}\n")]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("clusters", "main", "defaults", "container"), {"runtime": "none"}),
        (("clusters", "main", "defaults", "container", "image"), "library://not-in-policy"),
        (("clusters", "main", "defaults", "slurm"), {"partition": "gpu", "time": "1d", "gpus": 8, "nodes": 2}),
        (("clusters", "main", "partitions", "probe-not", "gpus"), 0),
        (("clusters", "sky", "defaults"), {"slurm": {"partition": "who-knows"}}),
        (("clusters", "here", "defaults"), {"slurm": {"partition": "is-ignored"}}),
        (("projects", "a", "account"), 42),
        (("policy", "secrets"), ["here"]),
    ],
)
def test_no_mistakes(path: tuple[str | int, ...], value: Any) -> None:
    read_site(_without(WHOLE, *path, value=value).encode(), "s")


def test_a_limit_that_is_wrong_itself_makes_no_second_problem_of_the_defaults() -> None:
    text = _without(WHOLE, "clusters", "main", "defaults", "slurm", value={"partition": "gpu", "licenses": "solver"})
    for path in (("partitions", "gpu"), ("licenses", "solver")):
        (problem,) = _problems(_without(text, "clusters", "main", *path, value="x"))
        assert problem.code == "wrong-type"


def test_places_of_mistakes_in_the_defaults_of_a_cluster() -> None:
    text = "hotswap: site/v1\nenvironments: {d: {cluster: c}}\nclusters:\n  c:\n    defaults: {modules: [a b], cluster: c, slurm: {partition: x}}\n    partitions: {p: {}}\npolicy: {secrets: [a, c]}\n"
    places = [(problem.line, problem.column, problem.code) for problem in _problems(text)]
    assert places == [
        (5, 26, "slurm-value-unsafe"), (5, 32, "misplaced-key"), (5, 63, "partition-unknown"), (7, 23, "conflict"),
    ]  # fmt: skip
