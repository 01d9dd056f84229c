"""The catalogue of error codes: every code is in it, and every example shows what it is for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import hotswap_airflow
from hotswap_airflow.slurm.options import OPTIONS
from hotswap_airflow.workflow.catalogue import CODES, Explanation, explain, page
from hotswap_airflow.workflow.site import Site
from hotswap_airflow.workflow.site_file import read_site

TESTS = Path(__file__).parents[1]
PACKAGE = Path(hotswap_airflow.__file__).parent
TABLE = """
    not-utf8 empty-file multiple-documents yaml-tab yaml-colon-space yaml-indent yaml-unclosed yaml-syntax yaml-tag
    yaml-alias-limit duplicate-key header-missing header-unknown unknown-key misplaced-key missing-key wrong-type
    wrong-choice out-of-range conflict name-invalid name-collision name-taken duration-invalid time-ambiguous size-invalid
    cron-invalid datetime-invalid datetime-naive expression-invalid param-unknown param-default variable-unknown
    output-unknown output-duplicate reference-not-needed input-race needs-unknown needs-self needs-cycle needs-element
    template-unknown template-cycle script-missing file-missing files-too-large software-unknown software-source
    sweep-empty sweep-too-large sweep-zip-length sweep-source sweep-output slurm-key-reserved slurm-value-unsafe
    cluster-unknown partition-unknown license-unknown partition-limit node-limit operator-not-allowed project-unknown
    policy-limit secret-not-allowed secret-plaintext deploy-weights rollback-target smoke-missing environment-unknown
    environment-new-job burst-target ignored
""".split()
"""The table of the language's definition, in its order."""
LOOKS_LIKE_A_CODE = re.compile(r"[a-z]+(-[a-z0-9]+)+|conflict|ignored")
NO_CODES = {"blue-green", "hotswap-runs", "utf-8", "utf-8-sig", "any-whole", "job-name", "mail-type", *OPTIONS}
"""Other texts of the checks that look like a code."""
CHECKERS = [*(PACKAGE / "workflow").rglob("*.py"), PACKAGE / "slurm" / "options.py", PACKAGE / "slurm" / "limits.py"]
WITH_EXAMPLE = [entry for entry in map(explain, CODES) if entry.bad]


def _texts(module: Path) -> set[str]:
    nodes = ast.walk(ast.parse(module.read_text()))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.fixture(scope="module")
def site() -> Site:
    """The site of the example files, which the catalogue's own one is like."""
    return read_site((TESTS / "examples" / "files" / "good" / "site.yaml").read_bytes(), "site.yaml")


def test_the_codes_are_those_of_the_language() -> None:
    assert list(CODES) == TABLE


def test_every_code_that_a_check_can_give_is_explained() -> None:
    texts = set().union(*map(_texts, CHECKERS))
    used = {text for text in texts if LOOKS_LIKE_A_CODE.fullmatch(text)} - NO_CODES
    assert used == set(CODES)


@pytest.mark.parametrize("entry", WITH_EXAMPLE, ids=lambda entry: entry.code)
def test_a_bad_example_has_its_problem_and_the_mended_one_none(entry: Explanation, site: Site) -> None:
    for chosen in (None, site):
        assert [problem.code for problem in entry.problems_of(entry.bad, chosen)] == [entry.code]
        assert entry.problems_of(entry.good, chosen) == ()


def test_only_what_one_file_cannot_show_has_no_example() -> None:
    assert [code for code in CODES if not explain(code).bad] == ["name-taken"]


@pytest.mark.parametrize("code", CODES)
def test_a_meaning_is_one_or_two_sentences(code: str) -> None:
    entry = explain(code)
    assert re.fullmatch(r"[^\n]+\.", entry.meaning)
    assert len(re.split(r"\.(?: |$)", entry.meaning)) <= 3
    assert entry.meaning.startswith(entry.summary)
    assert len(entry.summary) < 140


def test_the_page_is_the_catalogue() -> None:
    written = (TESTS.parent / "docs" / "errors.md").read_text()
    assert written == page(), "run: python -m hotswap_airflow.workflow.catalogue > docs/errors.md"
