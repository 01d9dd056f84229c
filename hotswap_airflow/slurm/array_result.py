"""The elements of a sweep: what earlier arrays have done already, and what all elements left in the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hotswap_airflow.errors import JobCancelled, JobError, JobFailed, OutputMissing
from hotswap_airflow.slurm.array import Array, value_lists
from hotswap_airflow.slurm.array_state import ArrayState, ElementEnds, Tally, failure_summary
from hotswap_airflow.slurm.causes import error_class, state_of
from hotswap_airflow.slurm.history.table import tabulate
from hotswap_airflow.slurm.request import PATH_TYPES, read_outputs
from hotswap_airflow.slurm.retry import SAVED, SAVED_STATUS, WAVE
from hotswap_airflow.slurm.states import JobStatus, Phase, error_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hotswap_airflow.slurm.history.notes import Folder, Members
    from hotswap_airflow.slurm.history.table import ElementResult
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.request import JobRequest


def earlier_tries(folders: Sequence[Folder], key: JobKey, rows: str) -> list[Folder]:
    """The tries before that of a key, oldest first, from the last recorded success on: after a success all run anew.

    Tries with other ``rows``, if these are known, do not count: their elements only have the same numbers as ours.
    Tries that a person marked as void do not count, either.
    """
    counting = (folder for folder in folders if not folder.tried.is_void)
    before = sorted(
        (f for f in counting if (f.tried.epoch, f.tried.generation) < (key.epoch, key.generation)),
        key=lambda folder: (folder.tried.epoch, folder.tried.generation),
    )
    good = [at for at, folder in enumerate(before) if folder.tried.end is not None and folder.tried.end.was_good]
    return [folder for folder in before[good[-1] + 1 if good else 0 :] if folder.tried.rows in {"", rows}]


def continued(
    request: JobRequest,
    earlier: Sequence[Folder],
    ends: Mapping[str, ElementEnds],
    members: Mapping[str, Members],
    wrote: Mapping[str, Mapping[int, str]],
) -> JobRequest:
    """The request without the elements that earlier tries have brought to an end.

    ``ends`` are the notes of the elements of each try, by digest; ``members`` are the elements of each try that was
    only a part of the sweep; ``wrote`` are the lines of values of each try without a recorded end. Elements that are
    lost for this epoch run again after a person clears the task, which begins a new epoch. Elements that may be tried
    again run again, but not before all parts had their turn.
    """
    if request.array is None:
        return request
    done, lost, known = _ended(request, request.array, earlier, ends, wrote)
    array = replace(request.array, done=frozenset(done), lost=frozenset(lost - done))
    wanted = frozenset(array.wanted)
    had_turn, saved = set[int](), set[int]()
    for folder in earlier:
        if folder.tried.epoch != request.key.epoch:
            continue
        turn = members[folder.digest].elements if folder.tried.is_part else frozenset()
        had_turn |= turn
        saved |= _saved(request, ends.get(folder.digest, ElementEnds()).statuses, turn)
        # A new round begins also if other tries brought the remaining elements to an end.
        if not turn or had_turn.issuperset(wanted):
            had_turn, saved = set(), set()
    saved &= wanted
    array = replace(array, saved=frozenset(saved), waiting=frozenset(had_turn & wanted - saved))
    ended = {e: status for e, status in known.items() if e in array.lost or e in array.waiting}
    return replace(request, array=replace(array, earlier=ended))


def _ended(
    request: JobRequest,
    array: Array,
    earlier: Sequence[Folder],
    ends: Mapping[str, ElementEnds],
    wrote: Mapping[str, Mapping[int, str]],
) -> tuple[set[int], set[int], dict[int, JobStatus]]:
    """Elements that earlier tries have done, elements that are lost for this epoch, and the noted ends of elements."""
    done, lost, known = set(array.done), set(array.lost), dict[int, JobStatus]()
    for folder in earlier:
        end, found = folder.tried.end, ends.get(folder.digest, ElementEnds())
        noted, good = found.statuses, found.good
        if end is not None and end.state == "TIMEOUT":
            missing = end.again  # the task's time was over, and Slurm was not polled about the stopped elements
        elif end is not None:
            good, missing = good | found.stopped, end.again
        else:
            missing = frozenset(_values(request, good, wrote[folder.digest])[1])
        done = (done | good) - missing
        if end is not None and folder.tried.epoch == request.key.epoch:
            known |= {e: JobStatus("FAILED", exit_status=status) for e, status in noted.items()}
            if len(end.given_up) == 1:  # of several errors it is not known which element had which
                state = state_of(end.given_up[0])
                known |= {e: JobStatus(state, exit_status=noted.get(e)) for e in end.lost - lost}
            lost |= end.lost
    return done, lost, known


def _saved(request: JobRequest, noted: Mapping[int, int], elements: Collection[int]) -> set[int]:
    """The elements that saved their state, and elements of the same chunks that therefore have not begun."""
    if not request.saves or request.array is None:
        return set()
    chunk = request.array.chunk
    indices = {element // chunk for element, status in noted.items() if status == SAVED_STATUS}
    return {e for e in elements if e // chunk in indices and noted.get(e, SAVED_STATUS) == SAVED_STATUS}


@dataclass(frozen=True)
class Ending:
    """The end of a sweep: its values by output name, the error that names the remedy, and the numbers of elements.

    ``continuation`` is the state to record if the sweep goes on after this try. ``errors``, ``lost``, ``again``,
    ``nodes`` and ``given_up`` are as in the recorded end. ``table`` has a row for each element.
    """

    values: dict[str, Any]
    error: JobError | None
    tally: Tally
    continuation: str = ""
    errors: tuple[str, ...] = ()
    lost: frozenset[int] = field(default=frozenset())
    again: frozenset[int] = field(default=frozenset())
    nodes: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()
    table: tuple[ElementResult, ...] = ()


def conclude(request: JobRequest, state: ArrayState, run_dir: str, wrote: Mapping[int, str]) -> Ending:
    """Judge how a sweep ended. ``wrote`` are the lines of values of each element."""
    array, statuses = state.array, state.elements
    good = _good(state)
    found, missing = _values(request, good, wrote)
    ended = {e: status for e, status in statuses.items() if status.phase in {Phase.FAILED, Phase.GONE}}
    noted = state.ends.statuses
    saved = _saved(request, noted, ended)
    failed = {e: status for e, status in ended.items() if e not in saved}
    wrong: dict[int, JobError] = {e: OutputMissing(words) for e, words in missing.items()}
    for element, status in failed.items():
        wrong[element] = error_of(status, request.key.job) or JobFailed(status.state)
    tries, before = request.past.failed, request.past.recorded_end
    is_success = before is not None and before.was_good
    lost = {e for e, error in wrong.items() if is_success or not request.retry.covers(type(error).__name__, tries)}
    continuation = WAVE if array.held else SAVED if saved or array.saved else ""
    error = _error(request, failed, wrong, lost)
    if continuation and _was_stopped(array, ended):
        continuation, error = "", JobCancelled(f"job {request.key.job} was cancelled on the cluster")
    tally = replace(
        state.tally,
        done=len(good) - len(missing),
        failed=state.tally.failed + len(missing) - len(saved),
        pending=state.tally.pending + len(saved),
    )
    again = {e: error for e, error in wrong.items() if e not in lost}
    nodes = tuple(dict.fromkeys(filter(None, (status.broken_node for status in failed.values()))))
    return Ending(
        {} if error else _lists(request, run_dir, found),
        error,
        tally,
        continuation,
        _noted(error, continuation, _by_number(again, () if array.held else request.past.parts)),
        array.lost | lost,
        frozenset(missing) | {e for e in failed if noted.get(e) == 0},
        nodes,
        _by_number({e: error for e, error in wrong.items() if e in lost}),
        tabulate(array, statuses, found, {element: type(error).__name__ for element, error in wrong.items()}),
    )


def unfinished(request: JobRequest, state: ArrayState, wrote: Mapping[int, str]) -> tuple[ElementResult, ...]:
    """The table of a sweep in which some elements can never start. ``wrote`` are each element's lines of values."""
    found, missing = _values(request, _good(state), wrote)
    judged = ((e, error_of(status, request.key.job)) for e, status in state.elements.items())
    wrong = {e: type(error).__name__ for e, error in judged if error is not None}
    return tabulate(state.array, state.elements, found, wrong | dict.fromkeys(missing, OutputMissing.__name__))


