"""What a site allows, and what belongs together in jobs and releases: place, code, remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.site_file import read_site

SITE = """\
hotswap: site/v1
environments: {dev: {cluster: main}}
clusters:
  main: {connection: slurm_main, monitor: eye, partitions: {p: {nodes: 2, cpus: 4, mem: 8G}}}
  cloud: {defaults: {slurm: {partition: spot}}, partitions: {spot: {nodes: 4, cpus: 2, mem: 4G, max_time: 1h}}, cloud: {provider: aws, max_nodes: 2, max_cost: 10}}
projects: {genomics: {account: genes, secrets: [genes_key]}, other: {}}
policy:
  operators: [a.b.GoodOperator]
  secrets: [lab]
  images: ["docker://", /images/]
  max_jobs: 2
  max_sweep: 10
  max_active_runs: 4
  max_retries: 3
"""
BODY = "jobs: {a: {run: x}}\n"


def _found(text: str, site: str = SITE) -> list[str]:
    checked = check_workflow(
        f"hotswap: workflow/v1\n{text}".encode(),
        "w.hotswap.yaml",
        DiskFolder(Path("nowhere")),
        read_site(site.encode(), "s"),
    )
    return [str(problem).removeprefix("w.hotswap.yaml:") for problem in checked.problems]


@pytest.mark.parametrize(
    ("text", "begins", "remedy"),
    [
        ("project: genomic\n" + BODY, "2:10: project-unknown", "genomics"),
        ("max_active_runs: 5\n" + BODY, "2:18: policy-limit", "4 or less"),
        ("jobs: {a: {run: x}, b: {run: x}, c: {run: x}}", "2:1: policy-limit", "split"),
        ("jobs: {a: {run: x, retries: 4}}", "2:29: policy-limit", "3 or less"),
        ("jobs: {a: {run: x, retry: {max: 4}}}", "2:33: policy-limit", "3 or less"),
        ("defaults: {retries: 9}\n" + BODY, "2:21: policy-limit", "3 or less"),
        ("jobs: {a: {run: x, sweep: {over: {i: {range: [0, 11]}}}}}", "2:20: sweep-too-large", "split"),
        ("jobs: {a: {run: x, container: {image: library://x}}}", "2:39: policy-limit", "docker://"),
        ("project: genomics\ndefaults: {slurm: {account: mine}}\n" + BODY, "3:29: policy-limit", "filled in"),
        ("project: genomics\nparams: {p: a}\njobs: {a: {run: x, slurm: {account: {from: params.p}}}}", "4:37: policy-limit", "filled in"),
        ("secrets: {s: {connection: eye}}\n" + BODY, "2:27: secret-not-allowed", "policy.secrets"),
        ("secrets: {s: {connection: slurm_main}}\n" + BODY, "2:27: secret-not-allowed", "policy.secrets"),
        ("secrets: {s: {variable: genes_key}}\n" + BODY, "2:25: secret-not-allowed", "policy.secrets"),
        ("secrets: {s: {connection: lab, variable: lab}}\n" + BODY, "2:32: conflict", "keep one"),
        ("secrets: {s: {field: login}}\n" + BODY, "2:11: missing-key", "connection"),
        ("secrets: {s: {}}\n" + BODY, "2:11: missing-key", "connection"),
        ("secrets: {s: {connection: lab, field: pass}}\n" + BODY, "2:39: wrong-choice", "password"),
        ("secrets: {s: {variable: lab, field: login}}\n" + BODY, "2:30: conflict", "remove"),
        ("secrets: {s: [lab]}\n" + BODY, "2:14: secret-plaintext", "connection"),
        ("jobs: {a: {uses: a.b.OtherOperator}}", "2:18: operator-not-allowed", "GoodOperator"),
        ("jobs: {a: {uses: a.b.GoodOperator, with: {my_conn_id: eye}}}", "2:55: secret-not-allowed", "policy.secrets"),
        ("params: {p: lab}\njobs: {a: {uses: a.b.GoodOperator, with: {conn_id: {from: params.p}}}}", "3:52: secret-not-allowed", "name a connection itself"),
        ("jobs: {a: {uses: a.b.GoodOperator, with: {x: [{from: params.p}]}}}", "2:54: param-unknown", "declare"),
        ("jobs: {a: {run: x, with: {a: 1}}}", "2:20: conflict", "env"),
        ("jobs: {a: {uses: a.b.GoodOperator, slurm: {mem: 1G}}}", "2:36: conflict", "remove"),
        ("jobs: {a: {run: x, shell: \"a 'b\"}}", "2:27: slurm-value-unsafe", "quote"),
        ("jobs: {a: {run: x, modules: [gcc 12]}}", "2:30: slurm-value-unsafe", "one name"),
        ('defaults: {modules: [a, "b\\nc"]}\n' + BODY, "2:25: slurm-value-unsafe", "one name"),
        ("jobs: {a: {run: x, container: {image: /images/i, binds: [a:b]}}}", "2:58: wrong-type", "/SRC:/DST"),
        ("jobs: {a: {run: x, container: {image: /images/i, binds: ['/a b']}}}", "2:58: slurm-value-unsafe", "SRC:DST"),
        ("jobs: {a: {run: x, container: {binds: [/a]}}}", "2:20: missing-key", "docker://NAME"),
        ("defaults: {container: {image: /evil, runtime: none}}\njobs: {a: {run: x, container: {runtime: apptainer}}}", "2:31: policy-limit", "docker://"),
        ('jobs: {a: {run: x, container: {image: "docker://x\\ny"}}}', "2:39: slurm-value-unsafe", "alone"),
        ("jobs: {a: {run: x, env: {UID: 5}}}", "2:26: name-invalid", "MY_UID"),
        ("jobs: {a: {run: x, outputs: {o: {path: a, asset: 'airflow://x'}}}}", "2:50: wrong-type", "hotswap://"),
        ("schedule: {assets: ['']}\n" + BODY, "2:21: wrong-type", "hotswap://"),
        ("defaults: {container: {launch: srun}}\n" + BODY, "2:12: missing-key", "docker://NAME"),
        ("jobs: {a: {run: x, burst: {to: main}}}", "2:32: burst-target", "cloud"),
        ("jobs: {a: {run: x, burst: {to: cloud, max_nodes: 3}}}", "2:50: policy-limit", "2 or less"),
        ("jobs: {a: {run: x, burst: {to: cloud, max_cost: 10.5}}}", "2:49: policy-limit", "10 or less"),
        ("jobs: {a: {run: x, burst: {to: cloud}, slurm: {cpus-per-task: 3}}}", "2:63: node-limit", ""),
        ("jobs: {a: {run: x, burst: {to: cloud}, slurm: {time: 2h}}}", "2:54: partition-limit", ""),
        ("jobs: {a: {run: x, burst: {to: cloud, when: {pending: 0s}}}}", "2:55: out-of-range", "1s or more"),
        ("jobs: {a: {run: x, retry: {escalate: {time: {factor: 2, max: true}}}}}", "2:62: duration-invalid", "2d"),
        ("jobs: {a: {run: x, retry: {escalate: {time: {factor: 2, max: -5}}}}}", "2:62: duration-invalid", "2d"),
        ("jobs: {a: {run: x, retry: {escalate: {time: {factor: 2, max: 0}}}}}", "2:62: out-of-range", "1m or more"),
        ("jobs: {a: {run: x, retry: {escalate: {mem: {factor: 2, max: true}}}}}", "2:61: size-invalid", "8000M"),
        ("jobs: {a: {run: x, retry: {escalate: {mem: {factor: 2, max: 0}}}}}", "2:61: out-of-range", "1 or more"),
        ("jobs: {a: {run: x, outputs: {o: {path: a, publish: rel}}}}", "2:52: wrong-type", "/shared"),
        ("jobs: {a: {run: x, outputs: {o: {path: a, publish: '/a/{user}'}}}}", "2:52: wrong-type", "{workflow}"),
        ("jobs: {a: {run: x, outputs: {o: {type: json, publish: /a}}}}", "2:46: conflict", "`path`"),
        ("software: {s: {}}\n" + BODY, "2:12: missing-key", "`setup`"),
        ("software: {s: {python: {}}}\n" + BODY, "2:16: missing-key", "`lock`"),
        ("software: {s: {setup: gone.sh}}\n" + BODY, "2:23: software-source", "beside"),
        ("software: {s: {conda: {file: ../e.yaml}}}\n" + BODY, "2:30: software-source", "folder"),
        ("software: {s: {setup: gone.sh, files: [x]}}\n" + BODY, "2:23: software-source", "beside"),
        ("jobs: {a: {run: x, slurm: {nodes: {from: environment, to: 1}}}}", "2:55: unknown-key", "remove"),
        ("jobs: {a: {run: x, software: t}}", "2:30: software-unknown", "declare"),
    ],
)  # fmt: skip
def test_what_the_site_or_the_job_does_not_allow(text: str, begins: str, remedy: str) -> None:
    first = _found(text)[0]
    assert first.startswith(begins)
    assert remedy in first.partition("; ")[2]


def test_what_the_site_must_allow_is_refused_without_a_site() -> None:
    text = b"hotswap: workflow/v1\nsecrets: {s: {connection: lab}}\njobs: {a: {uses: a.b.GoodOperator}}\n"
    checked = check_workflow(text, "w.hotswap.yaml", DiskFolder(Path("nowhere")))
    assert [problem.code for problem in checked.problems] == ["secret-not-allowed", "operator-not-allowed"]


def test_a_site_may_ask_every_file_for_its_project() -> None:
    site = SITE.replace("  max_jobs: 2", "  max_jobs: 2\n  require_project: true")
    (found,) = _found(BODY, site)
    assert found.startswith("1:1: project-unknown: ")
    assert _found("project: other\n" + BODY, site) == []


def test_a_project_may_be_for_the_files_of_some_folders_alone() -> None:
    site = read_site(SITE.replace("other: {}", "other: {folders: [lab/other]}").encode(), "s")
    text = f"hotswap: workflow/v1\nproject: other\n{BODY}".encode()
    for file, is_served, codes in (
        ("lab/other/deep/w.hotswap.yaml", True, []), ("lab/otherwise/w.hotswap.yaml", True, ["policy-limit"]),
        ("w.hotswap.yaml", True, ["policy-limit"]), ("w.hotswap.yaml", False, []),
    ):  # fmt: skip
        checked = check_workflow(text, file, DiskFolder(Path("nowhere")), site, is_served=is_served)
        assert [problem.code for problem in checked.problems] == codes


DEPLOY = "jobs: {a: {run: x, outputs: {v: {type: number}}}}\nparams: {n: 1}\ndeploy:\n  "


@pytest.mark.parametrize(
    ("deploy", "begins", "remedy"),
    [
        ("strategy: canary\n  steps: [{weight: 5, runs: 1}]", "4:1: missing-key", "`metrics:`"),
        ("strategy: progressive", "4:1: missing-key", "`steps:`"),
        ("strategy: direct\n  steps: [{weight: 5, runs: 1}]", "6:3: conflict", "canary"),
        ("strategy: progressive\n  steps: [{weight: 0, runs: 1}]", "6:20: deploy-weights", "1 to 100"),
        ("strategy: progressive\n  steps: [{weight: 5, runs: 1, for: 2h}]", "6:32: conflict", "keep one"),
        ("strategy: progressive\n  steps: [{weight: 5}]", "6:11: missing-key", "runs: 5"),
        ("strategy: progressive\n  steps: [{weight: 5, runs: 0}]", "6:29: out-of-range", "1 or more"),
        ("strategy: progressive\n  steps: [{weight: 5, runs: 1}, {weight: 5, runs: 1}]", "6:42: deploy-weights", "rising"),
        ("smoke: {jobs: [b]}", "5:18: needs-unknown", "a"),
        ("smoke: {params: {m: 1}}", "5:20: param-unknown", "n"),
        ("smoke: {params: {n: x}}", "5:23: param-default", "fits"),
        ("keep: 0", "5:9: out-of-range", "1 or more"),
        ("rollback: {on: [never]}", "5:19: wrong-choice", "use one of"),
        ("rollback: {to: 1.x y}", "5:18: rollback-target", "previous"),
    ],
)  # fmt: skip
def test_mistakes_in_deploy(deploy: str, begins: str, remedy: str) -> None:
    (found,) = _found(DEPLOY + deploy)
    assert found.startswith(begins)
    assert remedy in found.partition("; ")[2]


@pytest.mark.parametrize(
    ("metric", "begins"),
    [
        ("from: jobs.a.w, direction: lower, min_runs: 2", "8:23: output-unknown"),
        ("from: jobs.b.v, direction: lower, min_runs: 2", "8:23: output-unknown"),
        ("from: run.money, direction: lower, min_runs: 2", "8:23: output-unknown"),
        ("from: jobs.a.v, direction: down, min_runs: 2", "8:44: wrong-choice"),
        ("from: jobs.a.v, direction: lower, min_runs: 2, tolerance: x%", "8:75: wrong-type"),
        ("from: jobs.a.v, direction: lower, min_runs: 2, compare: median, tolerance: -1", "8:92: out-of-range"),
        ("from: jobs.a.v, min_runs: 2", "8:7: missing-key"),
    ],
)
def test_mistakes_in_metrics(metric: str, begins: str) -> None:
    steps = "strategy: canary\n  steps: [{weight: 5, runs: 1}]"
    (found,) = _found(f"{DEPLOY}{steps}\n  metrics:\n    - {{name: m, {metric}}}")
    assert found.startswith(begins)


@pytest.mark.parametrize(
    ("text", "begins", "remedy"),
    [
        ("budget: {per: week}", "3:1: missing-key", "amount"),
        ("budget: {cpu_hours: x}", "3:21: wrong-type", "a number"),
        ("budget: {amount: 5, currency: eur}", "3:31: wrong-choice", "ISO 4217"),
        ("budget: {amount: 5, thresholds: [80, 50]}", "3:38: out-of-range", "rising"),
        ("budget: {amount: 5, on_exceed: stop}", "3:32: wrong-choice", "hold"),
        ("notify: [{on: [], to: a@b.c}]", "3:15: wrong-choice", "failed"),
        ("notify: [{on: [fail], to: a@b.c}]", "3:16: wrong-choice", "failed"),
        ("notify: [{on: [failed]}]", "3:10: missing-key", "`to:`"),
        ("catchup: true", "1:1: missing-key", "start_date"),
        ("start_date: 2026-13-01", "3:13: datetime-invalid", "2026-01-31"),
        ("start_date: 2026-06-31", "3:13: datetime-invalid", "2026-06-30"),
        ("start_date: '2026-06-30 25:00:00Z'", "3:13: datetime-invalid", "2026-01-31"),
        ("start_date: 20260601", "3:13: datetime-invalid", "2026-01-31"),
        ("timeout: 0s", "3:10: out-of-range", "1s or more"),
        ("timeout: 6", "3:10: duration-invalid", "2h"),
        ("max_active_runs: 0", "3:18: out-of-range", "1 or more"),
        ("timeout: 9999999999w", "3:10: out-of-range", "century"),
        ("start_date: 0001-01-01T00:00:00+01:00", "3:13: datetime-invalid", "1970"),
        ("start_date: 0001-01-01", "3:13: datetime-invalid", "1970"),
        ("tags: ['" + "a" * 101 + "']", "3:8: wrong-type", "100"),
        ("notify: [{on: [failed], to: not an address}]", "3:29: wrong-choice", "ann@example.org"),
        ("budget: {amount: ~}", "3:1: missing-key", "amount"),
        ("deploy: {strategy: blue-green, smoke: ~}", "3:1: smoke-missing", "smoke:"),
        ("name: hotswap-mine", "3:7: name-invalid", ""),
        ("version: [1]", "3:10: wrong-type", "TEXT"),
    ],
)  # fmt: skip
def test_mistakes_at_the_top(text: str, begins: str, remedy: str) -> None:
    (found,) = _found(BODY + text)
    assert found.startswith(begins)
    assert remedy in found.partition("; ")[2]
