"""Tables of results that are too long for Airflow's database: files of lines, read page by page."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any

from hotswap_airflow.errors import StoreError
from hotswap_airflow.file_store.contents import write_whole
from hotswap_airflow.slurm.history.table import ElementResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from hotswap_airflow.slurm.identity import JobKey

MOST_INLINE = 8_000
"""Characters of a sweep's values, as JSON, that may stand in the task's XCom."""
_POINTER = {"hotswap_table", "column"}


class ResultStore:
    """Tables by name below the store's folder ``results``. Raises ``StoreError`` if a table is not there."""

    def __init__(self, store: Path) -> None:
        self.root = store / "results"

    def write(self, key: JobKey, table: Iterable[ElementResult]) -> str:
        """Store the table of a try of a job; give the table's name."""
        name = f"{key.run.folder}/{key.digest}.jsonl"
        content = "".join(f"{row.to_json()}\n" for row in table).encode()
        try:
            write_whole(self.root / name, content)
        except OSError as error:
            raise StoreError(f"the store {self.root} cannot be written: {error.strerror}") from error
        return name

    def page(self, name: str, first: int = 0, count: int | None = None) -> list[ElementResult]:
        """The rows of a table from row ``first`` on: ``count`` rows, or all if it is None."""
        last = None if count is None else first + count
        try:
            with self._path(name).open(encoding="utf-8") as lines:
                return [ElementResult.from_json(line) for line in itertools.islice(lines, first, last)]
        except OSError as error:
            raise StoreError(
                f"table {name} is not in the store {self.root}: set [hotswap] store_path to one persistent folder "
                "that workers and triggerers all see; if it was removed after its time, clear the sweep's task, too"
            ) from error

    def remove(self, run_folder: str, digests: Iterable[str]) -> None:
        """Remove the tables of some tries of a run's jobs."""
        folder = self._path(run_folder)
        for digest in digests:
            (folder / f"{digest}.jsonl").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the folder has other tables, or was not there
            folder.rmdir()

    def shortened(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a sweep for its task's XCom; if they are long, lists become pointers into its table."""
        if len(json.dumps(values)) <= MOST_INLINE:
            return dict(values)
        return {
            output: {"hotswap_table": name, "column": output} if isinstance(value, list) else value
            for output, value in values.items()
        }

    def whole(self, values: Mapping[str, Any], run_folder: str) -> dict[str, Any]:
        """The values of a run's XCom; pointers are replaced by what they point to, which must be tables of this run."""
        tables: dict[str, list[ElementResult]] = {}
        found = dict(values)
        for output, value in values.items():
            if isinstance(value, dict) and set(value) == _POINTER:
                name = str(value["hotswap_table"])
                if not self._path(name).resolve().is_relative_to((self.root / run_folder).resolve()):
                    raise StoreError(f"there is no table {name!r} of this run")
                if name not in tables:
                    tables[name] = self.page(name)
                found[output] = [(row.values or {}).get(value["column"]) for row in tables[name]]
        return found

    def _path(self, name: str) -> Path:
        """The path of a name below our folder. Raises ``StoreError`` if the name leads outside."""
        path = self.root / name
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise StoreError(f"there is no table {name!r}")
        return path
