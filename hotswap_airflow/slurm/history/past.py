"""The tries of a job that have a folder on the cluster: what each came to, and which one is to be found or made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.array import format_ranges, parse_ranges
from hotswap_airflow.slurm.retry import GOES_ON, WAVE
from hotswap_airflow.slurm.states import JobStatus, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hotswap_airflow.slurm.retry import Retry

_NONE = "-"
ADOPT, ANEW = "adopt", "anew"
"""A person's marks of a try: its task takes it up again; what it did counts for nothing."""
_WORDS = 8


@dataclass(frozen=True)
class End:
    """How the end of a try was told, noted on the cluster as one line of words.

    ``asked`` is ``<try number> <epoch>`` of the one who heard it, ``errors`` are the names of errors' classes, the one
    that was told first; nothing is told yet of a sweep that goes on, whose are those of elements that are run again.
    ``lost`` are its elements that this epoch does not run again, ``given_up`` their errors, ``again`` those that ended
    with exit status 0 and yet did not succeed. ``nodes`` broke down under it.
    """

    asked: str
    state: str
    errors: tuple[str, ...] = ()
    lost: frozenset[int] = field(default=frozenset())
    again: frozenset[int] = field(default=frozenset())
    nodes: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Write the line.

        >>> End("1 0", "FAILED", ("JobFailed",), lost=frozenset({3, 4, 5})).words
        '1 0 FAILED JobFailed 3-5 - - -'
        """
        elements = (format_ranges(sorted(self.lost)), format_ranges(sorted(self.again)))
        parts = (",".join(self.errors), *elements, ",".join(self.nodes), ",".join(self.given_up))
        return " ".join([self.asked, self.state, *(part or _NONE for part in parts)])

    @classmethod
    def read(cls, words: str) -> End | None:
        """Read what was written; None where nothing was. Words at the end may be missing.

        >>> End.read("2 0 TIMEOUT JobTimedOut").errors, End.read("")
        (('JobTimedOut',), None)
        """
        if not words.strip():
            return None
        number, epoch, state, *rest = [*words.split(), *[""] * _WORDS][:_WORDS]
        errors, lost, again, nodes, given_up = ("" if part == _NONE else part for part in rest)
        asked, elements = f"{number} {epoch}", (frozenset(parse_ranges(lost)), frozenset(parse_ranges(again)))
        return cls(asked, state, _names(errors), *elements, _names(nodes), _names(given_up))

    @property
    def was_good(self) -> bool:
        """Whether a success was told."""
        return JobStatus(self.state).phase is Phase.SUCCEEDED

    @property
    def continuation(self) -> bool:
        """Whether nothing was told yet, since another job followed at once."""
        return self.state in GOES_ON


@dataclass(frozen=True)
class Try:
    """A try of a job that has a folder on the cluster.

    ``asked`` is who asked last: ``<try number> <epoch>``. ``end`` is how its end was told, ``rows`` a text that changes
    with the values of a sweep. A person's marks: ``adopt`` is who had asked last when the job was given back to its
    task, ``is_void`` that what it did counts for nothing.
    """

    epoch: int
    generation: int
    is_cancelled: bool = False
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
    epoch that asks after the person did it, and for all its tries.
    """
    given = [
        one.epoch
        for one in tries
        if one.adopt and one.epoch < epoch and not one.is_cancelled and one.rows in {"", rows}
        if one.asked == one.adopt or _epoch_of(one.asked) == _epoch_of(asked)
    ]
    return max(given, default=epoch)


def choose_generation(tries: Sequence[Try], epoch: int, asked: str, retry: Retry) -> int:
    """Give the generation that a try must find or submit.

    ``asked`` is ``<try number> <epoch>`` of the one who asks. A job that is not settled is adopted, and so is an end
    that was told to the same try. A success, and a failure that ``retry`` lets stand, are told to every later try of
    the same epoch: it may have been made only because a worker died with the news.
    """
    mine = [one for one in tries if one.epoch == epoch]
    if not mine:
        return 0
    last = max(mine, key=lambda one: one.generation)
    if last.end is None or (last.is_cancelled and last.end.was_good):
        return last.generation + last.is_cancelled
    if last.end.continuation or last.is_void:
        return last.generation + 1
    is_told = _epoch_of(last.end.asked) == _epoch_of(asked) and _stands(last.end, retry, _failures(mine))
    return last.generation if last.end.asked == asked or is_told else last.generation + 1


def _stands(end: End, retry: Retry, failures: Sequence[Sequence[str]]) -> bool:
    """Whether the end of the last try is that of the job; ``failures`` has its own too."""
    return end.was_good or (bool(end.errors) and not retry.covers(end.errors[0], len(failures) - 1))


@dataclass(frozen=True)
class Past:
    """What was before a try of a job.

    ``starts`` counts the tries before it, ``failures`` are the errors of those of the same epoch, of each by name,
    ``parts`` those of the earlier parts of the same sweep, which count as one failure together. ``given_up`` are the
    errors of elements that this epoch does not run again. ``saved`` are the digests of those after which the work went
    on, oldest first. ``nodes`` broke down under those of the same epoch. ``recorded_end`` is the end that was
    recorded for this very try.
    """

    starts: int = 0
    failures: tuple[tuple[str, ...], ...] = ()
    parts: tuple[str, ...] = ()
    saved: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()
    recorded_end: End | None = None

    @property
    def failed(self) -> int:
        """How many tries of the same epoch failed before."""
        return len(self.failures)


def past_of(tries: Mapping[str, Try], epoch: int, generation: int) -> Past:
    """The past of a try, given all tries of its job by digest."""
    before = sorted(
        (item for item in tries.items() if (item[1].epoch, item[1].generation) < (epoch, generation)),
        key=lambda item: (item[1].epoch, item[1].generation),
    )
    counting = [(digest, one) for digest, one in before if one.epoch == epoch and not one.is_void]
    ends = [(digest, one.end) for digest, one in counting if one.end is not None]
    saved = tuple(digest for digest, end in ends if end.continuation)
    failures = _failures(one for _, one in counting)
    whole = [at for at, (_, end) in enumerate(ends) if end.state != WAVE]
    parts = tuple(error for _, end in ends[whole[-1] + 1 if whole else 0 :] for error in end.errors)
    nodes = tuple(dict.fromkeys(node for _, end in ends for node in end.nodes))
    given_up = tuple(error for _, end in ends for error in end.given_up)
    own = (one.end for one in tries.values() if (one.epoch, one.generation) == (epoch, generation))
    recorded_end = next((end for end in own if end is not None and not end.continuation), None)
    return Past(sum(not one.is_part for _, one in before), failures, parts, saved, nodes, given_up, recorded_end)


def _failures(tries: Iterable[Try]) -> tuple[tuple[str, ...], ...]:
    """The errors of the tries that failed; the parts of a sweep are none, and what is void counts for nothing."""
    ends = (one.end for one in tries if one.end is not None and not one.is_void)
    return tuple(end.errors for end in ends if end.errors and end.state != WAVE)


def try_number(asked: str) -> int:
    """The try number of ``<try number> <epoch>``; 0 where nobody asked.

    >>> try_number("3 1"), try_number("")
    (3, 0)
    """
    return int(asked.split(maxsplit=1)[0]) if asked.strip() else 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _epoch_of(asked: str) -> int:
    return int(asked.split()[1]) if asked.strip() else 0
