"""``validate``, ``plan`` and ``render`` as a person types them."""

from __future__ import annotations

import json
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
    assert (said.out, said.err) == ("", "1 workflow(s) valid\n")


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
