"""The host that a sandbox runs on: its user and its programs."""

from __future__ import annotations

import os
import pwd
import shutil

from hotswap_airflow.errors import SetupError
from hotswap_airflow.testing import processes

PACKAGES = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "squeue": "slurm-client",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
}
"""The Debian package of each program."""


def need(*programs: str) -> None:
    """Raise ``SetupError`` if programs are missing. The error names their Debian packages."""
    missing = [name for name in programs if shutil.which(name, path=processes.PATH) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[name] for name in missing}))
        raise SetupError(f"missing here: {', '.join(missing)}; on Debian: sudo apt-get install {packages}")


def user_name() -> str:
    """The name of the user of this process."""
    return pwd.getpwuid(os.getuid()).pw_name
