"""Arrays: many elements that differ in a row of values.

An array index runs ``chunk`` elements one after the other. Elements and indices are counted from 0.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from hotswap_airflow.slurm.states import JobStatus

Row = tuple[str, ...]
_INDICES = re.compile(r"[0-9]+_(?:([0-9]+)|\[([0-9,:-]+)(?:%[0-9]+)?\])")


@dataclass(frozen=True)
class Array:
    """The elements of a job: for each a row of values, None if the element is left out.

    ``variables`` name the columns. ``tolerated`` is how many elements may fail. ``done`` elements ended well in an
    earlier array, ``lost`` elements failed there for good: neither is run again. ``held`` elements are run in a later
    array, because the cluster takes only so many at a time. ``waiting`` elements had their turn in an earlier array
    without a good end, and may be run again after the last array. ``saved`` elements saved their state in an earlier
    array and go on after the last one. ``earlier`` is how lost and waiting elements ended there, if that was noted.
    ``most_indices`` is how many indices an array may have on the cluster; None if that is not known.
    ``submitted_base`` is the base with which an array was submitted.
    """

    variables: tuple[str, ...]
    rows: tuple[Row | None, ...]
    chunk: int = 1
    max_parallel: int | None = None
    tolerated: int = 0
    done: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()
    waiting: frozenset[int] = frozenset()
    saved: frozenset[int] = frozenset()
    most_indices: int | None = None
    submitted_base: int | None = None
    earlier: Mapping[int, JobStatus] = field(default_factory=dict, compare=False)

    @cached_property
    def wanted(self) -> list[int]:
        """The elements that are to be run."""
        return [element for element in range(len(self.rows)) if self.is_wanted(element)]

    @cached_property
    def indices(self) -> list[int]:
        """The array indices that are to be run."""
        return list(self._elements)

    @cached_property
    def base(self) -> int:
        """The index that Slurm's index 0 stands for: the first index if the indices are too great for one array."""
        if self.submitted_base is not None:
            return self.submitted_base
        is_too_long = self.most_indices is not None and bool(self.indices) and self.indices[-1] >= self.most_indices
        return self.indices[0] if is_too_long else 0

    @property
    def fitting(self) -> int:
        """How many indices, from the first one on, fit into one array."""
        if self.most_indices is None:
            return len(self.indices)
        return bisect_left(self.indices, self.base + self.most_indices)

    def elements_of(self, index: int) -> list[int]:
        """The elements that an index is to run."""
        return self._elements.get(index, [])

    @cached_property
    def _elements(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for element in self.wanted:
            found.setdefault(element // self.chunk, []).append(element)
        return found

    def is_wanted(self, element: int) -> bool:
        """Whether an element is to be run."""
        return self.rows[element] is not None and element not in self._left_out

    @cached_property
    def _left_out(self) -> frozenset[int]:
        return self.done | self.lost | self.held | self.waiting | self.saved

    @cached_property
    def digest(self) -> str:
        """A short text that changes with any value of any element."""
        return hashlib.sha256(json.dumps([self.variables, self.rows]).encode()).hexdigest()[:12]

    def first(self, count: int) -> Array:
        """The array with only its first ``count`` indices; the elements of the others are held."""
        held = {element for index in self.indices[count:] for element in self.elements_of(index)}
        return replace(self, held=self.held | held)

    def only(self, members: Collection[int], base: int) -> Array:
        """The array with only these elements and this base, as in an array that was submitted before."""
        held = self.held | (frozenset(self.wanted) - frozenset(members))
        return replace(self, held=held, submitted_base=base)

    @property
    def option(self) -> str:
        """The value of ``sbatch --array``.

        >>> Array(("X",), (("a",),) * 8, max_parallel=2, done=frozenset({3})).option
        '0-2,4-7%2'
        """
        limit = f"%{self.max_parallel}" if self.max_parallel is not None else ""
        return format_ranges(index - self.base for index in self.indices) + limit

    def to_json(self) -> str:
        """Write the array; the rows are packed because there may be thousands."""
        rows = base64.b64encode(zlib.compress(json.dumps(self.rows).encode())).decode()
        return json.dumps([self.variables, rows, self.chunk, self.max_parallel, self.tolerated, self.most_indices])

    @classmethod
    def from_json(cls, text: str) -> Array:
        """Read what ``to_json`` wrote."""
        variables, packed, chunk, max_parallel, tolerated, *rest = json.loads(text)
        rows = json.loads(zlib.decompress(base64.b64decode(packed)))
        return cls(
            tuple(variables),
            tuple(None if row is None else tuple(row) for row in rows),
            chunk,
            max_parallel,
            tolerated,
            most_indices=rest[0] if rest else None,
        )


def format_ranges(numbers: Iterable[int]) -> str:
    """Write rising numbers as Slurm writes them.

    >>> format_ranges([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def parse_ranges(text: str) -> list[int]:
    """Read what Slurm writes for rising numbers.

    >>> parse_ranges("0-2,9,10-20:5"), parse_ranges("")
    ([0, 1, 2, 9, 10, 15, 20], [])
    """
    found: list[int] = []
    for part in filter(None, text.split(",")):
        bounds, _, step = part.partition(":")
        first, _, last = bounds.partition("-")
        found += range(int(first), int(last or first) + 1, int(step or 1))
    return found


def indices_in(job_id: str) -> list[int]:
    """The array indices that Slurm means by an id; none if the job is not an array.

    >>> indices_in("17_3"), indices_in("17_[0-2,9%4]"), indices_in("17")
    ([3], [0, 1, 2, 9], [])
    """
    match = _INDICES.fullmatch(job_id)
    return parse_ranges(match[1] or match[2]) if match else []


def value_lists(
    array: Array, found: Mapping[int, Mapping[str, object]], names: Collection[str]
) -> dict[str, list[object]]:
    """For each output the values of all elements in order; None if an element has no value."""
    return {name: [found.get(element, {}).get(name) for element in range(len(array.rows))] for name in names}
