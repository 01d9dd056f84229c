"""``validate``, ``plan`` and ``render`` as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hotswap_airflow.cli import main

EXAMPLES = Path(__file__).parents[1] / "examples" / "files"
SITE = str(EXAMPLES / "good" / "site.yaml")
HELLO = str(EXAMPLES / "good" / "hello.hotswap.yaml")
OWN_CODE = str(EXAMPLES / "good" / "own-code.hotswap.yaml")
UNKNOWN_PARAM = str(EXAMPLES / "bad" / "28-unknown-param.hotswap.yaml")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_a_valid_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", HELLO, SITE, "--site", SITE]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "1 workflow(s) and 1 site file(s) valid\n")


def test_an_invalid_file_as_text_json_and_annotations(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", UNKNOWN_PARAM, "--site", SITE]) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"{UNKNOWN_PARAM}:9:17: param-unknown: ")
    assert main(["validate", UNKNOWN_PARAM, "--site", SITE, "--format", "json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)
    assert problem.keys() == {"file", "line", "column", "code", "message", "remedy"}
    assert (problem["line"], problem["column"], problem["code"]) == (9, 17, "param-unknown")
    assert main(["validate", UNKNOWN_PARAM, "--site", SITE, "--format", "github"]) == 1
    assert capsys.readouterr().out.startswith(f"::error file={UNKNOWN_PARAM},line=9,col=17,title=param-unknown::")


def test_all_well_as_json_is_an_empty_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", HELLO, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_note_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(EXAMPLES / "bad" / "69-not-a-workflow.hotswap.yaml")
    assert main(["validate", path, "--format", "github"]) == 0
    assert capsys.readouterr().out.startswith("::notice file=")


def test_a_folder_is_all_its_files_and_a_name_is_given_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.hotswap.yaml").write_text("hotswap: workflow/v1\nname: x\njobs: {a: {run: y}}\n")
    assert main(["validate", str(tmp_path)]) == 1
    assert f"{tmp_path}/b.hotswap.yaml:2:7: name-taken" in capsys.readouterr().out


def test_misuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path / "gone.hotswap.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert main(["validate", str(tmp_path)]) == 2
    assert main(["plan", HELLO, "--site", SITE, "--environment", "mars"]) == 2
    assert main(["render", HELLO, "--site", SITE, "--job", "gone"]) == 2
    for arguments in (["frobnicate"], ["validate"], []):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_a_wrong_site_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "site.yaml"
    wrong.write_text("hotswap: site/v1\nenvironments: {dev: {cluster: b}}\nclusters: {a: {}}\n")
    assert main(["validate", HELLO, "--site", str(wrong)]) == 1
    assert "cluster-unknown" in capsys.readouterr().err
    wrong.write_text("hotswap: site/v1\nclusters: [\n")
    assert main(["validate", str(wrong)]) == 1
    assert ":2:11: yaml-unclosed" in capsys.readouterr().out


def test_the_site_and_environment_of_airflows_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "airflow"
    home.mkdir()
    (home / "airflow.cfg").write_text(f"[hotswap]\nsite = {SITE}\nenvironment = qa\n")
    assert main(["plan", HELLO]) == 0
    assert "environment qa" in capsys.readouterr().out
    (home / "airflow.cfg").write_text("[hotswap]\ndiscovery = maybe\n")
    assert main(["plan", HELLO]) == 2


def test_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", OWN_CODE, "--site", SITE]) == 0
    said = capsys.readouterr().out
    assert "job     fit  on main, after sample" in said
    assert "input points = <jobs.sample.points>" in said
    assert main(["plan", OWN_CODE, "--site", SITE, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [job["name"] for job in plan["jobs"]] == ["sample", "fit"]
    assert main(["plan", UNKNOWN_PARAM, "--site", SITE]) == 1


def test_the_plan_of_a_scheduled_workflow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.hotswap.yaml"
    path.write_text(
        "hotswap: workflow/v1\nschedule: '@daily'\nparams: {n: 1}\n"
        "jobs:\n  a: {run: x, slurm: {nodes: {from: params.n}}, inputs: {e: {from: environment}}}\n"
        "  b: {run: y, needs: {a: failed}}\n"
    )
    assert main(["plan", str(path)]) == 0
    said = capsys.readouterr().out
    for part in ("starts  @daily (UTC)", "--nodes=<params.n>", "input e = <environment>", "after a (failed)"):
        assert part in said


def test_what_sbatch_will_get(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", OWN_CODE, "--site", SITE, "--job", "fit"]) == 0
    said = capsys.readouterr().out
    assert "&& sbatch --parsable" in said
    assert "--partition=batch --nodes=1 --time=00:05:00 --mem=200M script\n#!/bin/bash\n" in said
    assert main(["render", OWN_CODE, "--site", SITE, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["job"], second["job"]) == ("sample", "fit")
    assert first["argv"][0] == "sbatch"
    assert first["script"].startswith("#!/bin/bash\n")


def test_a_site_file_is_read_as_one_and_its_unknown_keys_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", SITE]) == 0
    assert capsys.readouterr().err == "1 site file(s) valid\n"
    path = tmp_path / "site.yaml"
    text = Path(SITE).read_text()
    for wrong, words in (
        (
            text.replace("    workdir:", "    work_dir:", 1),
            "unknown-key: there is no key `work_dir` in clusters.main; did you mean `workdir`?",
        ),
        (text.replace("policy:", "zzz: 1\npolicy:"), "unknown-key: there is no key `zzz` in the file"),
        (
            text.replace("max_time: 30m", "maxtime: 30m"),
            "there is no key `maxtime` in clusters.main.partitions.debug; did you mean `max_time`?",
        ),
        (
            text.replace("    kind: slurm", "    max_time: 1h", 1),
            "misplaced-key: `max_time` does not belong in clusters.main; put it under `clusters.NAME.partitions.NAME:`",
        ),
        (text.replace("max_jobs", "max_job"), "there is no key `max_job` in policy; did you mean `max_jobs`?"),
        (
            text.replace("cpu_hour", "cpu_hours", 1),
            "`cpu_hours` does not belong in clusters.main.prices; put it under `projects.NAME.budget:`, or did you mean `cpu_hour`?",
        ),
        (
            text.replace("account: genomics", "acount: genomics"),
            "there is no key `acount` in projects.genomics; did you mean `account`?",
        ),
        (
            text.replace("approvals: 1", "approval: 1"),
            "there is no key `approval` in environments.qa; did you mean `approvals`?",
        ),
        (text.replace("{partition: batch, ", "{partion: batch, ", 1), "there is no key `partion`"),
        (text.replace("hotswap: site/v1\n", ""), "header-missing: a site file needs `hotswap`"),
    ):
        path.write_text(wrong)
        assert main(["validate", str(path)]) == 1
        assert words in capsys.readouterr().out


def test_an_environment_that_is_not_there_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", HELLO, "--site", SITE, "--environment", "prd"]) == 2
    assert "there is no environment 'prd'; use one of: dev, qa, prod" in capsys.readouterr().err
    assert main(["validate", HELLO, "--site", SITE, "--environment", "prod"]) == 0


def test_without_a_site_file_it_says_what_was_not_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", HELLO]) == 0
    assert "no limits of clusters were checked" in capsys.readouterr().err


def test_a_file_that_the_folder_passes_over_is_told_to_be_renamed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flow.yaml").write_text(Path(HELLO).read_text())
    (tmp_path / "other.yml").write_text("a: 1\n")
    for named in (tmp_path, tmp_path / "flow.yaml"):
        assert main(["validate", str(named)]) == 1
        assert capsys.readouterr().out == (
            f"{tmp_path}/flow.yaml: name-invalid: the DAGs folder serves only files that end in .hotswap.yaml or "
            ".hotswap.json; rename it to flow.hotswap.yaml\n"
        )


def test_the_version_is_the_same_in_every_process() -> None:
    argv = [
        sys.executable,
        "-m",
        "hotswap_airflow.cli",
        "plan",
        str(EXAMPLES / "good" / "sweep-fan-out.hotswap.yaml"),
        "--json",
    ]
    versions = set()
    for seed in "01234":
        done = subprocess.run(
            argv, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        )
        versions.add(json.loads(done.stdout)["digest"])
    assert len(versions) == 1


def _in_terminal(arguments: list[str], **environment: str) -> str:
    """What the command writes to a terminal."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "hotswap_airflow.cli", *arguments]
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env={**kept, **environment}):
        os.close(theirs)
        with os.fdopen(ours, "rb") as terminal:
            said = b""
            try:
                while piece := terminal.read1():
                    said += piece
            except OSError:  # the end of a terminal
                pass
    return said.decode().replace("\r\n", "\n")


