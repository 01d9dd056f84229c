"""From a connection as Airflow writes it to a transport, without Airflow."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncssh

from hotswap_airflow.cluster.local import LocalTransport
from hotswap_airflow.cluster.openssh import CONTROL_PATH, OpenSshTransport
from hotswap_airflow.cluster.ssh import SshTransport
from hotswap_airflow.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotswap_airflow.cluster.breaker import Breaker
    from hotswap_airflow.cluster.transport import Transport

_TRUE = {"true", "1", "yes"}


@dataclass(frozen=True)
class Login:
    """How an account on a cluster is reached. ``extra`` holds the words of the ssh provider's connections."""

    name: str
    host: str = ""
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether the cluster's programs run on this very machine."""
        return self.extra.get("transport") == "local"

    def local_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What local programs get: this process's environment, and which slurm.conf counts."""
        conf = self.extra.get("slurm_conf")
        return {**environ, **({"SLURM_CONF": str(conf)} if conf else {})}


def parse_login(name: str, text: str) -> Login:
    """Read a connection's URI or JSON, as in ``AIRFLOW_CONN_…``. Raises ``SetupError``."""
    if text.lstrip().startswith("{"):
        return _from_json(name, text)
    parts = urlsplit(text)
    if parts.scheme not in {"slurm", "ssh"}:
        raise SetupError(f"connection {name} is of type {parts.scheme or 'none'!r}; use slurm://… or ssh://…")
    try:
        port = parts.port
    except ValueError:
        raise SetupError(f"connection {name} has no port that is a number") from None
    extra: dict[str, Any] = dict(parse_qsl(parts.query))
    if "__extra__" in extra:
        extra = json.loads(extra["__extra__"])
    return Login(
        name,
        unquote(parts.hostname or ""),
        port,
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        extra,
    )


def _from_json(name: str, text: str) -> Login:
    try:
        data = json.loads(text)
        extra = data.get("extra") or {}
        extra = json.loads(extra) if isinstance(extra, str) else extra
    except (ValueError, AttributeError):
        raise SetupError(f"connection {name} is no JSON map") from None
    if data.get("conn_type") not in {"slurm", "ssh"}:
        raise SetupError(f"connection {name} is of type {data.get('conn_type')!r}; use slurm or ssh")
    return Login(name, data.get("host") or "", data.get("port"), data.get("login"), data.get("password"), extra)


def make_transport(login: Login, environ: Mapping[str, str]) -> Transport:
    """The transport of a login. Raises ``SetupError``."""
    if login.is_local:
        return LocalTransport(login.local_environment(environ))
    if not login.host:
        raise SetupError(f"connection {login.name} names no host")
    if login.extra.get("transport") == "openssh":
        return openssh_transport(login)
    options = _ssh_options(login)

    async def connect() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(login.host, **options)

    return SshTransport(connect, login.name)


def openssh_transport(login: Login, breaker: Breaker | None = None) -> OpenSshTransport:
    """The system's ssh; what is not said comes from the user's ssh configuration, a ProxyJump too."""
    extra = login.extra
    options: list[str] = []
    if login.port is not None:
        options += ["-p", str(login.port)]
    if key_file := extra.get("key_file"):
        options += ["-i", str(key_file), "-o", "IdentitiesOnly=yes"]
    if known_hosts := extra.get("known_hosts"):
        options += ["-o", f"UserKnownHostsFile={known_hosts}"]
    elif str(extra.get("no_host_key_check", "")).lower() in _TRUE:
        options += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    destination = f"{login.user}@{login.host}" if login.user else login.host
    if destination.startswith("-"):
        raise SetupError(f"connection {login.name} names no host: {destination!r}")
    path = str(extra.get("control_path") or CONTROL_PATH)
    return OpenSshTransport(destination, tuple(options), login.name, path, breaker)


def _ssh_options(login: Login) -> dict[str, Any]:
    """What asyncssh needs; what is not said comes from the user's ssh configuration and known hosts."""
    extra = login.extra
    options: dict[str, Any] = {"port": login.port, "username": login.user, "password": login.password}
    if key_file := extra.get("key_file"):
        options["client_keys"] = [key_file]
    elif private_key := extra.get("private_key"):
        options["client_keys"] = [asyncssh.import_private_key(private_key, extra.get("private_key_passphrase"))]
    if known_hosts := extra.get("known_hosts"):
        options["known_hosts"] = known_hosts
    elif host_key := extra.get("host_key"):
        key = host_key if " " in host_key.strip() else f"ssh-rsa {host_key}"
        options["known_hosts"] = asyncssh.import_known_hosts(f"* {key}")
    elif str(extra.get("no_host_key_check", "")).lower() in _TRUE:
        options["known_hosts"] = None
    return {name: value for name, value in options.items() if value is not None or name == "known_hosts"}
