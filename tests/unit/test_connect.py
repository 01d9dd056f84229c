from __future__ import annotations

import json
import os
import re
from pathlib import Path

import asyncssh
import pytest

from hotswap_airflow.cluster.transport.connect import Login, make_transport, parse_login
from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.cluster.transport.openssh import OpenSshTransport
from hotswap_airflow.cluster.transport.ssh import SshTransport
from hotswap_airflow.errors import SetupError


def test_a_connection_as_a_uri() -> None:
    login = parse_login("c", "slurm://a%40b:p%2Fw@host:2222/?key_file=%2Fk&known_hosts=%2Fh")
    assert (login.host, login.port, login.user, login.password) == ("host", 2222, "a@b", "p/w")
    assert login.extra == {"key_file": "/k", "known_hosts": "/h"}
    assert "p/w" not in repr(login)
    assert parse_login("c", 'ssh://h?__extra__={"no_host_key_check": true}').extra == {"no_host_key_check": True}


def test_a_connection_as_json() -> None:
    data = {
        "conn_type": "ssh",
        "host": "h",
        "login": "u",
        "port": 22,
        "extra": json.dumps({"host_key": "ssh-ed25519 AAAA"}),
    }
    login = parse_login("c", json.dumps(data))
    assert (login.host, login.user, login.port, login.extra) == ("h", "u", 22, {"host_key": "ssh-ed25519 AAAA"})


@pytest.mark.parametrize("text", ["host", "http://h", "{", "[1]", '{"conn_type": "http"}', "ssh://h:x"])
def test_what_is_no_connection(text: str) -> None:
    with pytest.raises(SetupError, match="connection c"):
        parse_login("c", text)


def test_transports() -> None:
    local = Login("c", extra={"transport": "local", "slurm_conf": "/etc/slurm.conf"})
    assert isinstance(make_transport(local, {"A": "b"}), LocalTransport)
    assert local.local_environment({"A": "b"}) == {"A": "b", "SLURM_CONF": "/etc/slurm.conf"}
    assert isinstance(make_transport(Login("c", "host", extra={"no_host_key_check": "true"}), {}), SshTransport)
    assert isinstance(make_transport(Login("c", "host", extra={"transport": "openssh"}), {}), OpenSshTransport)
    with pytest.raises(SetupError, match="names no host"):
        make_transport(Login("c"), {})


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"transport": "opnssh"}, "has no transport `opnssh`; did you mean `openssh`?"),
        ({"transport": "lokal"}, "has no transport `lokal`; did you mean `local`?"),
        ({"transport": "telnet"}, "use one of: ssh, openssh, local"),
        ({"keyfile": "/k"}, "has no field `keyfile`; did you mean `key_file`?"),
        ({"private-key": "x"}, "has no field `private-key`; did you mean `private_key`?"),
        ({"workdir": "~/runs"}, "`workdir` of connection c: `~/runs` begins with `~`"),
        ({"key_file": "/no/such/key"}, "its `key_file` /no/such/key does not exist on this host"),
        ({"known_hosts": "/no/such/file"}, "its `known_hosts` /no/such/file does not exist on this host"),
        ({"private_key": "garbled"}, "its `private_key` cannot be used"),
        ({"host_key": "ssh-ed25519 garbled"}, "its `host_key` is not a key"),
        ({"transport": "openssh", "private_key": "x"}, "takes neither a `private_key` nor a passphrase"),
        ({"transport": "openssh", "key_file": "/no/such/key"}, "its `key_file` /no/such/key does not exist"),
    ],
)
def test_a_word_of_a_connection_that_is_wrong_is_one_clear_error(extra: dict[str, str], words: str) -> None:
    with pytest.raises(SetupError, match=re.escape(words)):
        make_transport(Login("c", "host", extra=extra), {})


@pytest.mark.parametrize("word", ["passphrase", "private_key_passphrase"])
def test_a_passphrase_opens_a_key_however_it_is_given(tmp_path: Path, word: str) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    file = tmp_path / "key"
    key.write_private_key(file, passphrase="right", rounds=50)
    for given in ({"key_file": str(file)}, {"private_key": file.read_text()}):
        assert isinstance(make_transport(Login("c", "host", extra={**given, word: "right"}), {}), SshTransport)
        with pytest.raises(SetupError, match="correct `private_key_passphrase`"):
            make_transport(Login("c", "host", extra={**given, word: "wrong"}), {})
        with pytest.raises(SetupError, match="set `private_key_passphrase`"):
            make_transport(Login("c", "host", extra=given), {})


@pytest.mark.parametrize(
    "text", ["ssh://h?__extra__=[", '{"conn_type": "ssh", "port": "x"}', '{"conn_type": "ssh", "extra": "["}']
)
def test_what_is_no_map_or_number_in_a_connection(text: str) -> None:
    with pytest.raises(SetupError, match="connection c"):
        parse_login("c", text)


async def test_programs_are_found_in_the_folder_that_a_connection_names(tmp_path: Path) -> None:
    program = tmp_path / "it's here" / "sbatch"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho ours $1\n")
    program.chmod(0o755)
    login = Login("c", extra={"transport": "local", "path": str(program.parent)})
    reply = await make_transport(login, dict(os.environ)).run(("sbatch", "a b"))
    assert (reply.status, reply.stdout) == (0, b"ours a b\n")
