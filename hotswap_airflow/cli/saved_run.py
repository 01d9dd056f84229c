"""A run of ``hotswap run`` on disk: all that ``--attach`` needs, even if files change or processes die meanwhile."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hotswap_airflow.errors import SetupError
from hotswap_airflow.file_store.contents import ContentStore, write_whole
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.settings import state_folder
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.plan import Plan, make_plan
from hotswap_airflow.workflow.site import Site, implied_site
from hotswap_airflow.workflow.site_file import read_site

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_KEPT = 90 * 86_400.0
"""Seconds that the copies of a run's files stay on this machine."""


@dataclass(frozen=True)
class SavedRun:
    """The facts that a run began with. ``logins`` maps the names of clusters to logins as texts."""

    run: str
    nonce: str
    installation: str
    file: str
    environment: str
    site: str | None
    started: str
    params: Mapping[str, Any]
    logins: Mapping[str, str]


def new_run_id() -> str:
    """A new id of a run. Ids sort by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def folder_of(run: str) -> Path:
    """The folder in which one run is kept."""
    return state_folder() / "runs" / run


def save(saved: SavedRun, raw: bytes, folder: DiskFolder, plan: Plan) -> None:
    """Keep a run: its facts, the workflow's text and every file it names. Only this user may read it."""
    _remove_old()
    home = folder_of(saved.run)
    home.mkdir(parents=True)
    home.chmod(0o700)
    for file in plan.pack.files:
        target = home / "files" / file.path
        write_whole(target, folder.read(file.path))
        target.chmod(0o755 if file.executable else 0o644)
    (home / "files").mkdir(exist_ok=True)
    write_whole(home / "workflow", raw)
    write_whole(home / "run.json", json.dumps(asdict(saved), indent=2).encode())


def _remove_old() -> None:
    """Remove the folders and contents of old runs here. Nobody attaches to such runs any more."""
    oldest = time.time() - _KEPT
    for home in (state_folder() / "runs").glob("*"):
        if home.stat().st_mtime < oldest:
            shutil.rmtree(home, ignore_errors=True)
    ContentStore(state_folder()).sweep((), older_than=_KEPT)


def load(run: str) -> SavedRun:
    """Read a run. Raises ``SetupError`` if there is none of this id."""
    try:
        data = json.loads((folder_of(run) / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        known = sorted((path.name for path in (state_folder() / "runs").glob("*")), reverse=True)[:5]
        raise SetupError(f"there is no run {run!r}; the latest are: {', '.join(known) or 'none'}") from None
    return SavedRun(**data)


def plan_of(saved: SavedRun) -> tuple[Plan, Site]:
    """The plan that a run began with, and its site. Raises ``SpecError``."""
    home = folder_of(saved.run)
    site = read_site(saved.site.encode(), "site.yaml") if saved.site else implied_site("")
    checked = check_workflow((home / "workflow").read_bytes(), saved.file, files_of(saved), site)
    return make_plan(checked, site, saved.environment), site


def files_of(saved: SavedRun) -> DiskFolder:
    """The files that a run began with."""
    return DiskFolder(folder_of(saved.run) / "files")
