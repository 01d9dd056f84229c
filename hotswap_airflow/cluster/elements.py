"""The elements of a sweep: what an earlier array has done already, and what all of them left in the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hotswap_airflow.errors import JobError, JobFailed, JobNodeFailed, OutputMissing
from hotswap_airflow.slurm.array import ArrayState, Tally, told, value_lists
from hotswap_airflow.slurm.identity import try_of
from hotswap_airflow.slurm.judgement import how_settled
from hotswap_airflow.slurm.request import PATH_TYPES, read_outputs
from hotswap_airflow.slurm.retry import SAVED, SAVED_STATUS, WAVE
from hotswap_airflow.slurm.states import JobStatus, Phase, error_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hotswap_airflow.cluster.client import Folder
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.request import JobRequest


def earlier_tries(folders: Sequence[Folder], key: JobKey) -> list[Folder]:
    """The tries before a key's, oldest first, since the last one that was told to be good: after it all run anew."""
    before = sorted(
        (folder for folder in folders if try_of(folder.digest) < (key.epoch, key.generation)),
        key=lambda folder: try_of(folder.digest),
    )
    good = [at for at, folder in enumerate(before) if _was_good(folder)]
    return before[good[-1] + 1 :] if good else before


def _was_good(folder: Folder) -> bool:
    return JobStatus(how_settled(folder.settled)[0]).phase is Phase.SUCCEEDED


def waves(folders: Sequence[Folder]) -> list[str]:
    """The tries that were a part of a sweep only, by digest."""
    return [folder.digest for folder in folders if how_settled(folder.settled)[0] == WAVE]


def continued(
    request: JobRequest, ends: Mapping[str, Mapping[int, int]], members: Mapping[str, set[int]]
) -> JobRequest:
    """The request without the elements that earlier tries have brought to an end.

    ``ends`` are the notes of the elements of each try, by digest, in order; ``members`` the elements of those tries
    that were a part of the sweep only. What failed by itself is run again after a person's clear, which begins a new
    epoch, and where the job's own rule says so, but not before all parts had their turn; an element that saved its
    state goes on.
    """
    array = request.array
    if array is None:
        return request
    done, lost, had_turn = set(array.done), set(array.lost), set[int]()
    for digest, noted in ends.items():
        done |= {element for element, status in noted.items() if status == 0}
        if try_of(digest)[0] != request.key.epoch:
            continue
        failed = {e for e, status in noted.items() if status != 0 and not (request.saves and status == SAVED_STATUS)}
        had_turn = had_turn | members[digest] if digest in members else set()
        lost |= failed if "failed" not in request.retry.on else set()
    lost -= done
    waiting = frozenset(had_turn - done - lost)
    return replace(request, array=replace(array, done=frozenset(done), lost=frozenset(lost), waiting=waiting))


@dataclass(frozen=True)
class Ending:
    """What became of a sweep: its values by output name, the error that names the remedy, the numbers.

    ``goes_on`` is how this part of it is settled where it is not the last one.
    """

    values: dict[str, Any]
    error: JobError | None
    tally: Tally
    goes_on: str = ""


def conclude(request: JobRequest, state: ArrayState, run_dir: str, wrote: Mapping[int, str]) -> Ending:
    """Put together how a sweep ended. ``wrote`` are the lines of values of each element."""
    array = state.array
    named = tuple(output for output in request.outputs if output.type not in PATH_TYPES)
    paths = tuple(output for output in request.outputs if output.type in PATH_TYPES)
    statuses = state.elements
    good = [*array.done, *(e for e, status in statuses.items() if status.phase is Phase.SUCCEEDED)]
    found: dict[int, dict[str, object]] = {}
    missing: dict[int, str] = {}
    for element in sorted(good) if named else ():
        values, complaints = read_outputs(named, run_dir, wrote.get(element, ""))
        found[element] = values
        if complaints:
            missing[element] = "; ".join(complaints)
    failed = {e: status for e, status in statuses.items() if status.phase in {Phase.FAILED, Phase.GONE}}
    error = _error(request, failed, missing)
    tally = replace(state.tally, done=len(good) - len(missing), failed=state.tally.failed + len(missing))
    values = read_outputs(paths, run_dir, "")[0] | value_lists(array, found, [output.name for output in named])
    is_saved = request.saves and SAVED_STATUS in {state.noted.get(element) for element in failed}
    goes_on = WAVE if array.held else SAVED if is_saved else ""
    return Ending({} if error else values, error, tally, goes_on)


def _error(request: JobRequest, failed: Mapping[int, JobStatus], missing: Mapping[int, str]) -> JobError | None:
    """The error of the elements that failed, where they are more than is tolerated.

    Where another try may bring few enough of them to a good end, it is an error that is tried again.
    """
    array, job = request.array, request.key.job
    if array is None or len(failed) + len(missing) + len(array.lost) + len(array.waiting) <= array.tolerated:
        return None
    count = sum(row is not None for row in array.rows)
    errors = {element: error for element, status in failed.items() if (error := error_of(status, job)) is not None}
    words = f"job {job}: {told(failed, count, len(array.lost) + len(array.waiting))}"
    hopeful = {e: error for e, error in errors.items() if request.retry.covers(type(error).__name__, -1)}
    if len(failed) - len(hopeful) + len(missing) + len(array.lost) <= array.tolerated:
        return _most_common(hopeful, words) if hopeful else JobNodeFailed(words)
    if not failed and missing:
        element, complaint = next(iter(missing.items()))
        return OutputMissing(f"job {job}: {len(missing)} of {count} elements: {element}: {complaint}")
    return _most_common({e: error for e, error in errors.items() if e not in hopeful}, words)


def _most_common(errors: Mapping[int, JobError], words: str) -> JobError:
    kinds = Counter(type(error) for error in errors.values())
    kind = kinds.most_common(1)[0][0] if kinds else JobFailed
    return kind(words)
