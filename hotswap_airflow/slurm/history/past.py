"""The tries of a job that have a key folder on the cluster: how each ended, and which try to find or to submit."""

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
"""A person's marks on a try. ``adopt``: its task takes the job over again; ``anew``: what the try did is ignored."""
_WORDS = 8


@dataclass(frozen=True)
class End:
    """The recorded end of a try: one line of words on the cluster.

    ``asked`` is the attempt that recorded it, ``<try number> <epoch>``. ``errors``: names of error classes, the
    reported one first. For a sweep that continues nothing was reported yet; then they belong to the elements that will
    run again. ``lost`` are the elements that this epoch does not run again, ``given_up`` their errors. ``again`` are
    elements that ended with exit status 0 but did not succeed. ``nodes`` broke down under the try.
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
        """Read the line that ``words`` wrote; None if it is empty. Words at its end may be missing.

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
        """Whether a success was recorded."""
        return JobStatus(self.state).phase is Phase.SUCCEEDED

    @property
    def continuation(self) -> bool:
        """Whether nothing was reported yet, because another job followed at once."""
        return self.state in GOES_ON


@dataclass(frozen=True)
class Try:
    """A try of a job that has a key folder on the cluster.

    ``asked`` is the attempt that requested the job last: ``<try number> <epoch>``. ``end`` is the recorded end,
    ``rows`` a text that changes with the values of a sweep. A person's marks: ``adopt`` is the attempt that had
    requested the job last when the person gave it back to its task; ``is_void``: what the try did does not count.
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
        """Whether the try was a part of a sweep, after which the rest was submitted."""
        return self.end is not None and self.end.state == WAVE


def adopting_epoch(tries: Sequence[Try], epoch: int, asked: str, rows: str = "") -> int:
    """The epoch under which a try goes on: its own, or that of a job which a person gave back to its task.

    ``epoch`` and ``asked`` belong to the attempt that requests the job now, ``rows`` to the sweep. A job that was given
    back counts for the first epoch that requests it after the person's act, and for all tries of that epoch.
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

    ``asked`` is the attempt that requests the job: ``<try number> <epoch>``. A job without a recorded end is found
    again unless it was cancelled. An end that the same attempt recorded is reported to it again. A success, and a
    failure after which ``retry`` allows no further try, are reported to every later attempt of the same epoch: that
    attempt may exist only because a worker died before it reported the end.
    """
    mine = [one for one in tries if one.epoch == epoch]
    if not mine:
        return 0
    last = max(mine, key=lambda one: one.generation)
    if last.end is None or (last.is_cancelled and last.end.was_good):
        return last.generation + last.is_cancelled
    if last.end.continuation or last.is_void:
        return last.generation + 1
    is_final = _epoch_of(last.end.asked) == _epoch_of(asked) and _ends_job(last.end, retry, _failures(mine))
    return last.generation if last.end.asked == asked or is_final else last.generation + 1


def _ends_job(end: End, retry: Retry, failures: Sequence[Sequence[str]]) -> bool:
    """Whether the end of the last try is the end of the job; ``failures`` includes the errors of that try."""
    return end.was_good or (bool(end.errors) and not retry.covers(end.errors[0], len(failures) - 1))


@dataclass(frozen=True)
class Past:
    """What happened before a try of a job.

    ``starts`` counts the earlier tries, without parts of a sweep. ``failures`` has an entry for each failed try of the
    same epoch: the names of its errors. ``parts`` are the names of errors of the earlier parts of the same sweep, which
    count together as one failure. ``given_up`` are the errors of elements that this epoch does not run again.
    ``saved`` are the digests of tries after which the work went on, oldest first. ``nodes`` broke down under tries of
    the same epoch. ``recorded_end`` is the end that was already recorded for this try itself.
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
    """The errors of the tries that failed; a part of a sweep is not a failed try, and a void try does not count."""
    ends = (one.end for one in tries if one.end is not None and not one.is_void)
    return tuple(end.errors for end in ends if end.errors and end.state != WAVE)


def try_number(asked: str) -> int:
    """The try number of ``<try number> <epoch>``; 0 if the text is empty.

    >>> try_number("3 1"), try_number("")
    (3, 0)
    """
    return int(asked.split(maxsplit=1)[0]) if asked.strip() else 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _epoch_of(asked: str) -> int:
    return int(asked.split()[1]) if asked.strip() else 0
