"""The documentation holds: its workflows are valid, its commands print what is shown, and its Python code runs."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hotswap_airflow.cli import main
from hotswap_airflow.errors import SpecError
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.testing.fake_slurm import FakeSlurm
from hotswap_airflow.testing.sandbox import Sandbox, site_text
from hotswap_airflow.testing.slurm import ClusterOptions, SlurmCluster
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.plan import make_plan
from hotswap_airflow.workflow.site_file import read_site

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GOOD = Path(__file__).parent / "files" / "good"
TUTORIAL = (DOCS / "tutorial.md").read_text()
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(r"`([\w./-]+)`[^`\n]*:\n\n```(?:yaml|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LEFT_OUT = "…"
_DIFFERS = (
    (re.compile(r"\b\d{8}T\d{6}-[0-9a-f]{6}\b"), "RUN"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?=  )"), "TIME"),
    (re.compile(r"\bSlurm job \d+"), "Slurm job N"),
    (re.compile(r"\bmain-\d\b"), "NODE"),
    (re.compile(r"(?<=  )[0-9a-f]{12}\b"), "DIGEST"),
)
"""What is not the same in two runs, or after a change of our own code."""


def _pages() -> Iterator[Path]:
    """All pages but that of the errors: its examples need a site and files, and test_catalogue checks them."""
    yield ROOT / "README.md"
    yield from sorted(path for path in DOCS.rglob("*.md") if path.name != "errors.md" and "_build" not in path.parts)


def _named_files(page: str) -> dict[str, str]:
    """The files that a page shows, each named in the line before it."""
    return {found[1]: found[2] for found in _NAMED.finditer(page)}


WORKFLOWS = [
    pytest.param(found[2], id=f"{path.stem}-{number}")
    for path in _pages()
    for number, found in enumerate(_FENCE.finditer(path.read_text()), 1)
    if found[1] == "yaml" and found[2].startswith("hotswap: workflow/v1")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files beside the examples, and those of the tutorial."""
    made = tmp_path_factory.mktemp("documentation") / "files"
    shutil.copytree(GOOD, made, ignore=shutil.ignore_patterns("*.hotswap.*", "__pycache__"))
    _write(made, {name: text for name, text in _named_files(TUTORIAL).items() if name.endswith(".py")})
    return made


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize("text", WORKFLOWS)
def test_a_workflow_in_the_documentation_is_valid_and_has_a_plan_in_every_environment(text: str, folder: Path) -> None:
    site = read_site((folder / "site.yaml").read_bytes(), "site.yaml")
    checked = check_workflow(text.encode(), "shown.hotswap.yaml", DiskFolder(folder), site)
    assert checked.problems == ()
    for environment in site.environments:
        assert make_plan(checked, site, environment).jobs


@dataclass(frozen=True)
class Command:
    """A command that a page shows, and the lines that are shown below it."""

    argv: list[str]
    shown: list[str]

    @property
    def verb(self) -> str:
        """Its second word."""
        return self.argv[1]


def _commands(page: str) -> Iterator[Command]:
    for found in _FENCE.finditer(page):
        if found[1] == "console":
            for command, *shown in _split(found[2].splitlines()):
                yield Command(shlex.split(command.removeprefix("$ ")), shown)


def _split(lines: list[str]) -> list[list[str]]:
    parts: list[list[str]] = []
    for line in lines:
        if line.startswith("$ "):
            parts.append([])
        parts[-1].append(line)
    return parts


COMMANDS = list(_commands(TUTORIAL))


def _print_of(argv: list[str]) -> list[str]:
    """What a command prints, as a terminal shows it."""
    if argv[0] != "hotswap":
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        main(argv[1:])
    return said.getvalue().splitlines()


def _plain(line: str) -> str:
    for pattern, name in _DIFFERS:
        line = pattern.sub(name, line)
    return line


def _are_in_order(shown: list[str], printed: list[str]) -> bool:
    rest = iter(printed)
    return all(line in rest for line in shown)


def _check(command: Command) -> None:
    printed = [_plain(line) for line in _print_of(command.argv)]
    shown = [_plain(line) for line in command.shown]
    told = f"{shlex.join(command.argv)} printed:\n" + "\n".join(printed)
    whole = [line for line in shown if line != _LEFT_OUT]
    if command.verb == "run":
        # Jobs run side by side, so that only the order of each job's own lines is sure.
        for job, lines in _by_job(whole).items():
            assert _are_in_order(lines, _by_job(printed)[job]), told
    elif whole != shown:
        assert _are_in_order(whole, printed), told
    else:
        assert shown == printed, told
    if shown and shown[-1] != _LEFT_OUT:
        assert printed[-1] == shown[-1], told


