"""slurmdbd with its own MariaDB, for clusters with accounting."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from hotswap_airflow.errors import SetupError
from hotswap_airflow.testing import processes
from hotswap_airflow.testing.host import need, user_name

if TYPE_CHECKING:
    from hotswap_airflow.testing.slurm import SlurmCluster

ACCOUNT = "hotswap"


def start_accounting(cluster: SlurmCluster) -> int:
    """Start the database and slurmdbd, and return slurmdbd's port. Raises ``SetupError``."""
    need("mariadbd", "slurmdbd")
    database, port = processes.free_ports(2)
    _start_database(cluster, database)
    conf = cluster.folder / "slurmdbd.conf"
    conf.write_text(
        f"AuthInfo=socket={cluster.folder}/munge\nDbdHost=localhost\nDbdAddr=127.0.0.1\nDbdPort={port}\n"
        f"SlurmUser={user_name()}\nStorageType=accounting_storage/mysql\nStorageHost=127.0.0.1\n"
        f"StoragePort={database}\nStorageUser=slurm\nStoragePass=slurm\nStorageLoc=slurm_acct_db\n"
        f"LogFile={cluster.folder}/slurmdbd.log\nPidFile={cluster.folder}/slurmdbd.pid\n",
        encoding="utf-8",
    )
    conf.chmod(0o600)
    # slurmdbd searches its configuration in the folder of slurm.conf.
    cluster.conf.touch()
    cluster.start_daemon("slurmdbd", "slurmdbd", "-D", is_ready=lambda: processes.listens(port))
    return port


def _start_database(cluster: SlurmCluster, port: int) -> None:
    data = cluster.folder / "mariadb"
    if not data.exists():
        done = subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
             f"--user={user_name()}", "--skip-test-db"],
            env=cluster.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise SetupError(f"the accounting database cannot be made: {done.stderr[-600:]}")
    socket = cluster.folder / "mariadb.sock"
    cluster.start_daemon(
        "mariadbd", "mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}", f"--port={port}",
        "--bind-address=127.0.0.1", f"--user={user_name()}", f"--pid-file={cluster.folder}/mariadb.pid",
        "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900", is_ready=lambda: processes.listens(port),
    )  # fmt: skip
    grant = "CREATE USER IF NOT EXISTS slurm IDENTIFIED BY 'slurm'; GRANT ALL ON slurm_acct_db.* TO slurm;"
    cluster.run("mariadb", "--no-defaults", f"--socket={socket}", "--user=root", "--execute", grant)


def register(cluster: SlurmCluster) -> None:
    """Give the sandbox's user an account, so that jobs are accounted for."""
    add = ("sacctmgr", "-i", "add")
    cluster.run(*add, "account", ACCOUNT, "Description=sandbox", "Organization=sandbox", f"Clusters={cluster.name}")
    cluster.run(*add, "user", user_name(), f"Account={ACCOUNT}", f"Clusters={cluster.name}")
