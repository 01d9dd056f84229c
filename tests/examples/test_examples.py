"""Every example file: the good compile, the bad say what a person must see."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.workflow.checked import CheckedWorkflow, check_workflow, taken_names
from hotswap_airflow.workflow.plan import make_plan
from hotswap_airflow.workflow.site import Site
from hotswap_airflow.workflow.site_file import read_site

FILES = Path(__file__).parent / "files"
SHARED = Path(__file__).parents[3] / "shared" / "examples"


def _stem(path: Path) -> str:
    return path.name.split(".", maxsplit=1)[0]


GOOD = sorted(FILES.glob("good/*.hotswap.*"))
BAD = sorted(FILES.glob("bad/*.hotswap.yaml"))


@pytest.fixture(scope="module")
def site() -> Site:
    path = FILES / "good" / "site.yaml"
    return read_site(path.read_bytes(), path.name)


def _checked(path: Path, site: Site) -> CheckedWorkflow:
    return check_workflow(path.read_bytes(), path.name, DiskFolder(path.parent), site)


@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.name)
def test_a_good_file_compiles_without_a_note_in_every_environment(path: Path, site: Site) -> None:
    checked = _checked(path, site)
    assert checked.problems == ()
    assert checked.context is not None
    for environment in site.environments:
        assert make_plan(checked, site, environment).jobs


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.name)
def test_a_bad_file_says_where_what_and_what_to_do(path: Path, site: Site) -> None:
    place, code, words, remedy = (path.parent / f"{_stem(path)}.expected").read_text().splitlines()[:4]
    (problem,) = _checked(path, site).problems
    assert problem.code == code
    assert place in {f"{problem.line}:{problem.column}", "-"}
    assert [word for word in words.split(", ") if word not in problem.message] == []
    assert remedy in problem.remedy


def test_the_same_workflow_as_yaml_and_json_makes_the_same_plan(site: Site) -> None:
    checked = [_checked(path, site) for path in GOOD if _stem(path) == "hello"]
    plans = [make_plan(c, site, "dev") for c in checked]
    assert [plan.digest for plan in plans] == [plans[0].digest] * 2
    (problem,) = taken_names(checked)
    assert (problem.code, problem.file) == ("name-taken", "hello.hotswap.yaml")


def test_the_workflows_that_the_demo_drops_in_are_these_examples() -> None:
    dags = Path(__file__).parents[2] / "dags"
    for name in (
        "hello.hotswap.yaml",
        "own-code.hotswap.yaml",
        "sweep-fan-out.hotswap.yaml",
        "conditional.hotswap.yaml",
        "nightly.hotswap.yaml",
        *(f"fit/{p.name}" for p in (dags / "fit").glob("*.py")),
    ):
        assert (dags / name).read_bytes() == (FILES / "good" / name).read_bytes()


@pytest.mark.skipif(not SHARED.is_dir(), reason="only beside the shared folder of the house")
def test_the_copies_are_those_of_the_shared_folder() -> None:
    ours = {
        p.relative_to(FILES): p.read_bytes() for p in FILES.rglob("*") if p.is_file() and "__pycache__" not in p.parts
    }
    theirs = {
        p.relative_to(SHARED): p.read_bytes()
        for kind in ("good", "bad")
        for p in (SHARED / kind).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert ours == theirs
