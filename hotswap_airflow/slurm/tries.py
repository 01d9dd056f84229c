"""The tries of a job that have a folder on the cluster: what each came to, and which one is to be found or made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.array import numbers, ranges
from hotswap_airflow.slurm.retry import GOES_ON, WAVE
from hotswap_airflow.slurm.states import JobStatus, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hotswap_airflow.slurm.retry import Retry

_NONE = "-"
ADOPT, ANEW = "adopt", "anew"
"""A person's marks of a try: its task takes it up again; what it did counts for nothing."""
_WORDS = 7


@dataclass(frozen=True)
class End:
    """How the end of a try was told, noted on the cluster as one line of words.

    ``asked`` is ``<try number> <clear number>`` of the one who heard it, ``errors`` are the names of errors' classes,
    the one that was told first; a sweep may have several. Of a sweep, ``lost`` are the elements that this epoch does
    not run again, ``again`` those that ended well by themselves and yet did not succeed. ``nodes`` broke down under it.
    """

    asked: str
    state: str
    errors: tuple[str, ...] = ()
    lost: frozenset[int] = field(default=frozenset())
    again: frozenset[int] = field(default=frozenset())
    nodes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Write the line.

        >>> End("1 0", "FAILED", ("JobFailed",), lost=frozenset({3, 4, 5})).words
        '1 0 FAILED JobFailed 3-5 - -'
        """
        parts = (",".join(self.errors), ranges(sorted(self.lost)), ranges(sorted(self.again)), ",".join(self.nodes))
        return " ".join([self.asked, self.state, *(part or _NONE for part in parts)])

    @classmethod
    def read(cls, words: str) -> End | None:
        """Read what was written; None where nothing was. Words at the end may be missing.

        >>> End.read("2 0 TIMEOUT JobTimedOut").errors, End.read("")
        (('JobTimedOut',), None)
        """
        if not words.strip():
            return None
        number, clear, state, *rest = [*words.split(), *[""] * _WORDS][:_WORDS]
        errors, lost, again, nodes = ("" if part == _NONE else part for part in rest)
        asked, elements = f"{number} {clear}", (frozenset(numbers(lost)), frozenset(numbers(again)))
        return cls(asked, state, _names(errors), *elements, _names(nodes))

    @property
    def was_good(self) -> bool:
        """Whether a success was told."""
        return JobStatus(self.state).phase is Phase.SUCCEEDED


@dataclass(frozen=True)
class Try:
    """A try of a job that has a folder on the cluster.

    ``has_ended`` tells whether its script noted its end, ``asked`` who asked last: ``<try number> <clear number>``.
    ``end`` is how its end was told, ``rows`` a text that changes with the values of a sweep. A person's marks:
    ``adopt`` is who had asked last when the job was given back to its task, ``is_void`` that what it did counts for
    nothing.
    """

    epoch: int
    generation: int
    is_cancelled: bool = False
    has_ended: bool = False
    asked: str = ""
    rows: str = ""
    end: End | None = None
    adopt: str = ""
    is_void: bool = False

    @property
    def is_part(self) -> bool:
        """Whether it was a part of a sweep, after which the rest was submitted."""
        return self.end is not None and self.end.state == WAVE


def adopting_epoch(tries: Sequence[Try], epoch: int, asked: str, rows: str = "") -> int:
    """The epoch under which a try goes on: its own, or that of a job which a person gave back to its task.

    ``epoch`` and ``asked`` are of the one who asks, ``rows`` of the sweep. What was given back counts for the first
    clear that asks after the person did, and for all tries of that clear.
    """
    given = [
        one.epoch
        for one in tries
        if one.adopt and one.epoch < epoch and not one.is_cancelled and one.rows in {"", rows}
        if one.asked == one.adopt or _clear_number(one.asked) == _clear_number(asked)
    ]
    return max(given, default=epoch)


def choose_generation(tries: Sequence[Try], epoch: int, asked: str, retry: Retry) -> int:
    """Give the generation that a try must find or submit.

    ``asked`` is ``<try number> <clear number>`` of the one who asks. A job that is not settled is adopted, and so is an
    end that was told to the same try. A success, and a failure that ``retry`` lets stand, are told to every later try
    until a clear: it may have been made only because a worker died with the news.
    """
    mine = [one for one in tries if one.epoch == epoch]
    if not mine:
        return 0
    last = max(mine, key=lambda one: one.generation)
    if last.is_cancelled:
        return last.generation + 1
    if last.end is None:
        is_of_before = last.has_ended and last.asked != last.adopt and _clear_number(last.asked) < _clear_number(asked)
        return last.generation + is_of_before
    if last.end.state in GOES_ON:
        return last.generation + 1
    is_told = _clear_number(last.end.asked) == _clear_number(asked) and _stands(last.end, retry, _failures(mine))
    return last.generation if last.end.asked == asked or is_told else last.generation + 1


def _stands(end: End, retry: Retry, failures: Sequence[Sequence[str]]) -> bool:
    """Whether the end of the last try is that of the job; ``failures`` has its own too."""
    return end.was_good or (bool(end.errors) and not retry.covers(end.errors[0], len(failures) - 1))


@dataclass(frozen=True)
class Past:
    """What was before a try of a job.

    ``starts`` counts the tries before it, ``failures`` are the errors of those of the same epoch, of each by name,
    ``parts`` those of the earlier parts of the same sweep, which count as one failure together. ``saved`` are the
    digests of those after which the work went on, oldest first. ``nodes`` broke down under those of the same epoch.
    """

    starts: int = 0
    failures: tuple[tuple[str, ...], ...] = ()
    parts: tuple[str, ...] = ()
    saved: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


def past_of(tries: Mapping[str, Try], epoch: int, generation: int) -> Past:
    """The past of a try, given all tries of its job by digest."""
    before = sorted(
        (item for item in tries.items() if (item[1].epoch, item[1].generation) < (epoch, generation)),
        key=lambda item: (item[1].epoch, item[1].generation),
    )
    ends = [(digest, one.end) for digest, one in before if one.epoch == epoch and one.end is not None]
    saved = tuple(digest for digest, end in ends if end.state in GOES_ON)
    failures = _failures(one for _, one in before if one.epoch == epoch)
    whole = [at for at, (_, end) in enumerate(ends) if end.state != WAVE]
    parts = tuple(error for _, end in ends[whole[-1] + 1 if whole else 0 :] for error in end.errors)
    nodes = tuple(dict.fromkeys(node for _, end in ends for node in end.nodes))
    return Past(sum(not one.is_part for _, one in before), failures, parts, saved, nodes)


def _failures(tries: Iterable[Try]) -> tuple[tuple[str, ...], ...]:
    """The errors of the tries that failed; the parts of a sweep are none."""
    ends = (one.end for one in tries if one.end is not None)
    return tuple(end.errors for end in ends if end.errors and end.state != WAVE)


def try_number(asked: str) -> int:
    """The try number of ``<try number> <clear number>``; 0 where nobody asked.

    >>> try_number("3 1"), try_number("")
    (3, 0)
    """
    return int(asked.split(maxsplit=1)[0]) if asked.strip() else 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _clear_number(asked: str) -> int:
    return int(asked.split()[1]) if asked.strip() else 0
