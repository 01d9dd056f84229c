"""The owners of folders on a cluster, and the marks that a person sets in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.remote.programs import PROLOGUE
from hotswap_airflow.cluster.transport.base import TRANSFER_TIMEOUT
from hotswap_airflow.slurm.identity import key_folder, read_keys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hotswap_airflow.cluster.remote.client import ClusterClient
    from hotswap_airflow.slurm.identity import JobKey

KEPT = ".hotswap-keep"
KEYS_OF = (
    PROLOGUE
    + """\
# The job keys that contain a text.
begin
find .hotswap/jobs/ -mindepth 3 -maxdepth 3 -name key -exec grep -h -F -e "$1" {} +
end
"""
)
MARK = (
    PROLOGUE
    + """\
# Put a person's mark into folders below the work folder, one a line, or remove it. It holds the folder's last attempt.
while read -r folder; do
  [ -d "$folder" ] || continue
  if [ "$2" = on ]; then
    asked=$(last_line "$folder/asked")
    printf '%s\\n' "${asked:-0 0}" > "$folder/$1"
  else
    rm -f -- "$folder/$1"
  fi || reply "error $folder cannot be written"
done
reply marked
"""
)


async def keys_of(client: ClusterClient, installation: str, workflow: str, run: str, job: str = "") -> list[JobKey]:
    """The job keys of all tries of a run's jobs, or of one of these jobs, that have a folder on the cluster."""
    wanted = (installation, workflow, run)
    found = [key for key in await keys_with(client, run) if job in {"", key.job}]
    return [key for key in found if (key.run.installation, key.run.workflow, key.run.run) == wanted]


async def keys_with(client: ClusterClient, text: str) -> list[JobKey]:
    """The job keys of all tries that contain a text; a note that cannot be read is left out."""
    return read_keys(await client.run_program(KEYS_OF, json.dumps(text), limit=TRANSFER_TIMEOUT))


async def mark_tries(client: ClusterClient, digests: Iterable[str], mark: str, *, is_on: bool = True) -> None:
    """Mark tries of jobs for the next try of their task, or remove the mark."""
    await _mark(client, [key_folder(digest) for digest in digests], mark, is_on=is_on)


async def keep_runs(client: ClusterClient, folders: Collection[str], *, is_kept: bool = True) -> None:
    """Exempt the folders of runs from removal, or end the exemption."""
    await _mark(client, [f"runs/{folder}" for folder in folders], KEPT, is_on=is_kept)


async def _mark(client: ClusterClient, folders: Collection[str], mark: str, *, is_on: bool) -> None:
    lines = "".join(f"{folder}\n" for folder in folders)
    await client.run_program(MARK, mark, "on" if is_on else "off", stdin=lines.encode())
