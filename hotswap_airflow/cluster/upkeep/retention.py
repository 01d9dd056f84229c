"""The time that folders of finished runs stay on a cluster, if a site limits it: first a notice, then the removal."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hotswap_airflow.cluster.remote.programs import PROLOGUE
from hotswap_airflow.cluster.transport.base import TRANSFER_TIMEOUT
from hotswap_airflow.cluster.upkeep.ownership import KEPT, keys_with
from hotswap_airflow.slurm.identity import key_folder
from hotswap_airflow.slurm.parsing import lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.slurm.identity import RunKey

NOTICE = "HOTSWAP-REMOVES-THIS-FOLDER.txt"
NOTICE_TIME = 3 * 86_400.0
"""The smallest number of seconds between the notice and the removal."""
Due = Literal["nothing", "notice", "withdraw", "remove"]
INVENTORY = (
    PROLOGUE
    + """\
# The notes in the folders of jobs and runs, with the seconds since the epoch at which they were written.
begin
find .hotswap/jobs/ -mindepth 3 -maxdepth 3 \\( -name key -o -name exit -o -name settled -o -name cancelled \\) \\
  -printf '%h %f %T@\\n'
find runs/ -mindepth 3 -maxdepth 3 \\( -name .hotswap-run -o -name "$1" -o -name "$2" \\) -printf '%h %f %T@\\n'
printf 'now now %s\\n' "$(date +%s)"
end
"""
)
NOTIFY = (
    PROLOGUE
    + """\
umask 022
# For every line `folder words`, write the notice into a run's folder, complete or not at all; without words, remove it.
# Returns the folders for which this succeeded.
begin
while read -r folder words; do
  notice=runs/$folder/$1
  if [ -n "$words" ]; then
    printf '%s\\n' "$words" > "$notice.new" && mv -f -- "$notice.new" "$notice" || { rm -f -- "$notice.new"; continue; }
  else
    rm -f -- "$notice" || continue
  fi
  printf '%s\\n' "$folder"
done 2> /dev/null
end
"""
)
REMOVE = (
    PROLOGUE
    + """\
# For every line `folder digest …`, move the folders of a run and of its jobs out of the way, unless a person keeps the
# run or it was needed since its notice. Returns the runs whose folders are gone.
begin
while read -r folder digests; do
  run=runs/$folder
  if [ -e "$run" ]; then
    [ -s "$run/$2" ] && [ ! -e "$run/$1" ] && [ ! "$run/.hotswap-run" -nt "$run/$2" ] || continue
  fi
  gone=$(mktemp -d .hotswap/gone.XXXXXX) || continue
  [ ! -e "$run" ] || mv -- "$run" "$gone/run" || continue
  for digest in $digests; do
    set_dir "$digest"
    [ ! -e "$dir" ] || mv -- "$dir" "$gone/$digest"
  done
  printf '%s\\n' "$folder"
done
end
"""
)
EMPTY = (
    PROLOGUE
    + """\
# Delete what was moved out of the way, now or by an earlier maintenance that was interrupted.
chmod -R u+w .hotswap/gone.* 2> /dev/null
rm -rf -- .hotswap/gone.*
reply emptied
"""
)


@dataclass(frozen=True)
class RunFolder:
    """What a run left: the digests of its jobs' folders, and times in seconds since 1970 (Unix time).

    ``changed`` is the last time at which the run's folder was needed, or one of its jobs was submitted, ended, recorded
    or cancelled. ``noticed`` is when its removal was announced. ``is_there`` is false if only its jobs' folders
    are left.
    """

    run: RunKey
    digests: tuple[str, ...]
    changed: float
    noticed: float | None = None
    is_kept: bool = False
    is_there: bool = True


@dataclass(frozen=True)
class Inventory:
    """What runs have left on a cluster, and the cluster's time."""

    now: float
    runs: tuple[RunFolder, ...]


def due(run: RunFolder, now: float, retention: float, *, is_finished: bool) -> Due:
    """The action due for the folder of a run that may stay for ``retention`` seconds after its last change.

    A run's folder is removed only after its removal was announced for the whole ``NOTICE_TIME``. Folders of jobs that
    are left without it need no notice.
    """
    queue_is_stale = is_finished and not run.is_kept and now >= run.changed + retention - NOTICE_TIME
    if not queue_is_stale:
        return "nothing" if run.noticed is None else "withdraw"
    if run.noticed is None and run.is_there:
        return "notice"
    announced = run.noticed + NOTICE_TIME if run.noticed is not None else 0.0
    return "remove" if now >= max(run.changed + retention, announced) else "nothing"


def removed_at(run: RunFolder, now: float, retention: float) -> float:
    """The time at which a folder is removed if its removal is announced now."""
    return max(run.changed + retention, now + NOTICE_TIME)


async def inventory(client: ClusterClient, installation: str) -> Inventory:
    """What runs of an installation have left. Raises ``ClusterError``."""
    keys = [key for key in await keys_with(client, installation) if key.run.installation == installation]
    notes = await client.run_program(INVENTORY, KEPT, NOTICE, limit=TRANSFER_TIMEOUT)
    times: dict[str, dict[str, float]] = defaultdict(dict)
    for line in filter(str.strip, lines(notes)):
        folder, name, at = line.rsplit(" ", 2)
        times[folder][name] = float(at)
    jobs: dict[RunKey, list[str]] = defaultdict(list)
    for key in keys:
        jobs[key.run].append(key.digest)
    runs = tuple(_run_folder(run, digests, times) for run, digests in jobs.items())
    return Inventory(times["now"]["now"], runs)


def _run_folder(run: RunKey, digests: Sequence[str], times: Mapping[str, Mapping[str, float]]) -> RunFolder:
    own = times.get(f"runs/{run.folder}", {})
    there = [digest for digest in digests if key_folder(digest) in times]
    notes = [at for digest in there for at in times[key_folder(digest)].values()]
    changed = max([*notes, own.get(".hotswap-run", 0.0)])
    return RunFolder(run, tuple(there), changed, own.get(NOTICE), KEPT in own, bool(own))


async def announce(client: ClusterClient, words: Mapping[str, str]) -> list[str]:
    """Write a notice into the folders of runs, or remove it if the words are empty; give the changed folders."""
    stdin = "".join(f"{folder} {text}\n" for folder, text in words.items())
    return lines(await client.run_program(NOTIFY, NOTICE, stdin=stdin.encode()))


async def remove(client: ClusterClient, run: RunFolder) -> bool:
    """Move what a run has left out of the way, unless it was kept or needed meanwhile; give whether it is gone."""
    line = f"{run.run.folder} {' '.join(run.digests)}\n"
    answer = await client.run_program(REMOVE, KEPT, NOTICE, stdin=line.encode(), limit=TRANSFER_TIMEOUT)
    return run.run.folder in lines(answer)


async def empty(client: ClusterClient) -> None:
    """Delete what was moved out of the way. If the time limit ends it, the next maintenance continues."""
    await client.run_program(EMPTY, limit=TRANSFER_TIMEOUT)


def notice_of(run: RunFolder, now: float, retention: float) -> str:
    """The text of the notice, one line."""
    day = time.strftime("%Y-%m-%d", time.gmtime(removed_at(run, now, retention)))
    return (
        f"On {day} this folder is removed, with the logs of its jobs: the cluster keeps the folders of finished runs "
        f"for {retention / 86_400:g} days. To keep it: hotswap runs keep {run.run.workflow} {run.run.run}"
    )
