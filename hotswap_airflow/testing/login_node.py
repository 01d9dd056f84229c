"""A real sshd on a loopback port, with its own keys and known hosts."""

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
    """The sshd of a cluster. Every session gets ``environment``; its home folder is not the user's real one."""

    folder: Path
    port: int
    environment: dict[str, str]
    daemon: Daemon | None = None

    @property
    def key(self) -> Path:
        """The private key that sshd accepts."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """A known hosts file with the key of this host."""
        return self.folder / "known_hosts"

    @property
    def home(self) -> Path:
        """The folder in which a session begins. The person's own start-up files do not run."""
        return self.folder / "home"

    @property
    def user(self) -> str:
        """The user that sshd accepts."""
        return user_name()

    def start(self) -> None:
        """Make missing files and start sshd. A later start uses the same port."""
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
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd needs this folder to drop its rights
        program = next(p for p in ("/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd") if Path(p).exists())
        argv = [program, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        log = self.folder / "sshd.out"
        self.daemon = processes.start("sshd", argv, log, {"PATH": processes.PATH})
        processes.await_start(self.daemon, log, lambda: processes.listens(self.port))

    def stop(self) -> None:
        """Stop sshd and all its sessions."""
        if self.daemon is None:
            return
        self.drop_sessions()
        processes.stop([self.daemon])
        self.daemon = None

    def drop_sessions(self) -> None:
        """Cut every connection, as a broken network does. sshd itself goes on."""
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