def test_a_terminal_shows_the_line_and_the_place() -> None:
    shown = _in_terminal(["validate", UNKNOWN_PARAM, "--site", SITE])
    assert "\033[31mparam-unknown\033[0m" in shown
    head, line, mark = _in_terminal(["validate", UNKNOWN_PARAM, "--site", SITE], NO_COLOR="1").splitlines()
    assert head.startswith(f"{UNKNOWN_PARAM}:9:17: param-unknown: ")
    assert line == '    9 |       echo "T = $PARAM_TEMPRATURE"'
    assert mark == f"      | {' ' * 16}^"


def test_what_a_shell_makes_of_a_star_is_valid_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """Folders of code, tables, the site file, and a workflow beside its twin in JSON."""
    assert main(["validate", *map(str, sorted((EXAMPLES / "good").iterdir())), "--site", SITE]) == 0
    said = capsys.readouterr()
    assert (said.out, "and 1 site file(s) valid" in said.err) == ("", True)


def test_what_is_no_terminal_gets_one_line_for_each_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", UNKNOWN_PARAM, "--site", SITE]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_code_is_explained_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "sweep-empty"]) == 0
    said = capsys.readouterr().out
    meaning, bad, problem, good = (said.index(part) for part in (
        "sweep-empty: An axis", "{range: [5, 5]}", "example.hotswap.yaml:4:26: sweep-empty: ", "{range: [5, 6]}"
    ))  # fmt: skip
    assert meaning < bad < problem < good
    assert main(["explain", "name-taken"]) == 0
    assert capsys.readouterr().out.startswith("name-taken: Another file")


def test_all_codes_are_listed_and_an_unknown_one_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    assert "\nyaml-tab              A tab stands in the indentation.\n" in capsys.readouterr().out
    assert main(["explain", "partition-limt"]) == 2
    assert "did you mean `partition-limit`?" in capsys.readouterr().err
    assert main(["explain", "42"]) == 2
    assert "`hotswap explain` lists all codes" in capsys.readouterr().err
