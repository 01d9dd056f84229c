"""What each code of a problem means, with a file that has the problem and the same file mended.

All of it stands in ``catalogue.yaml`` beside this module. ``python -m hotswap_airflow.workflow.catalogue`` prints the
page of the documentation that is made of it.
"""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.context import FileEntry
from hotswap_airflow.workflow.site_file import read_site
from hotswap_airflow.workflow.text.document import read_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.site import Site

EXAMPLE = "example.hotswap.yaml"
_BYTE = re.compile(rb"\\x([0-9a-f]{2})")
_PAGE = """\
# Error codes

`hotswap validate` and Airflow show a problem as `FILE:LINE:COL: CODE: message; remedy`. For each code this page says
what it means, and shows a file that has the problem, what the check says of it, and the same file mended. `hotswap
explain CODE` shows the same in a terminal.
"""


@dataclass(frozen=True)
class Explanation:
    r"""What a code means: one or two sentences, a file that has the problem, and the same file mended.

    ``bad`` and ``good`` are empty for a code that no single file can show. ``files`` lie beside the examples: a text,
    or the number of bytes of a file whose content does not matter. ``has_site``: the examples are checked against
    ``example_site``. ``has_bytes``: ``\xNN`` in an example stands for one byte.
    """

    code: str
    meaning: str
    bad: str = ""
    good: str = ""
    files: Mapping[str, str | int] = field(default_factory=dict)
    has_site: bool = False
    has_bytes: bool = False

    @property
    def summary(self) -> str:
        """The first sentence of the meaning."""
        return re.split(r"(?<=\.) ", self.meaning, maxsplit=1)[0]

    def problems_of(self, example: str, site: Site | None = None) -> tuple[Problem, ...]:
        """What the checks find in one of the examples; ``site`` instead of the site of the catalogue."""
        raw = example.encode()
        if self.has_bytes:
            raw = _BYTE.sub(lambda match: bytes([int(match[1], 16)]), raw)
        limits = (site or example_site()) if self.has_site else None
        return check_workflow(raw, EXAMPLE, _ExampleFolder(self.files), limits).problems


class _ExampleFolder:
    """The folder of an example: files that exist in the catalogue only."""

    def __init__(self, files: Mapping[str, str | int]) -> None:
        self.files = files

    def walk(self, below: str, depth: int | None) -> Iterator[FileEntry]:  # noqa: ARG002  no example has folders
        """Give all files, if ``below`` is the folder itself."""
        if below in {"", "."}:
            yield from (self._entry(path) for path in sorted(self.files))

    def entry(self, path: str) -> FileEntry | None:
        """Give one file; None if there is none."""
        return self._entry(path) if path in self.files else None

    def _entry(self, path: str) -> FileEntry:
        content = self.files[path]
        return FileEntry(path, content if isinstance(content, int) else len(content.encode()), 0o644)

    def read(self, path: str) -> bytes:
        """Give the content of a file; empty if only its size is given."""
        content = self.files[path]
        return b"" if isinstance(content, int) else content.encode()


@functools.cache
def _data() -> dict[str, Any]:
    raw = resources.files("hotswap_airflow.workflow").joinpath("catalogue.yaml").read_bytes()
    data: dict[str, Any] = read_document(raw, "catalogue.yaml").data
    return data


def site_text() -> str:
    """The site file for which the examples with ``has_site`` are written."""
    text: str = _data()["site"]
    return text


@functools.cache
def example_site() -> Site:
    """The site for which the examples with ``has_site`` are written."""
    return read_site(site_text().encode(), "site.yaml")


CODES: tuple[str, ...] = tuple(_data()["codes"])
"""All codes, in the order of the page: first what is read first."""


def explain(code: str) -> Explanation:
    """What a code means. Raises ``KeyError`` for a code that is none of ``CODES``."""
    entry = dict(_data()["codes"][code])
    flags = {"has_site": entry.pop("site", False), "has_bytes": entry.pop("bytes", False)}
    return Explanation(code, **entry, **flags)


def page() -> str:
    """The page of the documentation: every code with its examples."""
    parts = [_PAGE, *(_section(explain(code)) for code in CODES)]
    parts.append(f"## The site of the examples\n\n{_fenced('yaml', site_text())}")
    return "\n".join(parts)


def _section(entry: Explanation) -> str:
    head = f"## {entry.code}\n\n{entry.meaning}\n"
    if not entry.bad:
        return head
    said = "".join(f"{problem}\n" for problem in entry.problems_of(entry.bad))
    site = "Checked for the [site of the examples](#the-site-of-the-examples).\n\n" if entry.has_site else ""
    beside = f"Beside the file: {', '.join(_file_names(entry.files))}.\n\n" if entry.files else ""
    parts = (_fenced("text", entry.bad), _fenced("text", said), "Mended:\n", _fenced("yaml", entry.good))
    return f"{head}\n{site}{beside}" + "\n".join(parts)


def _file_names(files: Mapping[str, str | int]) -> Iterator[str]:
    for name, content in files.items():
        yield f"`{name}` of {content:,} bytes" if isinstance(content, int) else f"`{name}`"


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}```\n"


if __name__ == "__main__":
    sys.stdout.write(page())
