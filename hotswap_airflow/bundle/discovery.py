"""How Airflow's dag-processor finds our workflow files: it looks only for Python, so one function is extended.

All code that uses private parts of Airflow is in this module. It tests these parts before it relies on them.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import airflow.utils.file

from hotswap_airflow.errors import StoreError
from hotswap_airflow.file_store.versions import (
    MANIFEST,
    STUBS,
    Entry,
    VersionStore,
    dag_file,
    read_manifest,
    version_files,
    write_manifest,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from hotswap_airflow.settings import Discovery

Mode = Literal["patch", "stub"]
_STUBS_ARE_USED = ".hotswap-stubs"
"""A file of this name marks a version whose stubs are its Dag files."""
_FIND = "_hotswap_find"
_OURS = "_hotswap"
_served: dict[Path, VersionStore] = {}
_modes: list[Mode] = []


def dag_files(root: Path) -> Iterator[str]:
    """The Dag files of a version of ours; none for any other folder, and none if stubs stand for them."""
    if (root / MANIFEST).exists() and not (root / _STUBS_ARE_USED).exists():
        for path, entry in read_manifest(root).items():
            yield from (str(root / name) for name in version_files(path, entry))


def stub(workflow: str) -> str:
    """The Python file that stands for a workflow's Dag file, relative to a version."""
    return f"{STUBS}/{workflow}.py"


def marks(mode: Mode) -> dict[str, bytes]:
    """The files of a version that show Airflow and this module whether its stubs are Dag files."""
    return {_STUBS_ARE_USED: b""} if mode == "stub" else {".airflowignore": f"{STUBS}/\n".encode()}


def serve(folder: Path, store: VersionStore) -> None:
    """Remember that a folder's workflows are ours, so that the Python files they name are not taken for Dag files."""
    _served[folder.absolute()] = store


def install() -> None:
    """Extend Airflow's search for Dag files. A second call changes nothing."""
    if not hasattr(airflow.utils.file, _FIND) and hasattr(airflow.utils.file, "find_dag_file_paths"):
        setattr(airflow.utils.file, _FIND, airflow.utils.file.find_dag_file_paths)
        airflow.utils.file.find_dag_file_paths = _find_dag_file_paths


def _find_dag_file_paths(directory: str | os.PathLike[str], safe_mode: bool) -> list[str]:  # noqa: FBT001
    """Airflow's own search, plus workflow files below our own store, without Python files that belong to workflows."""
    found: list[str] = getattr(airflow.utils.file, _FIND)(directory, safe_mode)
    if (Path(directory) / MANIFEST).exists():
        return found + list(dag_files(Path(directory)))
    theirs = _files_of_workflows()
    return [path for path in found if Path(path).absolute() not in theirs] if theirs else found


def _files_of_workflows() -> set[Path]:
    """The files beside workflows that belong to them, in the folders that we serve."""
    theirs = set()
    for folder, store in _served.items():
        with contextlib.suppress(StoreError):  # the version was removed meanwhile
            for path, entry in store.manifest(store.current()).items():
                theirs |= {(folder / path).parent / file for file, _, _ in entry.files}
    return theirs


def works() -> bool:
    """Whether the dag-processor of this Airflow finds a YAML file below our store. This is tried, not assumed."""
    from airflow.dag_processing import manager

    with tempfile.TemporaryDirectory() as name:
        probe = Path(name) / dag_file("probe")
        probe.parent.mkdir()
        probe.touch()
        write_manifest(Path(name), {"probe.hotswap.yaml": Entry(text="", workflow="probe")})
        search = getattr(manager, "list_py_file_paths", None)
        return search is not None and str(probe) in search(name)


def mode(setting: Discovery) -> Mode:
    """How workflow files become Dag files here, for a value of ``[hotswap] discovery``."""
    if setting == "stub":
        return "stub"
    if not _modes:
        install()
        _modes.append("patch" if works() else "stub")
    return _modes[0]


def guard() -> None:
    """Correct what Airflow 3.3's dag-processor does wrong with versions. A second call changes nothing."""
    from airflow.dag_processing.manager import DagFileProcessorManager as Manager

    _extend(Manager, "prepare_file_queue", _forget_callbacks)
    _extend(Manager, "_start_new_processes", _renew_queue)
    _extend(Manager, "handle_parsing_result", _is_current)


def _extend(owner: type, name: str, first: Callable[..., bool]) -> None:
    """Let a method begin with ``first``, and do nothing more if ``first`` gives False."""
    original = getattr(owner, name, None)
    if original is None or hasattr(original, _OURS):
        return

    @functools.wraps(original)
    def extended(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, *args, **kwargs) if first(self, *args) else None

    setattr(extended, _OURS, True)
    setattr(owner, name, extended)


def _forget_callbacks(manager: Any, *_: Any) -> bool:
    """Keep files from being parsed without pause after a callback for a version of them.

    Airflow keeps separate statistics for such a callback, may use them for the file, and never updates them: ten
    minutes later the file counts as due for ever. These statistics are dropped before files are queued.
    """
    statistics = getattr(manager, "_file_stats", {})
    for file in [file for file in statistics if getattr(file, "bundle_version", None)]:
        del statistics[file]
    return True


def _renew_queue(manager: Any) -> bool:
    """Let queued files name the newest version: a file that was queued before a refresh names the old folder."""
    queue = getattr(manager, "_file_queue", None)
    if isinstance(queue, OrderedDict):
        newest = [(file, _newest(manager, file)) for file in queue]
        if any(file.bundle_path != folder for file, folder in newest):
            queue.clear()
            queue.update((replace(file, bundle_path=folder), None) for file, folder in newest)
    return True


def _is_current(manager: Any, file: Any, *_: Any) -> bool:
    """Whether a parsed file is the same in the newest version; otherwise Airflow would store it as that version's."""
    folder = _newest(manager, file)
    if file.bundle_path == folder:
        return True
    try:
        return bool((file.bundle_path / file.rel_path).samefile(folder / file.rel_path))
    except FileNotFoundError:
        return False


def _newest(manager: Any, file: Any) -> Path | None:
    """The folder of the newest version of a file's bundle if the bundle is ours, otherwise the folder that it names."""
    folder: Path | None = file.bundle_path
    if file.bundle_version is None:
        for bundle in getattr(manager, "_dag_bundles", ()):
            if bundle.name == file.bundle_name and (bundle.path / MANIFEST).exists():
                folder = bundle.path
    return folder
