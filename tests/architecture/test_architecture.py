"""The rules of the house, checked."""

from __future__ import annotations

import ast
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import hotswap_airflow

PACKAGE = Path(hotswap_airflow.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_FUNCTION, MAX_MODULE, MAX_ROOM, TYPICAL_FUNCTION = 50, 360, 14, 10
BANNED = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
AIRFLOW_BEGINS = {
    "hooks", "triggers", "operators", "sensors", "task_groups", "dag_builder", "bundle", "testing", "cli", "web",
    "plugin.py", "provider_info.py",
}  # fmt: skip
EDGES = {("folder.py", "_airflow_refusal")}
"""Where everything is caught: whatever Airflow says of one person's file must not hide those of the others."""
TOP = {
    ".ci", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
    "benchmarks", "constraints.txt", "dags", "docker-compose.yaml", "docs", "hotswap_airflow", "plugins",
    "pyproject.toml", "tests",
}  # fmt: skip
PRIVATE_WORDS = re.compile(r"pypi\.|(?<![\w/])/(?:work|root|home)/")


def _functions(module: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(module.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _listed() -> list[str]:
    """The files that belong to the project."""
    return subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def test_a_line_feed_alone_ends_a_line() -> None:
    """``str.splitlines`` cuts values at form feeds, U+2028 and others; ``slurm.parsing.lines`` does not."""
    allowed = {"testing"}  # what our own daemons and tools print
    cutting = [m for m in MODULES if ".splitlines(" in m.read_text() and m.relative_to(PACKAGE).parts[0] not in allowed]
    assert cutting == []


def test_functions_fit_on_a_screen() -> None:
    long = [f"{m.name}:{f.lineno} {f.name}" for m in MODULES for f in _functions(m) if _length(f) > MAX_FUNCTION]
    assert long == []


def test_functions_are_typically_short() -> None:
    lengths = sorted(_length(f) for m in MODULES for f in _functions(m))
    assert lengths[len(lengths) // 2] <= TYPICAL_FUNCTION


def test_modules_are_short() -> None:
    assert [m.name for m in MODULES if len(m.read_text().splitlines()) > MAX_MODULE] == []


def test_rooms_are_small() -> None:
    rooms = Counter(m.parent for m in MODULES if m.name != "__init__.py" and m.parent != PACKAGE)
    assert [room.name for room, count in rooms.items() if count > MAX_ROOM] == []


def test_nothing_else_stands_at_the_top() -> None:
    assert {Path(name).parts[0] for name in _listed()} - TOP == set()


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [m for m in MODULES if BANNED & {m.stem, *m.relative_to(PACKAGE).parts}] == []


def test_nothing_below_hooks_imports_airflow() -> None:
    below = [m for m in MODULES if m.relative_to(PACKAGE).parts[0] not in AIRFLOW_BEGINS]
    assert below
    guilty = []
    for module in below:
        for node in ast.walk(ast.parse(module.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            guilty += [module.name for name in names if name.split(".")[0] == "airflow"]
    assert guilty == []


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "tests/examples/files/good/hello.hotswap.yaml"]])
def test_the_command_line_starts_without_airflow(arguments: list[str]) -> None:
    code = (
        "import sys; from hotswap_airflow.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "assert 'airflow' not in sys.modules, 'airflow was imported'"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, capture_output=True)


def _catches_all(handler: ast.ExceptHandler) -> bool:
    kind = handler.type
    return kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})


def test_no_blanket_except_outside_the_outermost_edges() -> None:
    guilty = []
    for module in MODULES:
        tree = ast.parse(module.read_text())
        edges = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and (module.name, n.name) in EDGES]
        allowed = [handler for edge in edges for handler in ast.walk(edge)]
        handlers = [n for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n not in allowed]
        guilty += [f"{module.name}:{handler.lineno}" for handler in handlers if _catches_all(handler)]
    assert guilty == []


def test_no_tracked_file_names_a_machine_or_an_index() -> None:
    guilty = []
    for name in _listed():
        path = ROOT / name
        if path.suffix in {".png", ".gz"} or not path.is_file() or path == Path(__file__):
            continue
        text = path.read_text(errors="replace")
        guilty += [f"{name}: {found[0]}" for found in PRIVATE_WORDS.finditer(text)]
    assert guilty == []


def _named_in_the_documentation() -> list[tuple[str, str]]:
    pages = sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs" / "decisions").glob("*.md"))
    tops = "|".join(sorted({m.relative_to(PACKAGE).parts[0].removesuffix(".py") for m in MODULES}))
    name = re.compile(rf"`((?:{tops})(?:\.[A-Za-z_]+)+)`")
    return [(page.name, found[1]) for page in pages for found in name.finditer(page.read_text())]


def test_names_in_the_documentation_exist() -> None:
    named = _named_in_the_documentation()
    assert len([name for page, name in named if page == "architecture.md"]) > 40
    gone = [(page, name) for page, name in named if not _exists(name)]
    assert gone == []


def _exists(name: str) -> bool:
    try:
        pkgutil.resolve_name(f"hotswap_airflow.{name}")
    except (ImportError, AttributeError):
        return False
    return True


def test_workers_load_no_ssh_library() -> None:
    code = (
        "import sys; import hotswap_airflow.operators.workflow, hotswap_airflow.sensors.slurm\n"
        "assert not {'asyncssh', 'paramiko'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
