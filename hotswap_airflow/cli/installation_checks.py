"""What `hotswap doctor` checks on this host: versions, Airflow's settings, the store, the bundles."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import os
import resource
import shutil
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotswap_airflow import __version__
from hotswap_airflow.cli.finding import Finding
from hotswap_airflow.errors import HotswapError, SetupError
from hotswap_airflow.file_store.contents import ContentStore
from hotswap_airflow.file_store.versions import VersionStore
from hotswap_airflow.settings import BUNDLE, read_without_airflow
from hotswap_airflow.slurm.parsing import lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OLDEST_AIRFLOW = (3, 3)
_LEAST_SPACE = 1 << 30
_LONG_INTERVAL = 300
_SLOW = 60
"""Seconds that a person waits for a new file to appear in Airflow before they search for a fault."""


def versions() -> Iterator[Finding]:
    """The versions of hotswap, Python, Airflow and the ssh packages."""
    part = "versions"
    yield Finding(part, "ok", f"hotswap {__version__}, Python {sys.version.split()[0]}")
    found = importlib.metadata.version("apache-airflow")
    if tuple(int(number) for number in found.split(".")[:2]) < _OLDEST_AIRFLOW:
        yield Finding(part, "problem", f"Airflow {found} is too old", "install apache-airflow 3.3 or later")
    else:
        yield Finding(part, "ok", f"Airflow {found}")
    for package in ("apache-airflow-providers-ssh", "asyncssh"):
        yield Finding(part, "ok", f"{package} {importlib.metadata.version(package)}")


def configuration() -> Iterator[Finding]:
    """Airflow's settings that runs need to keep their version, and triggerers to hold many triggers."""
    from airflow.configuration import conf

    part = "configuration"
    for section, key, why in (
        ("core", "min_serialized_dag_update_interval", "a quick second edit runs new code in an old Dag"),
        ("dag_processor", "stale_bundle_cleanup_interval", "Airflow looks for versions that it does not keep"),
    ):
        value = conf.getint(section, key)
        if value:
            yield Finding(part, "problem", f"[{section}] {key} is {value}: {why}", "set it to 0")
        else:
            yield Finding(part, "ok", f"[{section}] {key} = 0")
    if conf.getboolean("dag_processor", "disable_bundle_versioning"):
        words = "[dag_processor] disable_bundle_versioning is set: an edit changes runs that have begun"
        yield Finding(part, "problem", words, "set it to False")
    interval = conf.getint("dag_processor", "min_file_process_interval")
    if interval < _LONG_INTERVAL:
        words = f"[dag_processor] min_file_process_interval is {interval}: every file is read again each {interval} s"
        yield Finding(part, "warning", words, "set it to 600; an edited file is read at once all the same")
    yield _open_files(part, conf.getint("triggerer", "capacity"))


def _open_files(part: str, capacity: int) -> Finding:
    """A triggerer keeps one file open for each job that it waits for."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < 2 * capacity:
        words = f"{limit} open files are allowed, the triggerer's capacity is {capacity}"
        return Finding(part, "warning", words, f"start triggerers with `ulimit -n {2 * capacity}` or more")
    return Finding(part, "ok", f"{limit} open files for a triggerer of capacity {capacity}")


def store() -> Iterator[Finding]:
    """The store, as this host sees it."""
    part = "store"
    try:
        root = read_without_airflow().store_path
    except SetupError as error:
        yield Finding(part, "problem", str(error), "correct the [hotswap] section")
        return
    if not root.is_absolute():
        words = f"[hotswap] store_path is {root}, which is another folder for each process"
        yield Finding(part, "problem", words, "write the absolute path")
        return
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        words = f"{root} cannot be written"
        yield Finding(part, "problem", words, "set [hotswap] store_path to a folder that can be written")
        return
    if there != root:
        yield Finding(part, "warning", f"{root} does not exist yet", "start `airflow dag-processor`, which makes it")
        return
    own = root / "installation"
    name = own.read_text(encoding="utf-8").strip() if own.exists() else "none yet"
    yield Finding(part, "ok", f"{root} can be written; installation {name} (must be the same on every host)")
    free = shutil.disk_usage(root).free
    if free < _LEAST_SPACE:
        yield Finding(part, "warning", f"only {free >> 20} MiB are free in {root}", "make room")


def bundles() -> Iterator[Finding]:
    """The folders of workflows, as the dag-processor last saw them."""
    from airflow.configuration import conf

    part = "bundle"
    entries: Any = conf.getjson("dag_processor", "dag_bundle_config_list") or []
    ours = [entry for entry in entries if isinstance(entry, dict) and entry.get("classpath") == BUNDLE]
    if not ours:
        line = json.dumps([*entries, {"name": "workflows", "classpath": BUNDLE, "kwargs": {}}])
        words = "no bundle of workflows is configured, so Airflow does not see them"
        yield Finding(part, "problem", words, f"set [dag_processor] dag_bundle_config_list = {line}")
        return
    yield _discovery(part)
    for entry in ours:
        yield from _arguments(part, str(entry["name"]), entry.get("kwargs") or {})
        yield from _bundle(part, str(entry["name"]))


def _arguments(part: str, name: str, given: Mapping[str, Any]) -> Iterator[Finding]:
    """Problems in the arguments that a bundle is configured with."""
    from airflow.configuration import conf
    from airflow.dag_processing.bundles.base import BaseDagBundle

    known = {"folder", *inspect.signature(BaseDagBundle.__init__).parameters} - {"self", "name", "version"}
    for word in given.keys() - known:
        near = get_close_matches(word, known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else f"use one of: {', '.join(sorted(known))}"
        yield Finding(part, "problem", f"bundle {name} takes no argument {word!r}", remedy)
    folder = Path(given.get("folder") or conf.get_mandatory_value("core", "dags_folder")).expanduser()
    if not folder.is_dir():
        yield Finding(
            part, "problem", f"the folder of bundle {name} does not exist: {folder}", "make it, or name another"
        )
    interval = int(given.get("refresh_interval") or 0)
    if interval > _SLOW:
        words = f"bundle {name} looks at its folder every {interval} s"
        yield Finding(part, "warning", words, "set its refresh_interval to 5")


def _discovery(part: str) -> Finding:
    from hotswap_airflow.bundle import discovery

    setting = read_without_airflow().discovery
    mode = discovery.mode(setting)
    if mode == "stub" and setting != "stub":
        words = "this Airflow finds no YAML files; Python stubs in the store stand for them"
        return Finding(part, "warning", words, "nothing is lost; a newer hotswap may know this Airflow")
    return Finding(part, "ok", f"workflow files are found by {mode}")


def _bundle(part: str, name: str) -> Iterator[Finding]:
    root = read_without_airflow().store_path
    versions = VersionStore(root / "bundles" / name, ContentStore(root))
    current = versions.current()
    if current is None:
        words = f"bundle {name} has no version yet"
        yield Finding(part, "warning", words, "start `airflow dag-processor`, with the same [hotswap] store_path")
        return
    try:
        manifest: Mapping[str, Any] = versions.manifest(current)
    except HotswapError as error:
        yield Finding(part, "problem", str(error), "set [hotswap] store_path to the dag-processor's folder")
        return
    yield Finding(part, "ok", f"bundle {name} is at version {current}: {len(manifest)} workflow(s)")
    for path, entry in manifest.items():
        if entry.error:
            yield Finding(part, "warning", f"{path} is broken: {lines(entry.error)[0]}", "correct the file")
