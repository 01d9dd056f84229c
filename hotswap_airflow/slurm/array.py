"""Arrays: many elements that differ in a row of values, and how they are doing together.

An array index runs ``chunk`` elements in turn; elements are counted from 0, as are indices.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.judgement import Evidence, judge
from hotswap_airflow.slurm.states import SIGNALS, JobStatus, Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping


Row = tuple[str, ...]
PROGRESS_KEY = "hotswap_progress"
"""The XCom of a sweep's task: how many elements are where, and at the end the name of their table."""
_SHOWN = 5
_MOST_IDS = 100
_GOOD = JobStatus("COMPLETED", exit_status=0)
_PENDING = JobStatus("PENDING")
_INDICES = re.compile(r"[0-9]+_(?:([0-9]+)|\[([0-9,:-]+)(?:%[0-9]+)?\])")


@dataclass(frozen=True)
class Array:
    """The elements of a job: for each a row of values, None where the element is left out.

    ``variables`` name the columns. ``tolerated`` is how many elements may fail. ``done`` are elements that an
    earlier array has brought to a good end, ``lost`` those that failed there for good: neither is run again.
    ``held`` are elements that a later array runs, since the cluster takes only so many at a time; ``waiting`` those
    that had their turn in an earlier one without a good end, and may be run again after the last; ``saved`` those that
    saved their state there and go on after the last. ``earlier`` is how lost and waiting ones ended there, as far as
    that was noted. ``most_indices`` is how many indices an array may have on the cluster; None where that is not known.
    ``submitted_base`` is the base that an array was submitted with.
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
        """What Slurm's index 0 stands for: the first index, where the indices are too great for one array."""
        if self.submitted_base is not None:
            return self.submitted_base
        is_too_long = self.most_indices is not None and bool(self.indices) and self.indices[-1] >= self.most_indices
        return self.indices[0] if is_too_long else 0

    @property
    def fitting(self) -> int:
        """How many indices, from the first on, one array may have."""
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
        """The array with its first so many indices only; the others are held."""
        held = {element for index in self.indices[count:] for element in self.elements_of(index)}
        return replace(self, held=self.held | held)

    def only(self, members: Collection[int], base: int) -> Array:
        """The array with these elements only and this base, as one that was submitted before has them."""
        held = self.held | (frozenset(self.wanted) - frozenset(members))
        return replace(self, held=held, submitted_base=base)

    @property
    def option(self) -> str:
        """What ``sbatch --array`` gets.

        >>> Array(("X",), (("a",),) * 8, max_parallel=2, done=frozenset({3})).option
        '0-2,4-7%2'
        """
        limit = f"%{self.max_parallel}" if self.max_parallel is not None else ""
        return ranges(index - self.base for index in self.indices) + limit

    def to_json(self) -> str:
        """Write the array; the rows are packed, for there may be thousands."""
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


