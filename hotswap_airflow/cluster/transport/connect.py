"""Make a transport from a connection in the format of Airflow, without Airflow."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncssh

from hotswap_airflow.cluster.transport.base import OnPath
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.cluster.transport.openssh import CONTROL_PATH, OpenSshTransport
from hotswap_airflow.cluster.transport.ssh import SshTransport
from hotswap_airflow.errors import SetupError
from hotswap_airflow.slurm.paths import workdir_fault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hotswap_airflow.cluster.transport.base import Transport
    from hotswap_airflow.cluster.transport.breaker import Breaker

Connect = Callable[[], Awaitable[asyncssh.SSHClientConnection]]
_TRUE = {"true", "1", "yes"}
_WORDS = frozenset(
    "transport slurm_conf control_path workdir push path key_file private_key private_key_passphrase passphrase "
    "known_hosts host_key no_host_key_check ignore_hostkey_verification conn_timeout cmd_timeout timeout compress "
    "look_for_keys allow_host_key_change disabled_algorithms ciphers".split()
)
"""The extra fields of a connection: our own fields, and the fields of Airflow's ssh provider."""


@dataclass(frozen=True)
class Login:
    """The way to reach an account on a cluster. ``extra`` holds its extra fields, named as in the ssh provider.

    ``is_of_sandbox``: the login belongs to a sandbox on this host, which Airflow does not know.
    """

    name: str
    host: str = ""
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    is_of_sandbox: bool = False

    @property
    def transport(self) -> str:
        """The word for how commands are carried; ``ssh`` if the connection has none."""
        return str(self.extra.get("transport") or "ssh")

    @property
    def is_local(self) -> bool:
        """Whether the cluster's programs run on this machine."""
        return self.transport == "local"

    def local_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment of local programs: ``environ``, and the path of slurm.conf if the connection names it."""
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
        raise SetupError(f"connection {name} has a port that is not a number") from None
    extra: dict[str, Any] = dict(parse_qsl(parts.query))
    if "__extra__" in extra:
        extra = _map(name, extra["__extra__"])
    return Login(
        name,
        unquote(parts.hostname or ""),
        port,
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        extra,
    )


def _from_json(name: str, text: str) -> Login:
    data = _map(name, text)
    extra = data.get("extra") or {}
    extra = _map(name, extra) if isinstance(extra, str) else extra
    if data.get("conn_type") not in {"slurm", "ssh"}:
        raise SetupError(f"connection {name} is of type {data.get('conn_type')!r}; use slurm or ssh")
    port = data.get("port")
    if port is not None and not str(port).isdecimal():
        raise SetupError(f"connection {name} has a port that is not a number")
    number = int(port) if port is not None else None
    return Login(name, data.get("host") or "", number, data.get("login"), data.get("password"), extra)


def _map(name: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SetupError(f"connection {name} is not a JSON map")
    return found


def make_transport(
    login: Login, environ: Mapping[str, str], *, connect: Connect | None = None, breaker: Breaker | None = None
) -> Transport:
    """The transport of a login; ``connect`` opens an ssh connection in another way. Raises ``SetupError``.

    With a ``breaker``, a missing key or known_hosts file is no error here: jobs may run meanwhile.
    """
    check_words(login)
    if breaker is None:
        _check_files(login)
    if not (login.is_local or login.host):
        raise SetupError(f"connection {login.name} names no host")
    made = TRANSPORTS[login.transport](_Wanted(login, environ, connect, breaker))
    path = str(login.extra.get("path") or "")
    return OnPath(made, path) if path else made


@dataclass(frozen=True)
class _Wanted:
    """The values from which a transport is made."""

    login: Login
    environ: Mapping[str, str]
    connect: Connect | None
    breaker: Breaker | None


def _local(wanted: _Wanted) -> Transport:
    return LocalTransport(wanted.login.local_environment(wanted.environ))


def _ssh(wanted: _Wanted) -> Transport:
    return SshTransport(wanted.connect or _connect(wanted.login), wanted.login.name, wanted.breaker)


def check_words(login: Login) -> None:
    """Check the transport, ``workdir`` and misspelled fields of a connection. Raises ``SetupError``.

    Other unknown fields are allowed: they may be there for a person's own use.
    """
    if login.transport not in TRANSPORTS:
        near = get_close_matches(login.transport, TRANSPORTS, 1, 0.5)
        remedy = f"did you mean `{near[0]}`?" if near else f"use one of: {', '.join(TRANSPORTS)}"
        raise SetupError(f"connection {login.name} has no transport `{login.transport}`; {remedy}")
    for word in login.extra:
        near = get_close_matches(word.lower().replace("-", "_"), _WORDS, 1, 0.8)
        if word not in _WORDS and near:
            raise SetupError(f"connection {login.name} has no field `{word}`; did you mean `{near[0]}`?")
    if fault := workdir_fault(str(login.extra.get("workdir") or "")):
        raise SetupError(f"`workdir` of connection {login.name}: {fault}")


def _openssh(wanted: _Wanted) -> Transport:
    """The system's ssh; missing settings come from the user's ssh configuration, also a ProxyJump."""
    login, extra = wanted.login, wanted.login.extra
    if _passphrase(login) or extra.get("private_key"):
        words = "the transport `openssh` takes neither a `private_key` nor a passphrase"
        raise SetupError(f"connection {login.name}: {words}; let the key be a `key_file`, and add it to an ssh-agent")
    options: list[str] = []
    if login.port is not None:
        options += ["-p", str(login.port)]
    if key_file := _file(login, "key_file"):
        options += ["-i", key_file, "-o", "IdentitiesOnly=yes"]
    if known_hosts := _file(login, "known_hosts"):
        options += ["-o", f"UserKnownHostsFile={known_hosts}"]
    elif _skips_host_key(login):
        options += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    destination = f"{login.user}@{login.host}" if login.user else login.host
    if destination.startswith("-"):
        raise SetupError(f"connection {login.name} names no host: {destination!r}")
    path = str(extra.get("control_path") or CONTROL_PATH)
    return OpenSshTransport(destination, tuple(options), login.name, path, wanted.breaker)


TRANSPORTS: dict[str, Callable[[_Wanted], Transport]] = {"ssh": _ssh, "openssh": _openssh, "local": _local}
"""The makers of transports, by the word in a connection: ``ssh`` is used if it has none."""


def _connect(login: Login) -> Connect:
    """Give a function that opens asyncssh connections; missing settings come from the user's ssh configuration."""
    options: dict[str, Any] = {"port": login.port, "username": login.user, "password": login.password}
    options = {name: value for name, value in options.items() if value is not None}
    if keys := _client_keys(login):
        options["client_keys"] = keys
    if known_hosts := _file(login, "known_hosts"):
        options["known_hosts"] = known_hosts
    elif host_key := login.extra.get("host_key"):
        options["known_hosts"] = _host_key(login, str(host_key).strip())
    elif _skips_host_key(login):
        options["known_hosts"] = None

    async def connect() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(login.host, **options)

    return connect