def _by_job(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        found[line.split("  ")[1] if line.startswith("TIME  ") else ""].append(line)
    return found


@pytest.fixture
def tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the tutorial, as the working directory."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "tutorial").mkdir()
    monkeypatch.chdir(tmp_path / "tutorial")
    _write(Path(), _named_files(TUTORIAL))
    return tmp_path / "tutorial"


@pytest.fixture
def site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The site file of a sandbox that is not up."""
    options = ClusterOptions()
    made = Sandbox("default", tmp_path, [SlurmCluster("main", tmp_path / "main", options)])
    made.site_file.write_text(site_text(made, options))
    monkeypatch.setenv("AIRFLOW__HOTSWAP__SITE", str(made.site_file))
    return made.site_file


def test_the_tutorial_is_short_and_runs_each_of_its_files() -> None:
    assert len(TUTORIAL.splitlines()) <= 250
    workflows = [name for name in _named_files(TUTORIAL) if name.endswith(".hotswap.yaml")]
    assert len(workflows) == len(re.findall(r"^## \d\. ", TUTORIAL, re.MULTILINE)) == 8
    assert set(workflows) == {word for command in COMMANDS for word in command.argv if word.endswith(".hotswap.yaml")}


@pytest.mark.usefixtures("tutorial", "site_file")
def test_the_tutorial_s_checks_and_plans_print_what_it_shows() -> None:
    assert _print_of(["hotswap", "validate", "."]) == ["8 workflow(s) valid"]
    for command in COMMANDS:
        if command.verb != "run":
            _check(command)
    for inline in re.findall(r"`hotswap (explain [\w-]+)`", TUTORIAL):
        assert main(inline.split()) == 0


@pytest.mark.usefixtures("tutorial", "site_file")
def test_the_tutorial_s_memory_grows_for_what_ran_out_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeSlurm(tmp_path / "fake") as fake:
        monkeypatch.setenv("PATH", f"{fake.folder}/bin", prepend=":")
        monkeypatch.setenv("AIRFLOW_CONN_SLURM_MAIN", "slurm://?transport=local")
        fake.outcomes = [["RUNNING", "OUT_OF_MEMORY"]]
        assert _print_of(["hotswap", "run", "sweep.hotswap.yaml"])[-1] == "success: integrate success"
        asked = [
            word for call in fake.calls if call[0] == "sbatch" for word in call if re.match("--(mem|array)=", word)
        ]
    assert asked == ["--array=0-2%2", "--mem=100M", "--array=0,2%2", "--mem=200M"]


@pytest.mark.daemons
@pytest.mark.usefixtures("tutorial")
def test_the_tutorial_s_runs_on_a_real_cluster_print_what_it_shows() -> None:
    assert _print_of(["hotswap", "sandbox", "up"])[0] == "default/main: running"
    try:
        for command in COMMANDS:
            if command.verb == "run":
                _check(command)
    finally:
        assert _print_of(["hotswap", "sandbox", "down"]) == ["sandbox default is down"]


TESTING = _named_files((DOCS / "testing-workflows.md").read_text())
_ON_SLURM = {"conftest.py", "test_code_on_slurm.py"}


def _run_pytest(folder: Path, names: set[str]) -> str:
    """Run tests of the page in their own process, as a person does beside a workflow."""
    _write(folder, {name: text for name, text in TESTING.items() if name in names})
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PATH": path, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--rootdir=.", "."]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_of_a_workflow_that_the_documentation_shows_pass(tutorial: Path) -> None:
    assert "4 passed" in _run_pytest(tutorial, {*TESTING} - _ON_SLURM)


@pytest.mark.daemons
def test_the_tests_of_a_workflow_on_a_real_cluster_that_the_documentation_shows_pass(tutorial: Path) -> None:
    assert "2 passed" in _run_pytest(tutorial, _ON_SLURM)


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A folder with the hand-written Dag of the documentation, and the workflow that it names."""
    (code,) = (
        found[2] for found in _FENCE.finditer((DOCS / "airflow.md").read_text()) if "import load_workflow" in found[2]
    )
    shutil.copytree(ROOT / "dags", tmp_path / "dags" / "flows")
    (tmp_path / "dags" / "campaign.py").write_text(code)
    return tmp_path / "dags" / "campaign.py"


@pytest.mark.usefixtures("site_file")
def test_a_hand_written_dag_gets_the_jobs_and_parameters_of_a_workflow_file(campaign: Path) -> None:
    made = runpy.run_path(str(campaign))
    assert {*made["campaign"].task_dict} == {"fetch", "fit.sample", "fit.fit", "report"}
    assert made["campaign"].task_dict["fit.sample"].upstream_task_ids == {"fetch"}
    assert made["campaign"].task_dict["report"].upstream_task_ids == {"fit.fit"}
    assert (made["campaign"].params["degree"], made["own_code"].params["degree"]) == (3, 2)
    assert (made["own_code"].dag_id, {*made["own_code"].task_dict}) == ("own-code", {"sample", "fit"})


@pytest.mark.usefixtures("site_file")
def test_a_problem_of_a_workflow_file_in_a_hand_written_dag_has_its_place(campaign: Path) -> None:
    path = campaign.parent / "flows" / "own-code.hotswap.yaml"
    path.write_text(path.read_text().replace("needs: [sample]", "needs: [smaple]"))
    with pytest.raises(SpecError, match=r"own-code\.hotswap\.yaml:\d+:\d+: needs-unknown: .*; did you mean `sample`"):
        runpy.run_path(str(campaign))
