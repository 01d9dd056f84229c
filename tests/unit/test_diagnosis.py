"""What people get wrong in YAML: one mistake is one error, with its place and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.errors import Problem
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.text.diagnosis import with_invisible_named

HEAD = "hotswap: workflow/v1\n"
JOB = "jobs:\n  fit: {run: x}\n"
FIT = "jobs:\n  fit:\n    run: echo $PARAM_N\n    "


def _problems(text: str) -> tuple[Problem, ...]:
    return check_workflow(text.encode(), "w.hotswap.yaml", DiskFolder(Path("nowhere"))).problems


def _one(text: str) -> tuple[str, Problem]:
    (problem,) = _problems(HEAD + text)
    return f"{problem.line}:{problem.column} {problem.code}", problem


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("schedule: */5 * * * *  # often\n", "2:11", "*/5 * * * *"),
        ("schedule: * * * * *\n", "2:11", "* * * * *"),
        ("schedule: {cron: */5 * * * *}\n", "2:18", "*/5 * * * *"),
        ("schedule: *\n", "2:11", "*"),
        ("files: [a, *.py]\n", "2:12", "*.py"),
        ("files:\n  - **/*.py\n", "3:5", "**/*.py"),
        ("name: *fit.sh\n", "2:7", "*fit.sh"),
        ("jobs:\n  fit:\n    run: *.sh\n", "4:10", "*.sh"),
        ("jobs:\n  fit:\n    run: && x\n", "4:10", "&& x"),
        ("jobs:\n  fit:\n    run: &\n", "4:10", "&"),
    ],
)
def test_a_value_that_begins_with_a_star_is_shown_quoted(text: str, place: str, value: str) -> None:
    shown, problem = _one(text + ("" if "jobs" in text else JOB))
    assert shown == f"{place} yaml-syntax"
    assert problem.remedy == f"quote it: `'{value}'`"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("jobs:\n  fit: {run: x, slurm: {mem:1G, time: 5m}}\n", "3:25", "mem: 1G"),
        ("jobs:\n  fit: {run: x, slurm: {time: 5m, mem:1G}}\n", "3:35", "mem: 1G"),
        (f"params: {{n:5}}\n{FIT}\n", "2:10", "n: 5"),
        (f"params:\n  n:5\n{FIT}\n", "3:3", "n: 5"),
        (f"params:\n  n:5 # five\n  m:6\n{FIT}\n", "3:3", "n: 5"),
        (f"params:\n  n:5\n  m: 6\n{FIT}\n", "3:3", "n: 5"),
        (f"params:\n  n:{{default: 5}} # five\n{FIT}\n", "3:3", "n: {default: 5}"),
        (f"{JOB}notify:\n  - {{on:[failed], to: x}}\n", "5:6", "on: [failed]"),
        ("jobs:\n  fit: {run: x, sweep: {over: {a:[1, 2]}}}\n", "3:32", "a: [1, 2]"),
        ("jobs:\n  fit:\n    run: x\n    sweep:\n      over:\n        a:[1, 2]\n", "7:9", "a: [1, 2]"),
        ("jobs:\n  fit: {run: x, env: {A:1}}\n", "3:23", "A: 1"),
        ("jobs:\n  fit: {run: x, outputs: {o:{path: p}}}\n", "3:27", "o: {path: p}"),
        ("jobs:\n  fit:{run: echo}\n  b: {run: x, needs: fit}\n", "3:3", "fit: {run: echo}"),
        ("jobs: {fit:{run: echo}}\n", "2:8", "fit: {run: echo}"),
        ("jobs:\n  fit: {run:echo}\n", "3:9", "run: echo"),
        ("jobs:\n  fit: {run:echo hi, slurm: {mem: 1G}}\n", "3:9", "run: echo hi"),
        ("jobs:\n  fit:\n    run: x\n    modules:[a, b]\n", "5:5", "modules: [a, b]"),
        ("jobs:\n  fit:\n    run: x\n    container:\n      image:a\n      launch:srun\n", "6:7", "image: a"),
    ],
)
def test_a_colon_without_a_space_is_one_error(text: str, place: str, said: str) -> None:
    shown, problem = _one(text)
    assert shown == f"{place} yaml-colon-space"
    assert problem.remedy == f"write `{said}`"


@pytest.mark.parametrize(
    ("text", "shown", "remedy"),
    [
        ("    needs: []]\n", "5:14 yaml-syntax", "remove it"),
        ("    needs: []]\n    slurm: {mem: 1G}\n", "5:14 yaml-syntax", "remove it"),
        ("    slurm: {mem: 1G}} # more\n", "5:21 yaml-syntax", "remove it"),
        ("    needs: [a}]\n", "5:14 yaml-syntax", "remove it"),
        ("    sweep: {over: {a: [1]]}, mode: zip}\n", "5:26 yaml-syntax", "remove it"),
        ("    needs: ]\n", "5:12 yaml-syntax", "remove it"),
        ("    sweep: {over: {a: [1, 2}}\n", "5:23 yaml-unclosed", "add `]`"),
        ("    sweep: {over: {a: [1, 2}}\n    slurm: {mem: 1G}\n", "5:23 yaml-unclosed", "add `]`"),
        ("    needs: [a, {job: b]\n", "5:16 yaml-unclosed", "add `}`"),
        ("    needs: [a}\n", "5:12 yaml-unclosed", "add `]`"),
        ("    sweep: {over: {a: [1, 2]\n", "5:12 yaml-unclosed", "add `}`"),
        ("    slurm: {mem: 1G\n    needs: [b]\n", "5:12 yaml-unclosed", "add `}`"),
        ("    description: 'a\n", "5:18 yaml-unclosed", "add `'`"),
    ],
)
def test_brackets_that_do_not_pair_are_shown_where_one_is_wrong(text: str, shown: str, remedy: str) -> None:
    assert _one(f"jobs:\n  fit:\n    run: x\n{text}")[0] == shown
    assert _one(f"jobs:\n  fit:\n    run: x\n{text}")[1].remedy == remedy


@pytest.mark.parametrize("text", ["C:\\Users", "\\x4", "\\u12g", "\\UFFFFFFFF", "\\uD800 "])
def test_a_backslash_in_double_quotes_that_is_not_meant_is_no_open_quote(text: str) -> None:
    shown, problem = _one(f'jobs:\n  fit:\n    run: "{text}"\n')
    assert shown == "4:10 yaml-syntax"
    assert problem.remedy == "use single quotes, in which a backslash is one, or double it"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("jobs:\n  fit\n    run: echo\n", "3:3", "fit:"),
        ("jobs:\n  fit # first\n\n    run: echo\n", "3:3", "fit:"),
        ("jobs:\n  b: {run: x}\n  fit\n    run: x\n", "4:3", "fit:"),
        ("jobs:\n  fit\n  b:\n    run: x\n", "3:3", "fit:"),
        ("jobs\n  fit:\n    run: echo\n", "2:1", "jobs:"),
        ("params\n  n: 1\n" + JOB, "2:1", "params:"),
        ("name fit\n" + JOB, "2:1", "name: fit"),
        ("jobs:\n  fit:\n    run: x\n    needs b\n", "5:5", "needs: b"),
        ("jobs:\n  fit:\n    run: x\n    slurm\n      mem: 1G\n", "5:5", "slurm:"),
    ],
)
def test_a_forgotten_colon_is_shown_at_its_word(text: str, place: str, said: str) -> None:
    shown, problem = _one(text)
    assert shown == f"{place} yaml-syntax"
    assert problem.remedy == f"write `{said}`"


def test_the_header_without_its_colon_is_shown_with_it() -> None:
    (problem,) = _problems(f"hotswap workflow/v1\n{JOB}")
    assert (problem.line, problem.column, problem.remedy) == (1, 1, "write `hotswap: workflow/v1`")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("slurm: {mem: 1G time: 5m}", "add a comma before `time`: `mem: 1G, time: 5m`, or quote the value"),
        ("needs: [{job: a when: done}]", "add a comma before `when`: `job: a, when: done`, or quote"),
        ("slurm: {mem: 1G\n      time: 5m}", "add a comma before `time`"),
        ("sweep: {over: {a: [1, 2] b: [3]}}", "add a comma before `b`"),
        ("needs: ['a' 'b']", "add a comma before `'b'`"),
        ("needs: [{job: a} {job: b}]", "add a comma before `{`"),
        ("env: {A: 'x' B: y}", "add a comma before `B`"),
    ],
)
def test_a_missing_comma_is_named(text: str, remedy: str) -> None:
    shown, problem = _one(f"jobs:\n  fit:\n    run: x\n    {text}\n")
    assert shown.endswith("yaml-syntax")
    assert problem.remedy.startswith(remedy)


@pytest.mark.parametrize(
    "text",
    [
        'jobs:\n  fit: {run: x, slurm: {time: "1h\\n--uid=0"}}\n',
        "schedule: |\n  0 6 * * *\n  1\n" + JOB,
        'name: "a\\nb"\n' + JOB,
        '"a\\tb\\rc": 1\n' + JOB,
        'jobs:\n  "a\\nb": {run: x}\n',
        'jobs:\n  fit: {run: x, cluster: "a\\nb", needs: ["a\\n\\eb"], if: "a\\nb"}\n',
        'jobs:\n  fit: {run: x, inputs: {a: {from: "jo\\nbs.a"}}}\n',
        'files: ["a\\0/*", "a\\n\\0b"]\njobs:\n  fit: {script: "a\\nb"}\n',
        'jobs:\n  fit: {run: x, container: {image: x, runtime: "a\\nb"}}\n',
        'params: {x: {default: b, pattern: "(\\n"}}\n' + JOB,
        'params: {x: {default: "a\\Lb", enum: ["b\\Nc"]}}\n' + JOB,
    ],
)  # fmt: skip
def test_a_problem_is_one_line_whatever_the_file_holds(text: str) -> None:
    problems = _problems(HEAD + text)
    assert problems
    assert all(len(str(problem).splitlines()) == 1 and str(problem).isprintable() for problem in problems)


@given(st.text(), st.text())
def test_no_problem_holds_a_control_character(message: str, remedy: str) -> None:
    problem = with_invisible_named(Problem("f", 1, 1, "wrong-type", message, remedy))
    assert len(str(problem).splitlines()) == 1
    assert with_invisible_named(problem) == problem


_TEMPLATE = "templates: {t: &t {run: x}}\n"


@pytest.mark.parametrize(
    "text",
    [
        *(f"{JOB}{kind}: {{<<: *t}}\n" for kind in ("params", "secrets", "environments", "software")),
        f"{JOB}environments: {{dev: {{<<: *t}}}}\n",
        f"{JOB}environments: {{dev: {{jobs: {{<<: *t}}}}}}\n",
        f"{JOB}<<: *t\n",
        "jobs: {<<: *t}\n",
        "jobs: {fit: {<<: *t}}\n",
        "jobs: {fit: {<<: [*t, *t]}}\n",
        "jobs: {fit: {<<: text}}\n",
        "jobs: {fit: {<<: *unknown}}\n",
        *(
            f"jobs: {{fit: {{run: x, {kind}: {{<<: *t}}}}}}\n"
            for kind in ("env", "inputs", "outputs", "sweep", "slurm", "needs", "container")
        ),
        "jobs: {fit: {run: x, sweep: {over: {<<: *t}}}}\n",
        "jobs: {fit: {run: x, sweep: {over: {a: {<<: *t}}}}}\n",
    ],
)
def test_a_merge_key_is_one_error_wherever_it_stands(text: str) -> None:
    shown, problem = _one(_TEMPLATE + text)
    assert shown.endswith(" unknown-key")
    assert problem.remedy == "use `templates` and `extends`"
    line = f"{HEAD}{_TEMPLATE}{text}".split("\n")[problem.line - 1]
    assert line[problem.column - 1 :].startswith("<<")


@pytest.mark.parametrize("arguments", ["{<<: *t}", "{x: {<<: *t}}"])
def test_a_merge_key_among_arguments_is_an_error_beside_that_of_the_operator(arguments: str) -> None:
    problems = _problems(f"{HEAD}{_TEMPLATE}jobs: {{fit: {{uses: a.B, with: {arguments}}}}}\n")
    assert [problem.code for problem in problems] == ["operator-not-allowed", "unknown-key"]


def test_what_a_merge_key_brings_is_told_at_its_own_place_only() -> None:
    problems = _problems(
        f"{HEAD}defaults: {{env: &e {{A: [1]}}}}\njobs: {{fit: {{run: x, env: {{<<: *e}}}}, b: {{}}}}\n"
    )
    assert [(problem.line, problem.column, problem.code) for problem in problems] == [
        (2, 24, "wrong-type"), (3, 28, "unknown-key"), (3, 38, "missing-key"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "`hotswap` is empty, which is no header"), ("[workflow/v1]", "`hotswap` is a list, which is no header"),
        ("{workflow: v1}", "`hotswap` is a map, which is no header"), ("true", "`hotswap` is true, which"),
        ("workflow/v9", "`workflow/v9` is no header"),
    ],
)  # fmt: skip
def test_a_header_of_another_type_is_named_by_its_kind(value: str, said: str) -> None:
    (problem,) = _problems(f"hotswap: {value}\n{JOB}")
    assert problem.message.startswith(said)


def test_nothing_is_called_empty() -> None:
    assert _one(f"tags: [null]\n{JOB}")[1].message == "`tags` is empty, but must be a text"