def _good(state: ArrayState) -> list[int]:
    return [*state.array.done, *(e for e, status in state.elements.items() if status.phase is Phase.SUCCEEDED)]


def _noted(error: JobError | None, continuation: str, again: tuple[str, ...]) -> tuple[str, ...]:
    """The names of errors to record: the reported error first; if nothing is reported yet, those that run again."""
    if continuation:
        return again
    return () if error is None else tuple(dict.fromkeys((type(error).__name__, *again)))


def _values(
    request: JobRequest, good: Collection[int], wrote: Mapping[int, str]
) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
    """The values of each element by output name, and what is missing."""
    named = tuple(output for output in request.outputs if output.type not in PATH_TYPES)
    found: dict[int, dict[str, Any]] = {}
    missing: dict[int, str] = {}
    for element in sorted(good) if named else ():
        found[element], complaints = read_outputs(named, "", wrote.get(element, ""))
        if complaints:
            missing[element] = "; ".join(complaints)
    return found, missing


def _lists(request: JobRequest, run_dir: str, found: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The values by output name: the path of a path output; for other outputs the list of all elements' values."""
    paths = tuple(output for output in request.outputs if output.type in PATH_TYPES)
    named = [output.name for output in request.outputs if output not in paths]
    return read_outputs(paths, run_dir, "")[0] | value_lists(request.array or Array((), ()), found, named)


def _was_stopped(array: Array, ended: Mapping[int, JobStatus]) -> bool:
    """Whether a person cancelled the whole array, also if it saved its state then, and not only one index of many."""
    cancelled = {element // array.chunk for element, status in ended.items() if status.state == "CANCELLED"}
    return len(cancelled) > 1 or (len(cancelled) == 1 and len(array.indices) == 1)


def _error(
    request: JobRequest, failed: Mapping[int, JobStatus], wrong: Mapping[int, JobError], lost: Collection[int]
) -> JobError | None:
    """The error of the elements that went wrong, if they are more than is tolerated, or if some may be tried again.

    If another try may reduce their number to what is tolerated, the error is one after which a job is tried again.
    ``lost`` are the elements that are not tried again.
    """
    array, past = request.array, request.past
    if array is None:
        return None
    again = {element: error for element, error in wrong.items() if element not in lost}
    is_tolerable = len(wrong) + len(array.lost) + len(array.waiting) <= array.tolerated
    if is_tolerable and not again and not array.waiting:
        return None
    words = _words(request.key.job, array, failed, wrong)
    if is_tolerable:
        return _most_common(again, past.parts)(words)
    hopeful = {e: error for e, error in wrong.items() if request.retry.covers(type(error).__name__, -1)}
    if len(wrong) - len(hopeful) + len(array.lost) <= array.tolerated:
        return _most_common(hopeful, past.parts)(words)
    return _most_common({e: error for e, error in wrong.items() if e not in hopeful}, past.given_up)(words)


def _words(job: str, array: Array, failed: Mapping[int, JobStatus], wrong: Mapping[int, JobError]) -> str:
    """A sentence about the elements that went wrong."""
    count = sum(row is not None for row in array.rows)
    if wrong and not failed:
        element, error = next(iter(wrong.items()))
        return f"job {job}: {len(wrong)} of {count} elements: {element}: {error}"
    return f"job {job}: {failure_summary(failed, count, len(array.lost) + len(array.waiting))}"


def _most_common(wrong: Mapping[int, JobError], before: Collection[str] = ()) -> type[JobError]:
    """The class of the most frequent error; ``before`` are the names of errors of earlier parts."""
    return error_class(next(iter(_by_number(wrong, before)), "JobFailed"))


def _by_number(wrong: Mapping[int, JobError], before: Collection[str] = ()) -> tuple[str, ...]:
    """The names of errors, the most frequent first; ``before`` are those of earlier parts."""
    counted = Counter([*(type(error).__name__ for error in wrong.values()), *before])
    return tuple(name for name, _ in counted.most_common())
