"""A real sshd on a loopback port, with keys and known hosts of its own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap_airflow.testing import processes
from hotswap_airflow.testing.host import need, user_name

if TYPE_CHECKING:
    from hotswap_airflow.testing.processes import Daemon

HOST = "127.0.0.1"


@dataclass
class LoginNode:
    """The sshd of a cluster. ``environment`` is what every session gets; its home is not that of this machine."""

    folder: Path
    port: int
    environment: dict[str, str]
    daemon: Daemon | None = None

    @property
    def key(self) -> Path:
        """The private key that is let in."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """A file that knows this host."""
        return self.folder / "known_hosts"

    @property
    def home(self) -> Path:
        """Where a session begins; what the person has in their own start-up files is not run."""
        return self.folder / "home"

    @property
    def user(self) -> str:
        """Who is let in."""
        return user_name()

    def start(self) -> None:
        """Make what is missing and start sshd, also again on the same port."""
        need("sshd", "ssh-keygen")
        self.home.mkdir(parents=True, exist_ok=True)
        for key in (self.key, self.folder / "host_key"):
            if not key.exists():
                argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "hotswap-sandbox", "-f", str(key)]
                subprocess.run(argv, check=True)
        public = (self.folder / "host_key.pub").read_text(encoding="utf-8")
        self.known_hosts.write_text(f"[{HOST}]:{self.port} {public}", encoding="utf-8")
        (self.folder / "authorized_keys").write_bytes(self.key.with_suffix(".pub").read_bytes())
        (self.folder / "sshd_config").write_text(self._config(), encoding="utf-8")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own place to drop its rights
        program = next(p for p in ("/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd") if Path(p).exists())
        argv = [program, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        log = self.folder / "sshd.out"
        self.daemon = processes.start("sshd", argv, log, {"PATH": processes.PATH})
        processes.await_start(self.daemon, log, lambda: processes.listens(self.port))

    def stop(self) -> None:
        """End sshd and every session of it."""
        if self.daemon is None:
            return
        self.drop_sessions()
        processes.stop([self.daemon])
        self.daemon = None

    def drop_sessions(self) -> None:
        """Cut every connection, as a broken network does; sshd itself stays."""
        if self.daemon is None:
            return
        processes.kill_all(processes.descendants(self.daemon.pid))

    def _config(self) -> str:
        settings = " ".join(f"{name}={value}" for name, value in {"HOME": self.home, **self.environment}.items())
        return (
            f"Port {self.port}\nListenAddress {HOST}\nHostKey {self.folder}/host_key\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPubkeyAuthentication yes\nPermitRootLogin prohibit-password\n"
            f"StrictModes no\nUsePAM no\nAllowUsers {self.user}\nMaxStartups 100\nSetEnv {settings}\n"
            "Subsystem sftp internal-sftp\n"
        )
