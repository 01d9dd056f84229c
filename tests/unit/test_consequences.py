"""One mistake is one error, whatever follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.site_file import read_site

SITE = read_site(
    b"hotswap: site/v1\nenvironments: {dev: {cluster: main}}\n"
    b"clusters: {main: {}, cloud: {cloud: {provider: aws}}}\npolicy: {secrets: [lab]}\n",
    "s",
)
JOB = "jobs: {fit: {run: echo}}\n"


def _found(text: str) -> list[str]:
    checked = check_workflow(
        f"hotswap: workflow/v1\n{text}".encode(), "w.hotswap.yaml", DiskFolder(Path("nowhere")), SITE
    )
    return [str(problem).removeprefix("w.hotswap.yaml:") for problem in checked.problems]


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("jobs: {fit: {rnu: echo}}", "2:14: unknown-key"), ("jobs: {fit: {use: a.B}}", "2:14: unknown-key"),
        ("job: {fit: {run: echo}}", "2:1: unknown-key"), ("jobs: {fit: {run: echo, sweep: {ovr: {a: [1]}}}}", "2:33: unknown-key"),
        ("jobs: {fit: {run: echo, burst: {too: cloud}}}", "2:33: unknown-key"),
        ("jobs: {fit: {run: echo, container: {img: docker://x}}}", "2:37: unknown-key"),
        ("jobs: {fit: {run: echo, container: {runtimee: none}}}", "2:37: unknown-key"),
        ("jobs: {fit: {run: echo, container: {image: 5}}}", "2:44: wrong-type"),
        ("jobs: {fit: {run: echo, retry: {escalate: {mem: {factr: 2, max: 1G}}}}}", "2:50: unknown-key"),
        ("schedule: {crom: 0 6 * * *}\n" + JOB, "2:12: unknown-key"), ("schedule: {assets: x}\n" + JOB, "2:20: wrong-type"),
        ("budget: {amuont: 5}\n" + JOB, "2:10: unknown-key"), ("software: {a: {pyhton: {}}}\n" + JOB, "2:16: unknown-key"),
        ("deploy: {strategy: progressive, step: [{weight: 5, runs: 1}]}\n" + JOB, "2:33: unknown-key"),
        ("deploy: {strategy: blue-green, smok: {}}\n" + JOB, "2:32: unknown-key"),
        ("deploy: {strategy: progressive, steps: [{wieght: 5, runs: 1}]}\n" + JOB, "2:42: unknown-key"),
        ("deploy:\n  strategy: progressive\n  steps:\n    - wieght: 5\n      runs: 1\n" + JOB, "5:7: unknown-key"),
        ("notify: [{onn: [failed], to: a@b.c}]\n" + JOB, "2:11: unknown-key"),
        ("notify: [{on: [failure], to: a@b.c}]\n" + JOB, "2:16: wrong-choice"),
        ("schedule: '@daily'\nparams: {a: {defualt: 1}}\n" + JOB, "3:14: unknown-key"),
        ("jobs: {fit: {run: echo, outputs: {a: {pth: x, type: file}}}}", "2:39: unknown-key"),
        ("jobs: {fit: {run: echo, sweep: {over: {a: {range: 5}}}}}", "2:51: wrong-type"),
        ("jobs: {fit: {run: echo, sweep: {over: {a: {range: [a, 2]}}}}}", "2:52: wrong-type"),
        ("jobs: {fit: {run: 'echo $INPUT_X', inputs: [x]}}", "2:44: wrong-type"),
        ("jobs: {fit: {run: 'echo $INPUT_X', inputs: {x: [1]}}}", "2:48: wrong-type"),
        ("jobs: {fit: {run: 'echo $INPUT_X', input: {x: a}}}", "2:36: unknown-key"),
        ("param: {n: 1}\njobs: {fit: {run: 'echo $PARAM_N'}}", "2:1: unknown-key"),
        ("template: {t: {run: x}}\njobs: {fit: {extends: t}}", "2:1: unknown-key"),
        ("jobs: {fit: {run: x, swep: {over: {a: [1]}}}}", "2:22: unknown-key"),
        ("jobs: {alpha: {run: x, outputs: {v: {type: json}}}, b: {run: y, needs: [alpah], if: jobs.alpha.v}}", "2:73: needs-unknown"),
        ("jobs: {fit: {run: x, slurm: {cpus: 4}}}", "2:30: unknown-key"),
        ("jobs: {fit: {run: x, sweep: {over: {a: {list: [1], range: [1, 2]}}}}}", "2:52: conflict"),
        ("jobs: {fit: {run: x, sweep: {over: {a: {list: [1], column: x}}}}}", "2:52: conflict"),
        ("jobs: {fit: {run: x, outputs: {a: {path: x, type: number}}}}", "2:45: conflict"),
        ("schedule: {assets: ['x://y'], timezone: UTC}\n" + JOB, "2:31: conflict"), ("schedule: 5\n" + JOB, "2:11: wrong-type"),
        ("jobs: {fit: {run: x, inputs: {x: {path: ~}}}}", "2:31: missing-key"), ("jobs: {fit: {run: x, sweep: {over: {}}}}", "2:30: missing-key"),
        ("secrets: {a: {password: hunter2}}\n" + JOB, "2:14: secret-plaintext"),
        ("software: {a: {python: {lock: req.txt}}}\n" + JOB, "2:31: software-source"),
        ("params: {a: {type: string, default: " + "a" * 40 + "!, pattern: '^(a+)+$'}}\n" + JOB, "2:89: wrong-type"),
        ("files: ['~/x']\n" + JOB, "2:9: wrong-type"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_error(text: str, begins: str) -> None:
    found = _found(text)
    assert len(found) == 1, found
    assert found[0].startswith(begins), found


def test_two_mistakes_are_two_errors() -> None:
    text = "params: {n: 1}\njobs: {fit: {run: 'echo $PARAM_M', slurm: {tiem: 1h}}, b: {}}"
    assert [line.split()[1].rstrip(":") for line in _found(text)] == ["param-unknown", "unknown-key", "missing-key"]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("jobs: {fit: {run: x, slurm: {cpus: 4}}}", "cpus-per-task"), ("jobs: {fit: {run: x, slurm: {queue: a}}}", "partition"),
        ("jobs: {fit: {run: x, image: a}}", "under `container:`"), ("job: {fit: {run: x}}", "`jobs`"),
        ("jobs: {fit: {run: x, needs: {fot: done}}}", "there is none"), ("jobs: {fit: {run: x, env: {1A: 1}}}", "`N1A`"),
        ("files: ['~/x']\n" + JOB, "beside the workflow file"), ("schedule: 5\n" + JOB, "cron"),
    ],
)  # fmt: skip
def test_a_remedy_that_helps(text: str, remedy: str) -> None:
    assert remedy in _found(text)[0].partition("; ")[2]
