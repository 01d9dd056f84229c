"""Cancel many jobs in one round trip, and list the jobs left in the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hotswap_airflow.cluster.remote.framing import answered, in_slices
from hotswap_airflow.cluster.remote.programs import HOME, ROOT
from hotswap_airflow.errors import CommandFailed, ConnectionLost
from hotswap_airflow.slurm.parsing import SQUEUE_FORMAT, lines, parse_squeue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AT_ONCE = 100
Jobs = tuple[tuple[str, str], ...]
"""Digests and names of jobs."""


class Asker(Protocol):
    """An account on a cluster, which runs our programs there."""

    name: str

    async def run_program(self, program: str, *arguments: str, stdin: bytes = b"") -> str:
        """Run a program; give its answer."""


CANCEL = (
    HOME
    + ROOT
    + """\
# For every line `digest name`: nothing is submitted under the key any more, and its jobs are cancelled. Returns the
# digests of folders that cannot be written; their jobs are cancelled all the same.
cd -P -- "$root" 2> /dev/null && is_there=yes || is_there=
wanted=$(cat)
begin
printf '%s\\n' "$wanted" | while read -r digest name; do
  set_dir "$digest"
  { [ -n "$is_there" ] && mkdir -p -- "$dir" && touch -- "$dir/cancelled"; } 2> /dev/null || printf '%s\\n' "$digest"
  for kept in "$dir"/secrets*; do [ ! -e "$kept" ] || rm -f -- "$kept"; done
done
# Cancel by the ids that jobs of these names have now: Slurm may have given an earlier id to another job meanwhile. Jobs
# that another cluster of a federation has are cancelled here, too.
cancel_by_name() {
  queue=$(slurm squeue -h -a -t all -u "$(id -un)" -o "$1") || return
  printf '%s\\n' "$queue" | wanted=$wanted awk -F '|' '
    BEGIN { for (n = split(ENVIRON["wanted"], lines, "\\n"); n; n--) { split(lines[n], words, " "); names[words[2]] } }
    $2 ~ /^(COMPLETED|FAILED|TIMEOUT|OUT_OF_MEMORY|CANCELLED|PREEMPTED|NODE_FAIL|BOOT_FAIL|DEADLINE)/ { next }
    $NF in names { sub(/[_+].*/, "", $1); if (!seen[$1]++) print $1 }
  ' | xargs -r scancel ${cluster:+"--clusters=$cluster"} --quiet
}
others=$(printf '%s\\n' "$wanted" | while read -r digest name; do
  set_dir "$digest"
  read_cluster "$dir"
  printf '%s\\n' "$where"
done | sort -u)
home=$cluster
[ -z "$others" ] || [ -n "$home" ] || home=$(home_name)
# If a cluster gives no answer, only its own jobs stay: `away DIGEST` is returned for each of them.
(
  for cluster in $others; do
    [ "$cluster" != "$home" ] && ! cancel_by_name "$1" > /dev/null 2>&1 || continue
    printf '%s\\n' "$wanted" | while read -r digest name; do
      set_dir "$digest"
      read_cluster "$dir"
      [ "$where" != "$cluster" ] || printf 'away %s\\n' "$digest"
    done
  done
)
return_output cancel_by_name "$1"
end
"""
)

QUEUED = (
    HOME
    + """\
# The jobs of this user that have not ended; no work folder is needed.
begin
return_output slurm squeue -h -a -u "$(id -un)" -o "$1"
end
"""
)


async def cancel_all(account: Asker, items: list[Jobs]) -> list[Exception | None]:
    """Cancel all jobs of all items; give an error for an item if a folder cannot be written or its cluster is away.

    Raises ``ConnectionLost`` if the controller is away.
    """
    jobs = list(dict.fromkeys(job for item in items for job in item))
    unnoted: set[str] = set()
    away: set[str] = set()
    failed: ConnectionLost | None = None
    for first in range(0, len(jobs), AT_ONCE):
        try:
            full_of, away_of = await _cancel(account, jobs[first : first + AT_ONCE])
            unnoted, away = unnoted | full_of, away | away_of
        except ConnectionLost as error:
            failed = error
    if failed is not None:
        raise failed
    full = ConnectionLost(f"{account.name}: a cancelled job's folder cannot be written: disk or quota full?")
    silent = ConnectionLost(f"{account.name}: the cluster that has a cancelled job gives no answer")

    def fault(item: Jobs) -> Exception | None:
        digests = {digest for digest, _ in item}
        return silent if digests & away else full if digests & unnoted else None

    return [fault(item) for item in items]


async def _cancel(account: Asker, jobs: Sequence[tuple[str, str]]) -> tuple[set[str], set[str]]:
    """Cancel jobs; give the digests of jobs whose folder cannot be written, and of jobs whose cluster is away."""
    stdin = "".join(f"{digest} {name}\n" for digest, name in jobs)
    answer = await account.run_program(CANCEL, SQUEUE_FORMAT, stdin=stdin.encode())
    try:
        found = [line.split() for line in lines(answered(answer, "cancelling", account.name)[0]) if line.strip()]
    except CommandFailed as error:
        raise ConnectionLost(str(error)) from error
    return {words[0] for words in found if len(words) == 1}, {words[1] for words in found if words[0] == "away"}


async def unfinished(account: Asker, items: list[None]) -> list[Mapping[str, bool] | Exception]:
    """The names of the account's jobs that have not ended, once for each item. Raises ``CommandFailed``.

    Each name maps to whether there is something left to cancel.
    """
    answer = await account.run_program(QUEUED, SQUEUE_FORMAT)
    found: dict[str, bool] = {}
    async for row in in_slices(parse_squeue(answered(answer, "squeue", account.name)[0])):
        if not row.status.phase.is_final:
            found[row.name] = found.get(row.name, False) or row.status.is_active
    return [found for _ in items]
