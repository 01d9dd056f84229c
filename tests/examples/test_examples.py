"""Every example file: the good compile, the bad say what a person must see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.workflow.checked import CheckedWorkflow, check_workflow, taken_names
from hotswap_airflow.workflow.plan import make_plan
from hotswap_airflow.workflow.site import Site
from hotswap_airflow.workflow.site_file import read_site

FILES = Path(__file__).parent / "files"
SHARED = Path(__file__).parents[3] / "shared" / "examples"
NOT_YET_GOOD = """
    blue-green budget-burst canary chain-500 conditional gpu-train licences mixed-operators mpi-container nightly
    progressive protein-fold retry-escalate software sweep-csv
""".split()
"""Use keys that wait for the language issue."""
NOT_YET_BAD = """
    09-wrong-type 10-wrong-choice 17-naive-start-date 19-impossible-date
    29-unknown-param-in-if 31-reference-not-in-needs 32-broken-if 33-unknown-template
    34-template-cycle 46-operator-not-allowed 47-image-not-allowed 48-unknown-project
    54-weights-not-rising
    55-weight-over-100 56-metric-without-min-runs 57-unknown-rollback-target 58-blue-green-without-smoke
    59-overlay-adds-job 60-unknown-environment 61-negative-budget 62-burst-to-home 63-plaintext-secret
    75-unknown-software 76-two-kinds-of-software 77-secret-not-allowed 78-account-of-another-project
""".split()
"""Their one error lies in keys that wait for the language issue."""


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


@pytest.mark.parametrize("path", [p for p in GOOD if _stem(p) not in NOT_YET_GOOD], ids=lambda p: p.name)
def test_a_good_file_compiles_without_a_note_in_every_environment(path: Path, site: Site) -> None:
    checked = _checked(path, site)
    assert checked.problems == ()
    assert checked.source is not None
    for environment in site.environments:
        assert make_plan(checked.source, site, environment).jobs


@pytest.mark.parametrize("path", [p for p in GOOD if _stem(p) in NOT_YET_GOOD], ids=lambda p: p.name)
def test_a_good_file_of_later_is_answered_with_not_supported_only(path: Path, site: Site) -> None:
    problems = _checked(path, site).problems
    assert {problem.code for problem in problems} == {"not-supported"}
    assert len({problem.message for problem in problems}) == len(problems)


@pytest.mark.parametrize("path", [p for p in BAD if _stem(p) not in NOT_YET_BAD], ids=lambda p: p.name)
def test_a_bad_file_says_where_what_and_what_to_do(path: Path, site: Site) -> None:
    place, code, words, remedy = (path.parent / f"{_stem(path)}.expected").read_text().splitlines()[:4]
    (problem,) = _checked(path, site).problems
    assert problem.code == code
    assert place in {f"{problem.line}:{problem.column}", "-"}
    assert [word for word in words.split(", ") if word not in problem.message] == []
    assert remedy in problem.remedy


@pytest.mark.parametrize("path", [p for p in BAD if _stem(p) in NOT_YET_BAD], ids=lambda p: p.name)
def test_a_bad_file_of_later_is_refused_and_never_called_unknown(path: Path, site: Site) -> None:
    codes = {problem.code for problem in _checked(path, site).problems}
    assert "not-supported" in codes
    assert "unknown-key" not in codes


def test_the_lists_of_waiting_files_name_only_files_that_are_there() -> None:
    assert set(NOT_YET_GOOD) <= {_stem(path) for path in GOOD}
    assert set(NOT_YET_BAD) <= {_stem(path) for path in BAD}


def test_the_same_workflow_as_yaml_and_json_makes_the_same_plan(site: Site) -> None:
    checked = [_checked(path, site) for path in GOOD if _stem(path) == "hello"]
    plans = [make_plan(c.source, site, "dev") for c in checked if c.source is not None]
    assert [plan.digest for plan in plans] == [plans[0].digest] * 2
    (problem,) = taken_names(checked)
    assert (problem.code, problem.file) == ("name-taken", "hello.hotswap.yaml")


def test_the_workflows_in_the_documentation_are_valid() -> None:
    root = Path(__file__).parents[2]
    pages = [root / "README.md", *(root / "docs").glob("*.md")]
    shown = [text for page in pages for text in re.findall(r"```yaml\n(hotswap: .*?)```", page.read_text(), re.DOTALL)]
    assert len(shown) > 1
    for text in shown:
        assert check_workflow(text.encode(), "shown.hotswap.yaml", DiskFolder(root / "dags")).problems == ()


def test_the_workflows_that_the_demo_drops_in_are_these_examples() -> None:
    dags = Path(__file__).parents[2] / "dags"
    for name in (
        "hello.hotswap.yaml",
        "own-code.hotswap.yaml",
        "sweep-fan-out.hotswap.yaml",
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
