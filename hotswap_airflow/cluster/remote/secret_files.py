"""The secrets of a job on the cluster: one file in its key folder, from its submission until its end is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap_airflow.cluster.remote.programs import PROLOGUE
from hotswap_airflow.slurm.script.render import render_secrets

if TYPE_CHECKING:
    from hotswap_airflow.cluster.remote.cancellation import Asker
    from hotswap_airflow.slurm.request import JobRequest

KEEP_SECRETS = (
    PROLOGUE
    + """\
# Write the secrets of a job, which come on stdin, into its folder; the umask lets only this account read them.
set_dir "$1"
[ ! -s "$dir/settled" ] && [ ! -e "$dir/cancelled" ] || reply over
mkdir -p -- "$dir" && cat > "$dir/secrets.$$" && [ "$(wc -c < "$dir/secrets.$$")" -eq "$2" ] &&
  mv -f "$dir/secrets.$$" "$dir/secrets" ||
  { rm -f "$dir/secrets.$$"; reply "error the job's secrets cannot be written: disk or quota full?"; }
reply kept
"""
)


async def keep_secrets(account: Asker, request: JobRequest) -> None:
    """Write the secrets of a request beside its script; not if its end is recorded. Raises ``ClusterError``."""
    content = render_secrets(request).encode()
    await account.run_program(KEEP_SECRETS, request.key.digest, str(len(content)), stdin=content)