def ranges(numbers: Iterable[int]) -> str:
    """Rising numbers as Slurm writes them.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def numbers(text: str) -> list[int]:
    """Read what Slurm writes for rising numbers.

    >>> numbers("0-2,9,10-20:5"), numbers("")
    ([0, 1, 2, 9, 10, 15, 20], [])
    """
    found: list[int] = []
    for part in filter(None, text.split(",")):
        bounds, _, step = part.partition(":")
        first, _, last = bounds.partition("-")
        found += range(int(first), int(last or first) + 1, int(step or 1))
    return found


def indices_in(job_id: str) -> list[int]:
    """The array indices that Slurm means by an id; none for a job that is no array.

    >>> indices_in("17_3"), indices_in("17_[0-2,9%4]"), indices_in("17")
    ([3], [0, 1, 2, 9], [])
    """
    match = _INDICES.fullmatch(job_id)
    return numbers(match[1] or match[2]) if match else []


@dataclass(frozen=True)
class Tally:
    """How many elements are where."""

    done: int = 0
    failed: int = 0
    running: int = 0
    pending: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        """Give the line that people read.

        >>> str(Tally(8112, 3, 640, 1245))
        '8,112 done · 3 failed · 640 running · 1,245 pending'
        """
        parts = [f"{getattr(self, name):,} {name}" for name in ("done", "failed", "running", "pending")]
        return " · ".join([*parts, f"{self.skipped:,} skipped"] if self.skipped else parts)


@dataclass
class ArrayState:
    """What is known of an array that is watched: its indices by Slurm, its elements by their own notes.

    ``queued`` is what the queue last said of its indices, ``indices`` what follows from all sources, ``noted`` maps
    elements to the exit statuses that they noted. ``open_indices`` are those whose end is not known yet; they and
    ``tally`` are as they were concluded last.
    """

    array: Array
    queued: Mapping[int, JobStatus] = field(default_factory=dict)
    indices: dict[int, JobStatus] = field(default_factory=dict)
    noted: Mapping[int, int] = field(default_factory=dict)
    open_indices: list[int] = field(init=False)
    tally: Tally = field(init=False)
    _missing_since: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nothing is known: all indices are open, and all elements wait."""
        self.open_indices = self.array.indices
        self.tally = self._tally(Counter({Phase.WAITING: len(self.array.wanted)}))

    @property
    def needs_notes(self) -> bool:
        """Whether the notes of elements may say more than the queue: of chunks, and of what Slurm would begin again."""
        return (
            bool(self.unsure) or self.array.chunk > 1 or any("held" in status.reason for status in self.queued.values())
        )

    @property
    def unsure(self) -> list[int]:
        """Indices whose end must be looked up: they left the queue, or stand in it as ended."""
        return [i for i in self.open_indices if i not in self.queued or self.queued[i].phase.is_final]

    def asked_of_accounting(self, job_id: int) -> list[str]:
        """The ids that accounting must be asked for; the whole array where they are many."""
        base = self.array.base
        asked = [f"{job_id}_{index - base}" for index in self.unsure if self.sentinel(index) != 0]
        return asked if len(asked) <= _MOST_IDS else [str(job_id)]

    def conclude_each(
        self, now: float, submitted_at: float, accounted: Mapping[int, JobStatus] | None, *, is_sure: bool
    ) -> Iterator[int]:
        """Say of each open index what follows, then count the elements; ``is_sure``: whether accounting answered.

        Gives the number of each as it is done: of thousands together they would hold up whoever else waits.
        """
        for index in self.open_indices:
            if not is_sure:
                self._missing_since.pop(index, None)
            self.indices[index] = self._judged(index, now, submitted_at, accounted)
            yield index
        self.open_indices = [index for index in self.open_indices if not self.indices[index].phase.is_final]
        count = Counter[Phase]()
        for element in self.array.wanted:
            count[self.element(element).phase] += 1
            yield element
        self.tally = self._tally(count)

    def _judged(
        self, index: int, now: float, submitted_at: float, accounted: Mapping[int, JobStatus] | None
    ) -> JobStatus:
        queued, sentinel = self.queued.get(index), self.sentinel(index)
        if queued is not None and not queued.phase.is_final:
            if sentinel != 0:
                self._missing_since.pop(index, None)
                return queued
        elif sentinel == 0:
            return _GOOD
        return judge(
            Evidence(
                now=now,
                submitted_at=submitted_at,
                missing_since=self._missing_since.setdefault(index, now),
                queued=queued,
                accounted=(accounted or {}).get(index),
                sentinel=sentinel,
                has_accounting=accounted is not None,
            )
        )

    def sentinel(self, index: int) -> int | None:
        """The exit status of an index by the notes of its elements; None while one of them has none."""
        statuses = [self.noted.get(element) for element in self.array.elements_of(index)]
        known = [status for status in statuses if status is not None]
        return max(known, default=0) if len(known) == len(statuses) else None

    def element(self, element: int) -> JobStatus:
        """How an element is: by its own note, and else as its index."""
        index = self.indices.get(element // self.array.chunk, _PENDING)
        noted = self.noted.get(element)
        if noted is None:
            return index
        if noted == 0:
            return _GOOD
        if index.phase is Phase.GONE and noted > SIGNALS:
            return index  # what was left of it was ended
        # Before Slurm ended it, an element of a chunk may have failed by itself.
        by_itself = index.state == "FAILED" or (self.array.chunk > 1 and noted <= SIGNALS)
        return (
            index
            if index.phase is Phase.FAILED and not by_itself
            else JobStatus("FAILED", exit_status=noted, nodes=index.nodes)
        )

    @property
    def elements(self) -> dict[int, JobStatus]:
        """How each element is that is to be run."""
        return {element: self.element(element) for element in self.array.wanted}

    def _tally(self, count: Counter[Phase]) -> Tally:
        """How many elements are where, with those that an earlier array brought to an end."""
        return Tally(
            done=count[Phase.SUCCEEDED] + len(self.array.done),
            failed=count[Phase.FAILED] + count[Phase.GONE] + len(self.array.lost) + len(self.array.waiting),
            running=count[Phase.RUNNING],
            pending=count[Phase.WAITING] + count[Phase.UNREACHABLE] + len(self.array.held | self.array.saved),
            skipped=sum(row is None for row in self.array.rows),
        )

    @property
    def status(self) -> JobStatus:
        """The array as one job: final when every index is; good where no more failed than is tolerated."""
        open_indices = self.open_indices
        if not open_indices:
            return _GOOD if self.tally.failed <= self.array.tolerated else JobStatus("FAILED")
        waiting = [status for i in open_indices if (status := self.indices.get(i)) is not None]
        if any(status.phase is Phase.RUNNING for status in waiting):
            return JobStatus("RUNNING")
        never = next((status for status in waiting if status.never_starts), None)
        return never or next(iter(waiting), _PENDING)


def told(failed: Mapping[int, JobStatus], count: int, before: int = 0) -> str:
    """Which elements failed, and how, in words; the first few of them. ``before`` have failed in earlier tries."""
    shown = [f"{element} ({_how(status)})" for element, status in list(failed.items())[:_SHOWN]]
    more = f" and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
    earlier = [f"{before} in earlier tries"] if before else []
    return f"{len(failed) + before} of {count} elements failed: {', '.join([*shown, *earlier])}{more}"


def _how(status: JobStatus) -> str:
    if status.state == "FAILED" and status.exit_status is not None:
        return f"exit status {status.exit_status}"
    return status.state


def value_lists(
    array: Array, found: Mapping[int, Mapping[str, object]], names: Collection[str]
) -> dict[str, list[object]]:
    """For each output the values of all elements in order; null where an element has none."""
    return {name: [found.get(element, {}).get(name) for element in range(len(array.rows))] for name in names}
