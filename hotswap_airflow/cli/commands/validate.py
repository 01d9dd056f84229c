"""``hotswap validate``: check workflow and site files."""

from __future__ import annotations

import functools
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli import loading
from hotswap_airflow.cli.excerpt import read_text, shown_problem, wants_colour
from hotswap_airflow.errors import Problem, SpecError
from hotswap_airflow.workflow.checked import taken_names
from hotswap_airflow.workflow.site_file import read_site
from hotswap_airflow.workflow.spec import vocabulary

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from hotswap_airflow.workflow.checked import CheckedWorkflow

_SITE = re.compile(rb"site/v1|^(?:clusters|environments)\s*:", re.MULTILINE)


def add_command(commands: Any) -> None:
    """Add the command."""
    validate = commands.add_parser("validate", help="check workflow files: exit 0 valid, 1 invalid, 2 misuse")
    validate.add_argument("files", nargs="+", metavar="FILE", help="workflow or site files, or folders of them")
    loading.add_site_arguments(validate)
    validate.add_argument("--format", choices=("text", "json", "github"), default="text")
    validate.set_defaults(action=_validate)


def _validate(arguments: argparse.Namespace) -> int:
    site = loading.find_site(arguments.site)
    if arguments.environment is not None:
        loading.check_environment(site, arguments.environment)
    checked = []
    problems: list[Problem] = []
    sites = 0
    files = loading.find_files(arguments.files)
    for path in files:
        if _is_site(path):
            problems += _site_problems(path)
            sites += 1
            continue
        found = loading.load(path, site)
        problems += [*found.problems, *_not_served(found)]
        checked.append(found)
    # Files that are named one by one may be variants of each other; those of a folder are served together.
    problems += taken_names([found for found in checked if files[found.file]])
    _report(problems, arguments.format)
    wrong = [problem for problem in problems if not problem.is_note]
    if arguments.format == "text":
        _summary(checked, sites, wrong)
        if site is None and checked:
            print("no site file is known (--site), so no limits of clusters were checked", file=sys.stderr)
    return 1 if wrong else 0


def _is_site(path: str) -> bool:
    if path.endswith(vocabulary.WORKFLOW_SUFFIXES):
        return False
    return _SITE.search(loading.read_bytes(path)) is not None


def _not_served(found: CheckedWorkflow) -> Iterator[Problem]:
    """The problem of a workflow file whose name keeps a DAGs folder from serving it."""
    if not found.is_ignored and not found.file.endswith(vocabulary.WORKFLOW_SUFFIXES):
        suffix = ".hotswap.json" if found.file.endswith(".json") else ".hotswap.yaml"
        better = Path(found.file).stem.removesuffix(".hotswap") + suffix
        words = "the DAGs folder serves only files that end in .hotswap.yaml or .hotswap.json"
        yield Problem(found.file, 0, 0, "name-invalid", words, f"rename it to {better}")


def _site_problems(path: str) -> tuple[Problem, ...]:
    try:
        read_site(loading.read_bytes(path), path)
    except SpecError as error:
        return error.problems
    return ()


def _report(problems: list[Problem], form: str) -> None:
    if form == "json":
        print(json.dumps([asdict(problem) for problem in problems], indent=2, ensure_ascii=False))
        return
    show = _github if form == "github" else _in_terminal() if sys.stdout.isatty() else str
    for problem in problems:
        print(show(problem))


def _in_terminal() -> Callable[[Problem], str]:
    """Shows a problem together with the line of its file, and in colour unless the person asked for none."""
    text_of = functools.cache(read_text)
    return lambda problem: shown_problem(problem, text_of(problem.file), colour=wants_colour())


def _github(problem: Problem) -> str:
    level = "notice" if problem.is_note else "error"
    text = f"{problem.message}; {problem.remedy}"
    for char, escape in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(char, escape)
    place = f",line={problem.line},col={problem.column}" if problem.line else ""
    return f"::{level} file={problem.file}{place},title={problem.code}::{text}"


def _summary(checked: list[CheckedWorkflow], sites: int, wrong: list[Problem]) -> None:
    if wrong:
        files = len({problem.file for problem in wrong})
        print(f"{len(wrong)} error(s) in {files} of {max(len(checked) + sites, files)} file(s)", file=sys.stderr)
        return
    valid = sum(found.is_valid for found in checked)
    counted = [f"{valid} workflow(s)"] if checked or not sites else []
    counted += [f"{sites} site file(s)"] if sites else []
    print(f"{' and '.join(counted)} valid", file=sys.stderr)