def _client_keys(login: Login) -> Sequence[Any]:
    """The private key of a connection, with its certificate. Raises ``SetupError``."""
    key_file, text, phrase = _file(login, "key_file"), login.extra.get("private_key"), _passphrase(login)
    word = "key_file" if key_file else "private_key"
    try:
        if key_file:
            return asyncssh.load_keypairs([key_file], phrase)
        return [asyncssh.import_private_key(str(text), phrase)] if text else []
    except asyncssh.KeyEncryptionError as error:
        remedy = f"correct `private_key_passphrase`, the passphrase of its `{word}`"
        raise SetupError(f"connection {login.name}: {error}; {remedy}") from None
    except asyncssh.KeyImportError as error:
        remedy = (
            "set `private_key_passphrase`" if "assphrase" in str(error) else "give a private key as OpenSSH writes it"
        )
        raise SetupError(f"connection {login.name}: its `{word}` cannot be used ({error}); {remedy}") from None
    except OSError as error:
        words = f"its `{word}` {key_file} cannot be read on this host ({error.strerror})"
        raise SetupError(f"connection {login.name}: {words}") from None


def _passphrase(login: Login) -> str | None:
    extra = login.extra
    return extra.get("passphrase") or extra.get("private_key_passphrase") or None


def _file(login: Login, word: str) -> str:
    """The file that a field names; empty if it names none."""
    named = str(login.extra.get(word) or "")
    is_none = word == "known_hosts" and named.lower() == "none"
    return str(Path(named).expanduser()) if named and not is_none else ""


def _check_files(login: Login) -> None:
    """Raise ``SetupError`` if a file that a connection names does not exist."""
    for word in ("key_file", "known_hosts"):
        if (path := _file(login, word)) and not Path(path).is_file():
            words = f"its `{word}` {login.extra[word]} does not exist on this host; correct the path"
            raise SetupError(f"connection {login.name}: {words}")


def _host_key(login: Login, key: str) -> Any:
    line = key if " " in key else f"ssh-rsa {key}"
    try:
        asyncssh.import_public_key(line)  # known hosts are read leniently
        return asyncssh.import_known_hosts(f"* {line}")
    except ValueError as error:
        words = f"its `host_key` is not a key ({error}); write it as in known_hosts: `ssh-ed25519 AAAA…`"
        raise SetupError(f"connection {login.name}: {words}") from None


def _skips_host_key(login: Login) -> bool:
    words = (login.extra.get(word) for word in ("no_host_key_check", "ignore_hostkey_verification"))
    is_none = str(login.extra.get("known_hosts", "")).lower() == "none"
    return is_none or any(str(word).lower() in _TRUE for word in words)
