"""The state of all elements of an array, from what Slurm says of its indices and from the elements' own notes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.judgement import Evidence, is_missing, judge
from hotswap_airflow.slurm.states import SIGNALS, JobStatus, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotswap_airflow.slurm.array import Array

PROGRESS_KEY = "hotswap_progress"
"""The XCom of a sweep's task: how many elements are in each state, and at the end the name of their table."""
_SHOWN = 5
_MOST_IDS = 100
_GOOD = JobStatus("COMPLETED", exit_status=0)
_PENDING = JobStatus("PENDING")


@dataclass(frozen=True)
class Tally:
    """How many elements are in each state."""

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


@dataclass(frozen=True)
class ElementEnds:
    """The ends that the elements of an array noted: their exit statuses.

    ``stopped`` are elements that ended with 0 after Slurm had sent SIGTERM: only Slurm knows whether they were done.
    """

    statuses: Mapping[int, int] = field(default_factory=dict)
    stopped: frozenset[int] = frozenset()

    @property
    def good(self) -> set[int]:
        """The elements that ended well by themselves."""
        return {element for element, status in self.statuses.items() if status == 0} - self.stopped


@dataclass
class ArrayState:
    """What is known of an array that is watched: its indices from Slurm, its elements from their own notes.

    ``queued`` is what the queue last showed of its indices, ``indices`` what follows from all sources, ``ends`` what
    the elements noted. ``open_indices`` are the indices whose end is not known yet. They and ``tally`` are as they were
    judged last.
    """

    array: Array
    queued: Mapping[int, JobStatus] = field(default_factory=dict)
    indices: dict[int, JobStatus] = field(default_factory=dict)
    ends: ElementEnds = field(default_factory=ElementEnds)
    open_indices: list[int] = field(init=False)
    tally: Tally = field(init=False)
    _missing_since: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing known: all indices are open, and all elements wait."""
        self.open_indices = self.array.indices
        self.tally = self._tally(Counter({Phase.WAITING: len(self.array.wanted)}))

    @property
    def needs_notes(self) -> bool:
        """Whether notes may show more than the queue: for unsure indices, chunks, and jobs that Slurm begins again."""
        return (
            bool(self.unsure) or self.array.chunk > 1 or any("held" in status.reason for status in self.queued.values())
        )

    @property
    def hold(self) -> JobStatus | None:
        """The status of an index that waits until a person releases it; None if there is none."""
        waiting = (self.indices.get(index) for index in self.open_indices)
        return next((status for status in waiting if status is not None and status.is_held), None)

    @property
    def unsure(self) -> list[int]:
        """Indices whose end must be looked up: they left the queue, or the queue shows them as ended."""
        return [i for i in self.open_indices if i not in self.queued or self.queued[i].phase.is_final]

    def asked_of_accounting(self, job_id: int) -> list[str]:
        """The ids to request from accounting; the id of the whole array if they are many."""
        base = self.array.base
        ids = [f"{job_id}_{index - base}" for index in self.unsure if not self._ended_well(index)]
        return ids if len(ids) <= _MOST_IDS else [str(job_id)]

    def conclude_each(
        self, now: float, submitted_at: float, accounted: Mapping[int, JobStatus] | None, *, is_sure: bool
    ) -> Iterator[int]:
        """Judge each open index, then count the elements; ``is_sure``: whether accounting answered.

        Gives each number when it is done, so that the caller can pause: thousands at once would delay other work.
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
        if self._ended_well(index):
            return _GOOD
        queued, noted_status = self.queued.get(index), self.noted_status(index)
        signalled = self._was_stopped(index)
        if is_missing(queued, noted_status, signalled=signalled):
            since = self._missing_since.setdefault(index, now)
        else:
            self._missing_since.pop(index, None)
            since = now
        return judge(
            Evidence(
                now=now,
                submitted_at=submitted_at,
                missing_since=since,
                queued=queued,
                accounted=(accounted or {}).get(index),
                noted_status=noted_status,
                signalled=signalled,
                has_accounting=accounted is not None,
            )
        )

    def _ended_well(self, index: int) -> bool:
        """Whether the queue and all elements of an index agree on its good end, so that accounting is not needed."""
        queued = self.queued.get(index)
        return queued is not None and queued.phase is Phase.SUCCEEDED and self.noted_status(index) == 0

    def _was_stopped(self, index: int) -> bool:
        stopped = self.ends.stopped
        return bool(stopped) and any(element in stopped for element in self.array.elements_of(index))

    def noted_status(self, index: int) -> int | None:
        """The exit status of an index: the greatest in its elements' notes; None while an element has no note."""
        statuses = [self.ends.statuses.get(element) for element in self.array.elements_of(index)]
        known = [status for status in statuses if status is not None]
        return max(known, default=0) if len(known) == len(statuses) else None

    def element(self, element: int) -> JobStatus:
        """The status of an element: from its own note, and otherwise that of its index."""
        index = self.indices.get(element // self.array.chunk, _PENDING)
        noted = self.ends.statuses.get(element)
        if noted is None:
            return index
        if noted == 0:
            return index if self._is_disbelieved(element, index) else _GOOD
        if index.phase is Phase.GONE and noted > SIGNALS:
            return index  # the signal ended what was left of it
        # An element of a chunk may have failed by itself before Slurm ended the index.
        has_turns = self.array.chunk > 1 and index.state != "OUT_OF_MEMORY"
        by_itself = index.state == "FAILED" or (has_turns and noted <= SIGNALS)
        return (
            index
            if index.phase is Phase.FAILED and not by_itself
            else JobStatus("FAILED", exit_status=noted, nodes=index.nodes)
        )

    def _is_disbelieved(self, element: int, index: JobStatus) -> bool:
        """Whether an element that ended with 0 was not done, according to what Slurm says of its index.

        An element that is alone in its index is judged like a single job. If several elements take turns in an index,
        the elements that ended before Slurm ended the index were done. But if memory ran out, it is not known which of
        them lost a process.
        """
        if index.phase is Phase.GONE:
            return element in self.ends.stopped
        if index.phase is not Phase.FAILED:
            return False
        return self.array.chunk == 1 or element in self.ends.stopped or index.state == "OUT_OF_MEMORY"

    @property
    def elements(self) -> dict[int, JobStatus]:
        """The status of each element that is to be run."""
        return {element: self.element(element) for element in self.array.wanted}

    def _tally(self, count: Counter[Phase]) -> Tally:
        """How many elements are in each state, including elements that an earlier array brought to an end."""
        return Tally(
            done=count[Phase.SUCCEEDED] + len(self.array.done),
            failed=count[Phase.FAILED] + count[Phase.GONE] + len(self.array.lost) + len(self.array.waiting),
            running=count[Phase.RUNNING],
            pending=count[Phase.WAITING] + count[Phase.UNREACHABLE] + len(self.array.held | self.array.saved),
            skipped=sum(row is None for row in self.array.rows),
        )

    @property
    def status(self) -> JobStatus:
        """The array as one job: final when every index is final; good if no more elements failed than is tolerated."""
        open_indices = self.open_indices
        if not open_indices:
            return _GOOD if self.tally.failed <= self.array.tolerated else JobStatus("FAILED")
        waiting = [status for i in open_indices if (status := self.indices.get(i)) is not None]
        if any(status.phase is Phase.RUNNING for status in waiting):
            return JobStatus("RUNNING")
        never = next((status for status in waiting if status.never_starts), None)
        return never or next(iter(waiting), _PENDING)


def failure_summary(failed: Mapping[int, JobStatus], count: int, before: int = 0) -> str:
    """Which elements failed, and how, in words; only the first few. ``before`` elements failed in earlier tries."""
    shown = [f"{element} ({_how(status)})" for element, status in list(failed.items())[:_SHOWN]]
    more = f" and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
    earlier = [f"{before} in earlier tries"] if before else []
    return f"{len(failed) + before} of {count} elements failed: {', '.join([*shown, *earlier])}{more}"


def _how(status: JobStatus) -> str:
    if status.lost_log:
        return "JobLaunchFailure"
    if status.state == "FAILED" and status.exit_status is not None:
        return f"exit status {status.exit_status}"
    return status.state
