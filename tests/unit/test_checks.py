"""One mistake each, in small files: place, code and remedy."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.errors import SpecError
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.site_file import read_site

SITE = textwrap.dedent(
    """\
    hotswap: site/v1
    environments: {dev: {cluster: main}, prod: {cluster: big}}
    clusters:
      main:
        licenses: {solver: 2}
        partitions:
          short: {nodes: 4, cpus: 4, mem: 8000M, max_time: 1h, max_nodes: 2}
          gpu: [{nodes: 1, cpus: 4, gpus: {a100: 2}}, {nodes: 2, cpus: 8, mem: 16G, gpus: 1}]
      big:
        partitions:
          short: {nodes: 40, cpus: 64, mem: 256G}
          long: {nodes: 40, cpus: 64, mem: 256G}
          gpu: {gpus: 4}
    """
)
HEAD = "hotswap: workflow/v1\n"


def _found(text: str, folder: Path | None = None, site: bool = True, file: str = "w.hotswap.yaml") -> list[str]:
    limits = read_site(SITE.encode(), "site.yaml") if site else None
    folder_of = DiskFolder(folder or Path(__file__).parent / "nowhere")
    checked = check_workflow(text.encode(), file, folder_of, limits)
    assert checked.is_valid == (not checked.problems)
    return [str(problem).removeprefix(f"{file}:") for problem in checked.problems]


def _one(text: str, folder: Path | None = None) -> str:
    found = _found(HEAD + textwrap.dedent(text), folder)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("text", "begins", "remedy"),
    [
        ("jobs: {}\n", "2:1: missing-key", "add `jobs:`"),
        ("name: x\n", "1:1: missing-key", "add `jobs:`"),
        ("jobs:\n  a:\n", "3:3: missing-key", "`run:`"),
        ("jobs:\n  a: {slurm: {nodes: 1}}\n", "3:3: missing-key", "`run:`"),
        ("jobs:\n  a: text\n", "3:6: wrong-type", "{KEY: VALUE}"),
        ("jobs: [a]\n", "2:7: wrong-type", "{KEY: VALUE}"),
        ("jobs:\n  a: {run: [x]}\n", "3:12: wrong-type", "`run: TEXT`"),
        ("jobs:\n  a: {run: x, <<: y}\n", "3:15: unknown-key", "`extends`"),
        ("jobs:\n  a: {run: x, publish: /y}\n", "3:15: misplaced-key", "under `outputs.NAME:`"),
        ("jobs:\n  a: {run: x, escalate: y}\n", "3:15: misplaced-key", "under `retry:`"),
        ("jobs:\n  a: {run: x, tags: [y]}\n", "3:15: misplaced-key", "at the top of the file"),
        ("jobs:\n  a: {run: x, zzzzzz: y}\n", "3:15: unknown-key", "known here:"),
        ("jobs:\n  a: {run: x, zzzzzz: }\n", "3:15: unknown-key", "known here:"),
        ("jobs:\n  a: {run: x, needs:b}\n  b: {run: y}\n", "3:15: yaml-colon-space", "write `needs: b`"),
        ("jobs:\n  a: {run: x, sweep: {over: {v: [1, null]}}}\n", "3:37: wrong-type", 'quote it: "null"'),
        ('name: "a\\d"\njobs:\n  a: {run: x}\n', "2:9: yaml-syntax", "single quotes"),
        ("tags: x\njobs:\n  a: {run: x}\n", "2:7: wrong-type", "[VALUE]"),
        ("name: a b\njobs:\n  a: {run: x}\n", "2:7: name-invalid", "`a-b`"),
        ("params: {2d: 1}\njobs:\n  a: {run: x}\n", "2:10: name-invalid", "`x-2d`"),
        ("params: {x: [1]}\njobs:\n  a: {run: x}\n", "2:13: wrong-type", "default"),
        ("params: {x: {type: integre}}\njobs:\n  a: {run: x}\n", "2:20: wrong-choice", "`integer`"),
        ("params: {x: {type: integer, default: a}}\njobs:\n  a: {run: x}\n", "2:38: param-default", "fits"),
        ("params: {x: {default: 3, maximum: 2}}\njobs:\n  a: {run: x}\n", "2:23: param-default", "fits"),
        ("params: {x: {default: 1, minimum: 2}}\njobs:\n  a: {run: x}\n", "2:23: param-default", "fits"),
        ("params: {x: {default: b, enum: [a]}}\njobs:\n  a: {run: x}\n", "2:23: param-default", "fits"),
        ("params: {x: {default: b, pattern: '^a'}}\njobs:\n  a: {run: x}\n", "2:23: param-default", "fits"),
        ("params: {x: {default: b, pattern: '('}}\njobs:\n  a: {run: x}\n", "2:35: wrong-type", "pattern"),
        ("params: {x: {type: date, default: 2026-02-30}}\njobs:\n  a: {run: x}\n", "2:35: param-default", "fits"),
        ("params: {x: {type: datetime, default: '2026-02-01T10:00'}}\njobs:\n  a: {run: x}\n", "2:39: param-default", ""),
        ("params: {x: {type: boolean, default: 1}}\njobs:\n  a: {run: x}\n", "2:38: param-default", "fits"),
        ("params: {x: {type: integer, default: true}}\njobs:\n  a: {run: x}\n", "2:38: param-default", "fits"),
        ("schedule: 0 6 * *\njobs:\n  a: {run: x}\n", "2:11: cron-invalid", "0 6 * * *"),
        ("schedule: '@dayly'\njobs:\n  a: {run: x}\n", "2:11: cron-invalid", "`@daily`"),
        ("schedule: 0 0 30 2 *\njobs:\n  a: {run: x}\n", "2:11: cron-invalid", "0 6 * * *"),
        ("schedule: {cron: 0 0 32 * *}\njobs:\n  a: {run: x}\n", "2:18: cron-invalid", "1-31"),
        ("schedule: {cron: '@daily', timezone: Mars}\njobs:\n  a: {run: x}\n", "2:38: cron-invalid", "Europe/"),
        ("schedule: {cron: '@daily', assets: [a]}\njobs:\n  a: {run: x}\n", "2:28: conflict", "keep one"),
        ("schedule: {timezone: UTC}\njobs:\n  a: {run: x}\n", "2:1: missing-key", "`cron:`"),
        ("jobs:\n  a: {run: x, env: {2X: y}}\n", "3:21: name-invalid", ""),
        ("jobs:\n  a: {run: x, env: {PARAM_X: y}}\n", "3:21: name-invalid", "MY_PARAM_X"),
        ("jobs:\n  a: {run: x, env: {X: [y]}}\n", "3:24: wrong-type", ""),
        ("defaults: {env: {DB_PASSWORD: y}}\njobs:\n  a: {run: x}\n", "2:31: secret-plaintext", "`secrets`"),
        ("jobs:\n  a: {run: x, outputs: {state: {type: string}}}\n", "3:25: name-invalid", "rename"),
        ("jobs:\n  a: {run: x, outputs: {o: {type: file}}}\n", "3:25: missing-key", "`path:`"),
        ("jobs:\n  a: {run: x, outputs: {o: {type: number, path: p}}}\n", "3:43: conflict", "type: file"),
        ("jobs:\n  a: {run: x, outputs: {o: ../p}}\n", "3:28: wrong-type", "below"),
        ("jobs:\n  a: {run: x, inputs: {i: {path: a, from: params.x}}}\n", None, "keep one"),
        ("jobs:\n  a: {run: x, inputs: {i: {type: file}}}\n", "3:24: missing-key", "`from:`"),
        ("jobs:\n  a: {run: x, inputs: {i: {from: jobs.a.o}}}\n", "3:34: needs-self", "remove"),
        ("jobs:\n  a: {run: x, inputs: {i: {from: jobs.b.o}}}\n", "3:34: output-unknown", "use one of: a"),
        ("jobs:\n  a: {run: x, inputs: {i: {source: params.p}}}\n", "3:28: unknown-key", "from"),
        ("jobs:\n  a: {run: x, inputs: {i: {from: nonsense}}}\n", "3:34: output-unknown", "jobs.JOB.OUTPUT"),
        ("jobs:\n  a: {run: x, inputs: {i: {from: params.p}}}\n", "3:34: param-unknown", "declare"),
        ("jobs:\n  a: {run: x, needs: {b: {when: never}}}\n  b: {run: y}\n", "3:33: wrong-choice", ""),
        ("jobs:\n  a: {run: x, needs: [b.c]}\n  b: {run: y}\n", "3:23: needs-element", "write `b`"),
        ("jobs:\n  a: {run: x, needs: [{job: c}]}\n  b: {run: y}\n", "3:23: needs-unknown", ""),
        ("jobs:\n  a: {run: echo $SWEEP_INDEX}\n", "3:12: variable-unknown", "sweep"),
        ("jobs:\n  a: {run: 'echo ${INPUT_X}'}\n", "3:12: variable-unknown", "`inputs`"),
        ("jobs:\n  a:\n    run: >\n      echo\n      a ${#OUTPUT_X}\n", "6:9: variable-unknown", "`outputs`"),
        ("jobs:\n  a: {run: x, slurm: {mem: [1]}}\n", "3:28: wrong-type", "{from: params.X}"),
        ("jobs:\n  a: {run: x, slurm: {mem: 1G, mem-per-cpu: 1G}}\n", "3:32: conflict", "keep one"),
        ("jobs:\n  a: {run: x, slurm: {needs: b}}\n", "3:23: misplaced-key", "jobs.NAME"),
        ("jobs:\n  a: {run: x, slurm: {export: ALL}}\n", "3:23: slurm-key-reserved", "`env:`"),
        ("jobs:\n  a: {run: x, slurm: {licenses: 'solver:3'}}\n", "3:33: license-unknown", "`solver:2`"),
        ("jobs:\n  a: {run: x, slurm: {partition: short, nodes: 3}}\n", "3:48: partition-limit", "2"),
        ("jobs:\n  a: {run: x, slurm: {partition: short, cpus-per-task: 5}}\n", "3:56: node-limit", "4 CPUs"),
        ("jobs:\n  a: {run: x, slurm: {partition: short, mem: 9000M}}\n", "3:46: node-limit", "8000M"),
        ("jobs:\n  a: {run: x, slurm: {partition: gpu, gpus-per-node: 'a100:3'}}\n", "3:54: node-limit", ""),
        ("jobs:\n  a: {run: x, slurm: {partition: short, gres: 'gpu:1'}}\n", "3:47: node-limit", "with GPUs"),
        ("jobs:\n  a: {run: x, slurm: {partition: long}}\n", "3:34: partition-unknown", "use one of"),
        ("defaults: {slurm: {partition: short, time: 2h}}\njobs:\n  a: {run: x}\n  b: {run: x}\n", "2:44: partition-limit", ""),
        ("defaults: {cluster: bg}\njobs:\n  a: {run: x}\n", "2:21: cluster-unknown", "`big`"),
        ("files: [../x]\njobs:\n  a: {run: x}\n", "2:9: file-missing", "folder of the workflow"),
        ("jobs:\n  a: {script: ../x.sh}\n", "3:15: script-missing", "into the folder"),
        ("jobs:\n  a: {run: x, burst: 2}\n", "3:22: wrong-type", "a map"),
        ("jobs:\n  a: {run: x, retries: 11}\n", "3:24: out-of-range", "10"),
        ("jobs:\n  a: {run: x, retries: 1, retry: {max: 1}}\n", "3:27: conflict", "keep one"),
        ("jobs:\n  a: {run: x, retry: {on: [oops]}}\n", "3:28: wrong-choice", "oom"),
        ("jobs:\n  a: {run: x, retry: {max: -1}}\n", "3:28: out-of-range", "0"),
        ("jobs:\n  a: {run: x, retry: {escalate: {mem: {factor: 1, max: 4G}}}}\n", "3:48: out-of-range", "more than 1"),
        ("jobs:\n  a: {run: x, retry: {escalate: {mem: {factor: 2}}}}\n", "3:34: missing-key", "`max:`"),
        ("jobs:\n  a: {run: x, retry: {escalate: {mem: {factor: 2, max: many}}}}\n", "3:56: size-invalid", ""),
        ("jobs:\n  a: {run: x, retry: {escalate: {gpus: {factor: 2, max: 4}}}}\n", "3:34: misplaced-key", "slurm"),
        ("jobs:\n  a: {run: x, checkpoint: {signal: USR1}}\n", "3:36: wrong-type", "USR1@120"),
        ("jobs:\n  a: {run: x, checkpoint: {signal: USR1@70000}}\n", "3:36: out-of-range", "65535"),
        ("jobs:\n  a: {run: x, checkpoint: {}, slurm: {signal: USR1@9}}\n", "3:39: conflict", "checkpoint"),
        ("jobs:\n  a: {run: x, slurm: {signal: USR1@9}, checkpoint: {}}\n", "3:40: conflict", "checkpoint"),
        ("jobs:\n  a: {run: x, max: 3}\n", "3:15: misplaced-key", "`retry:`"),
        ("jobs:\n  a: {run: x, sweep: {}}\n", "3:15: missing-key", "`over:`"),
        ("jobs:\n  a: {run: x, sweep: {over: {}}}\n", "3:23: missing-key", "`over:`"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {}}}}\n", "3:33: missing-key", "`range:`"),
        ("jobs:\n  a: {run: x, sweep: {over: {index: [1]}}}\n", "3:30: name-invalid", "`my-index`"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: [1], I: [2]}}}\n", "3:38: name-collision", "rename"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {list: [1], range: [1, 2]}}}}\n", "3:45: conflict", "keep one"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {values: [1]}}}}\n", "3:34: unknown-key", "list"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {range: [1, 2, 0]}}}}\n", "3:41: out-of-range", "another step"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {range: [1]}}}}\n", "3:41: wrong-type", "range: [1, 21]"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {linspace: [1, 2]}}}}\n", "3:44: wrong-type", "linspace: ["),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {linspace: [1, 2, 0]}}}}\n", "3:33: sweep-empty", "`linspace`"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: []}}}\n", "3:33: sweep-empty", "`list`"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {from: no.csv}}}}\n", "3:40: sweep-source", "beside"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {from: ../no.csv}}}}\n", "3:40: sweep-source", "into the folder"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {from: params.p}}}}\n", "3:40: param-unknown", "declare"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {from: jobs.b.o}}}}\n", "3:40: output-unknown", "use one of"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: [1]}, mode: all}}\n", "3:45: wrong-choice", "product"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: [1]}, chunk: 0}}\n", "3:46: out-of-range", "1"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: [1]}, tolerate: 101%}}\n", "3:49: out-of-range", "100%"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: [1]}, tolerate: -1}}\n", "3:49: out-of-range", "0 or more"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: [1]}, tolerate: some}}\n", "3:49: wrong-type", "N%"),
        ("jobs:\n  a: {run: x, sweep: {over: {i: {range: [0, 2000000]}}}}\n", "3:15: sweep-too-large", "split"),
        ("jobs:\n  a: {run: x, over: {i: [1]}}\n", "3:15: misplaced-key", "`sweep:`"),
    ],
)  # fmt: skip
def test_a_mistake(text: str, begins: str | None, remedy: str) -> None:
    found = _found(HEAD + text)
    if begins is not None:
        assert len(found) == 1, found
        assert found[0].startswith(begins), found[0]
    assert remedy in found[-1].split("; ")[-1] or remedy in found[0]


def test_a_limit_that_only_an_overlay_meets_names_its_environment() -> None:
    text = "jobs:\n  a: {run: x, slurm: {time: 2h}}\nenvironments:\n  dev: {defaults: {slurm: {partition: short}}}\n"
    (found,) = _found(HEAD + text)
    assert found.startswith("3:29: partition-limit: in environment dev: partition short ends jobs after ")
    (found,) = _found(HEAD + text.replace("time: 2h", "partition: short, cpus-per-task: 65"))
    assert "environment" not in found


@pytest.mark.parametrize(
    "text",
    [
        "jobs: {a: {run: 'echo $HOME {{ x }} ${{ y }}'}}",
        "params: {x: ~, y: 1, z: {type: array, default: [1]}}\njobs: {a: {run: 'echo $PARAM_Y'}}",
        "params: {d: {type: date, default: 2026-02-28}}\njobs: {a: {run: x}}",
        "schedule: '@daily'\njobs: {a: {run: x}}",
        "schedule: {cron: 0 6 * * mon-fri, timezone: Europe/Zurich}\njobs: {a: {run: x}}",
        "schedule: {assets: ['s3://x/y']}\njobs: {a: {run: x}}",
        "jobs:\n  a:\n    run: |\n      # $PARAM_NOT\n      INPUT_X=1; echo $INPUT_X \\$PARAM_Y\n      for OUTPUT_Y in a; do echo $OUTPUT_Y; done",
        "jobs:\n  a: {run: x, needs: {b: done}}\n  b: {run: y, outputs: {o: out/}}\n  c: {run: z, inputs: {i: {from: jobs.b.state}}}",
        "jobs:\n  a: {run: x, slurm: {nodes: {from: params.n}, mem: ~, exclusive: user}}\nparams: {n: 2}",
        "jobs:\n  a: {run: x, slurm: {partition: 'short,gpu', gpus: 1}}",
        "defaults: {slurm: {mem: 1G}, env: {A: 1}}\njobs:\n  a: {run: x, slurm: {mem-per-cpu: 1G}, env: {A: ~, B: true}}",
        "jobs:\n  a: {run: x, outputs: {o: {path: d, type: dir}}}\n  b: {run: y, needs: a, inputs: {i: ./d/f}}",
        "jobs:\n  a: {run: x, outputs: {o: a}}\n  b: {run: y, inputs: {i: {from: jobs.a.o}, j: a}}",
        "version: ~\nowner: 2\njobs: {a: {run: x}}",
    ],
)
def test_what_is_right_has_no_problem(text: str) -> None:
    assert _found(HEAD + text) == []


def test_a_circle_that_references_make_is_shown_at_the_reference() -> None:
    text = """\
        jobs:
          a: {run: x, inputs: {i: {from: jobs.b.o}}, outputs: {o: pa}}
          b: {run: y, inputs: {i: {from: jobs.a.o}}, outputs: {o: pb}}
    """
    assert _one(text).startswith("3:34: needs-cycle: these jobs wait for each other: a -> b -> a;")


def test_two_circles_are_two_problems_and_what_hangs_on_them_none() -> None:
    text = "jobs:\n  z: {run: x, needs: a}\n" + "".join(
        f"  {job}: {{run: x, needs: [{need}]}}\n" for job, need in ("ab", "ba", "cd", "de", "ec")
    )
    found = _found(HEAD + text)
    assert [line.split(": ")[3].split(";")[0] for line in found] == ["a -> b -> a", "c -> d -> e -> c"]


def test_every_problem_of_a_file_is_told_in_order() -> None:
    text = """\
        tags: x
        params: {2x: 1}
        jobs:
          a: {run: $PARAM_Y, slurm: {mem: lots}, nonsense: 1}
          b: {script: gone.sh, needs: [c]}
    """
    codes = [line.split(": ")[1] for line in _found(HEAD + textwrap.dedent(text))]
    assert codes == [
        "wrong-type", "name-invalid", "param-unknown", "size-invalid", "unknown-key", "script-missing", "needs-unknown",
    ]  # fmt: skip


def test_assets_have_one_maker() -> None:
    text = """\
        jobs:
          a: {run: x, outputs: {o: {path: p, asset: "s3://b"}}}
          b: {run: x, outputs: {o: {path: q, asset: "s3://b"}}}
    """
    assert _one(text).startswith("4:45: output-duplicate")


def test_a_file_inside_anothers_output_directory_is_a_duplicate() -> None:
    text = """\
        jobs:
          a: {run: x, outputs: {o: {path: d, type: dir}}}
          b: {run: x, outputs: {o: ./d/f}}
    """
    assert _one(text).startswith("4:28: output-duplicate")


def test_an_output_is_not_one_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("x")
    text = """\
        files: ["*.txt"]
        jobs:
          a: {run: x, outputs: {o: data.txt}}
    """
    assert _one(text, tmp_path).startswith("4:28: output-duplicate")


def test_a_script_is_read_for_its_variables(tmp_path: Path) -> None:
    (tmp_path / "s.sh").write_text("#!/bin/bash\necho $PARAM_NN\n")
    (tmp_path / "s.py").write_text("#!/usr/bin/env python3\nprint('$PARAM_NN')\n")
    text = """\
        params: {n: 1}
        jobs:
          a: {script: s.sh}
          b: {script: s.py}
    """
    found = _one(text, tmp_path)
    assert found.startswith("4:15: param-unknown: s.sh:2: `$PARAM_NN`")
    assert "`$PARAM_N`" in found


def test_a_file_name_that_is_no_name_needs_one() -> None:
    found = _found(HEAD + "jobs: {a: {run: x}}\n", file="my file.hotswap.yaml")
    assert found == [
        "1:1: name-invalid: the file's name `my file` cannot be the workflow's; add `name: my-file`",
    ]


@pytest.mark.parametrize("raw", [b"[1, 2]", b"text", b"7"])
def test_what_is_no_map_is_no_workflow(raw: bytes) -> None:
    checked = check_workflow(raw, "w.hotswap.yaml", DiskFolder(Path("nowhere")))
    assert [problem.code for problem in checked.problems] == ["wrong-type"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("clusters: {}\n", "header-missing"),
        ("hotswap: site/v2\n", "header-unknown"),
        ("hotswap: site/v1\nenvironments: {}\nclusters: {}\n", "missing-key"),
        ("hotswap: site/v1\nclusters: {a: {}}\n", "missing-key"),
        ("hotswap: site/v1\nenvironments: {dev: {cluster: b}}\nclusters: {a: {}}\n", "cluster-unknown"),
        (
            "hotswap: site/v1\nenvironments: {dev: {cluster: a}}\nclusters: {a: {partitions: {p: {mem: x}}}}\n",
            "size-invalid",
        ),
        ("hotswap: site/v1\nenvironments: {dev: {cluster: a}}\nclusters: {a: {kind: pbs}}\n", "wrong-choice"),
        ("hotswap: site/v1\nenvironments: {dev: {cluster: a}}\nclusters: {a: {max_array_size: 0}}\n", "out-of-range"),
        (
            "hotswap: site/v1\nenvironments: {dev: {cluster: a}}\nclusters: {a: {partitions: {p: {cpus: -1}}}}\n",
            "out-of-range",
        ),
        ("hotswap: site/v1\nenvironments: {dev: {cluster: a}}\nclusters: {a: {poll: {min: 0s}}}\n", "out-of-range"),
        ("hotswap: site/v1\nenvironments: {dev: {cluster: a}}\nclusters: {a: {poll: {max: 5s}}}\n", "out-of-range"),
        ("hotswap: site/v1\nenvironments: {dev: {cluster: a}}\nclusters: {a: {retention: 1h}}\n", "out-of-range"),
        ("hotswap: site/v1\nenvironments: {dev: {cluster: a}}\nclusters: {a: {retention: 9d}, b: {}}\n", "conflict"),
        (
            "hotswap: site/v1\nenvironments: {dev: {cluster: a}}\nclusters: {a: {poll: {usual: soon}}}\n",
            "duration-invalid",
        ),
    ],
)
def test_a_wrong_site_file(text: str, code: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_site(text.encode(), "site.yaml")
    assert code in {problem.code for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("retries: 11", "out-of-range"), ("slurm: {tiem: 1h}", "unknown-key"), ("slurm: {time: x}", "duration-invalid"),
        ("slurm: {time: {from: params.t}}", "wrong-type"), ("slurm: {mem: 1G, mem-per-cpu: 1G}", "conflict"),
        ("env: {'A B': x}", "name-invalid"), ("env: {DB_PASSWORD: x}", "secret-plaintext"), ("slurm: 7", "wrong-type"),
        ("slurm: {tiem: {from: params.t}}", "unknown-key"), ("env: {DB_PASSWORD: [x]}", "wrong-type"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_clusters_defaults_is_told_at_its_place(text: str, code: str) -> None:
    head = "hotswap: site/v1\nenvironments: {dev: {cluster: a}}\nclusters:\n  a:\n    defaults:\n"
    with pytest.raises(SpecError) as caught:
        read_site(f"{head}      {text}\n".encode(), "site.yaml")
    assert [(problem.line, problem.code) for problem in caught.value.problems] == [(6, code)]


def test_a_clusters_defaults_may_leave_all_out_and_refer_to_the_environment() -> None:
    head = "hotswap: site/v1\nenvironments: {dev: {cluster: a}}\nclusters: {a: {defaults: "
    for text in ("{}", "{slurm: ~, env: ~, retries: ~, modules: [gcc]}", "{slurm: {wckey: {from: environment}}}"):
        assert read_site(f"{head}{text}}}}}\n".encode(), "site.yaml").clusters


def test_a_site_as_it_is_read() -> None:
    site = read_site(SITE.encode(), "site.yaml")
    assert site.default_environment == "dev"
    assert site.cluster_of("prod").name == "big"
    assert site.clusters["main"].limits.partitions["gpu"].shapes[0].gpus == 2
    assert site.clusters["main"].target.connection == "main"


_keys = st.sampled_from(
    "hotswap jobs params needs run slurm mem time inputs outputs from path a b env X schedule files".split()
)
_leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.sampled_from(
    ["a", "workflow/v1", "jobs.a.b", "$PARAM_X", "@daily", "4G", "2:30", ""]
)  # fmt: skip
_trees = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4), max_leaves=25
)


@given(st.dictionaries(_keys, _trees, max_size=5))
def test_whatever_a_file_holds_the_answer_is_a_plan_or_problems(tree: dict[str, object]) -> None:
    import json

    raw = json.dumps({**tree, "hotswap": "workflow/v1"}).encode()
    checked = check_workflow(raw, "w.hotswap.json", DiskFolder(Path("nowhere")), read_site(SITE.encode(), "site.yaml"))
    assert checked.is_valid or checked.problems
    assert all(problem.line >= 1 for problem in checked.problems)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jobs: {a: {run\u00a0: x}}", "U+00A0 (NO-BREAK SPACE)"),
        ("jobs: {a\u200b: {run: x}}", "U+200B (ZERO WIDTH SPACE)"),
        ("jobs: {a: {run: x}, b: {run: x, needs: [a\u200b]}}", "U+200B (ZERO WIDTH SPACE)"),
        ("jobs: {a: {run: x, env: {A\ufeff: 1}}}", "U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        (
            "jobs:\n  a:\n    run:\u00a0echo",
            "`run:<U+00A0>echo` has no space after the colon, with the invisible U+00A0",
        ),
        ("jobs:\n  a:\n  \u00a0\u00a0run: echo", "U+00A0 (NO-BREAK SPACE)"),
        ("params: {x\u2028: 1}\njobs: {a: {run: x}}", "U+2028 (LINE SEPARATOR)"),
    ],
)
def test_characters_that_nobody_sees_are_named(text: str, words: str) -> None:
    checked = check_workflow(f"hotswap: workflow/v1\n{text}\n".encode(), "w.hotswap.yaml", DiskFolder(Path("nowhere")))
    assert any(words in problem.message for problem in checked.problems), checked.problems


def test_scripts_that_sbatch_would_refuse_are_told_in_its_words(tmp_path: Path) -> None:
    (tmp_path / "dos.sh").write_bytes(b"#!/bin/bash\r\necho\r\n")
    (tmp_path / "bom.sh").write_bytes(b"\xef\xbb\xbf#!/bin/bash\necho\n")
    (tmp_path / "program").write_bytes(b"\x7fELF\0\r\n")
    text = b'{"hotswap": "workflow/v1", "jobs": {"a": {"script": "dos.sh"}, "b": {"script": "bom.sh"}, "c": {"script": "program"}, "d": {"run": "echo\\r\\n"}}}'
    checked = check_workflow(text, "w.hotswap.json", DiskFolder(tmp_path))
    assert [problem.message for problem in checked.problems] == [
        "`dos.sh`: Batch script contains DOS line breaks (\\r\\n) instead of expected UNIX line breaks (\\n)",
        "`bom.sh`: This does not look like a batch script. A byte order mark stands before its first line",
        "Batch script contains DOS line breaks (\\r\\n) instead of expected UNIX line breaks (\\n)",
    ]


@pytest.mark.parametrize("path", ["~/data", "~ann/x", "$SCRATCH/x", "a/${HOME}/b", "$(pwd)/x", "a/`date`"])
def test_nothing_is_replaced_in_paths(tmp_path: Path, path: str) -> None:
    text = (
        f"hotswap: workflow/v1\nfiles: ['{path}']\njobs:\n  a:\n    script: '{path}'\n    inputs: {{i: '{path}', j: {{path: '{path}'}}}}\n"
        f"    outputs: {{o: '{path}1'}}\n  b: {{run: x, sweep: {{over: {{v: {{from: '{path}'}}}}}}}}\n"
    )
    problems = check_workflow(text.encode(), "w.hotswap.yaml", DiskFolder(tmp_path)).problems
    assert [problem.code for problem in problems] == ["wrong-type"] * 6
    assert all("nothing is replaced in paths" in problem.message for problem in problems)


@pytest.mark.parametrize("workdir", ["~/runs", "$SCRATCH/runs", "/scratch/100%", "a\\b"])
def test_a_work_folder_that_no_job_could_use_is_refused(workdir: str) -> None:
    text = f"hotswap: site/v1\nenvironments: {{dev: {{cluster: m}}}}\nclusters: {{m: {{workdir: '{workdir}'}}}}\n"
    with pytest.raises(SpecError) as caught:
        read_site(text.encode(), "site.yaml")
    assert [(problem.line, problem.code) for problem in caught.value.problems] == [(3, "wrong-type")]


def test_the_items_of_an_array_are_of_their_type() -> None:
    text = "hotswap: workflow/v1\nparams: {x: {type: array, items: {type: number}, default: [1, a, true]}}\njobs: {a: {run: x}}\n"
    (problem,) = check_workflow(text.encode(), "w.hotswap.yaml", DiskFolder(Path("nowhere"))).problems
    assert (problem.code, problem.message) == ("param-default", "the default of `x` holds 'a', not of type number")
