from __future__ import annotations

import json

import pytest

from hotswap_airflow.cluster.local import LocalTransport
from hotswap_airflow.cluster.login import Login, make_transport, parse_login
from hotswap_airflow.cluster.openssh import OpenSshTransport
from hotswap_airflow.cluster.ssh import SshTransport
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
